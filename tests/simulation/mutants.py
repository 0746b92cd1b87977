"""Named faults, put into the running code: each must be found, or the simulation looks at nothing.

A fault is a change of a few characters in a function's source. It is compiled in the function's
place, whoever has imported it, and taken out again. When the source no longer has what is to be
changed, that is an error: the table must not go stale.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any
from unittest.mock import patch

from tests.simulation.runner import Failure, play
from tests.simulation.story import NOTICED, WILDER

SCHEDULES = 3000
"""Played in search of a fault, at the most."""
_FOUND = Path(__file__).with_name("found.json")
_DELIVERY = "reminders.delivery"
_LEDGER = "tests.simulation.store:ModelLedger"
_HANDOVER = "starter.services.handover:Handover"
_NOTICES = "reminders.domain.notices"
_WORKFLOW = "workflows.session_reminder:SessionReminderWorkflow"


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the source of one function, or of one constant."""

    target: str
    """`module:function`, `module:Class.method` or `module:CONSTANT`."""
    old: str
    new: str

    @contextmanager
    def made(self) -> Iterator[None]:
        """Have it in the code."""
        module_name, _, path = self.target.partition(":")
        module = importlib.import_module(module_name)
        owner: Any = module
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        found = inspect.getattr_static(owner, name)
        if not callable(inspect.unwrap(getattr(owner, name))):
            with patch.object(owner, name, eval(self.new, vars(module))):
                yield
            return
        function = inspect.unwrap(getattr(found, "__func__", found))
        with _recompiled(function, self.old, self.new):
            yield


@contextmanager
def _recompiled(function: FunctionType, old: str, new: str) -> Iterator[None]:
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(old) != 1:
        raise LookupError(f"{function.__qualname__} has {source.count(old)} times {old!r}")
    code = compile(
        source.replace(old, new),
        f"<{function.__qualname__}, changed>",
        "exec",
        __future__.annotations.compiler_flag,
    )
    inner = next(
        c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == function.__name__
    )
    was, function.__code__ = function.__code__, inner
    try:
        yield
    finally:
        function.__code__ = was


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault of the kind that people make."""

    name: str
    edits: tuple[Edit, ...]


def _mutant(name: str, *edits: tuple[str, str, str]) -> Mutant:
    return Mutant(name, tuple(Edit(*edit) for edit in edits))


MUTANTS = (
    # What was once wrong here, and is mended.
    _mutant(
        "rows and hold are read in two statements, and one reading is believed",
        (
            f"{_LEDGER}.read",
            'return await self._link.ask("read", lambda: self._read(reminder_ids))',
            (
                'rows = await self._link.ask("read", lambda: self._read(reminder_ids)); '
                'hold = await self._link.ask("hold", lambda: self._read(()).hold); '
                "return Reading(facts=rows.facts, hold=hold)"
            ),
        ),
        (
            f"{_DELIVERY}.pipeline:DeliveryPipeline._freeze",
            "if not verdict.missing <= missed",
            "if False",
        ),
    ),
    _mutant(
        "what was frozen under another mode is posted",
        (f"{_LEDGER}._belongs_here", "return (", "return True or ("),
    ),
    _mutant(
        "who has waited applies once more what they were asked for",
        (f"{_HANDOVER}._reread", "self.planner.reconcile(", "self.planner.enroll("),
    ),
    _mutant(
        "who has waited uses the plan that they had",
        (
            f"{_HANDOVER}._reread",
            "newest = await self.planner.reconcile(planned.session.id, planned.user_id)",
            "newest = planned",
        ),
    ),
    _mutant(
        "one refused request holds everybody",
        (
            f"{_DELIVERY}.posting:Poster._refused",
            "if isinstance(error, MailNotConfiguredError) and not resumed:",
            "if True:",
        ),
    ),
    _mutant(
        "words about the sender are taken for words about the e-mail",
        ("reminders.mail.resend_errors:_final", "or speaks_of_sender(message)", ""),
    ),
    _mutant(
        "the provider is believed when it asks for an hour",
        ("reminders.mail.resend_errors:LONGEST_WAIT", "", "timedelta(hours=2)"),
        (
            f"{_DELIVERY}.posting:Poster._affordable",
            "return min(",
            "return max(timedelta(), wait) or min(",
        ),
        ("activities.failures:_LONGEST_ASKED", "", "timedelta(hours=2)"),
        ("activities.failures:_PART", "", "1.0"),
    ),
    _mutant(
        "a batch mixes starts",
        (
            f"{_DELIVERY}.verdict:Judge.verdict",
            "sending.setdefault(fact.session.starts_at, [])",
            "sending.setdefault(min(sending, default=fact.session.starts_at), [])",
        ),
    ),
    _mutant(
        "what is in doubt comes back every second",
        (
            f"{_DELIVERY}.pipeline:DeliveryPipeline._resume",
            "self._doubts.wait_for(batch_id, tickets)\n        return",
            "raise BatchBusyError(retry_after=BUSY)",
        ),
        (
            f"{_DELIVERY}.pipeline:DeliveryPipeline._put_off",
            "if isinstance(failure, DeliveryError) and",
            "if False and",
        ),
    ),
    _mutant(
        "an acceptance that is reported late does not count",
        (f"{_LEDGER}._counts", "or (", "or False and ("),
    ),
    _mutant(
        "a stale request is repeated",
        (
            f"{_DELIVERY}.posting:Poster._is_stale",
            "return batch.unrepeatable is not None or self._clock.now() >= until",
            "return False",
        ),
    ),
    _mutant(
        "a cancel that lands during a send is swallowed",
        (
            f"{_WORKFLOW}._deliver",
            "if workflow.cancellation_reason() is not None:\n        # A cancel",
            "if False:\n        # A cancel",
        ),
    ),
    # Leases, locks, versions.
    _mutant(
        "a lease is compared with the worker's clock",
        (f"{_LEDGER}._has_lapsed", "self._store.now()", "self._clock._machine.now()"),
    ),
    _mutant(
        "a reading of long ago is believed",
        (f"{_LEDGER}._freeze", "store.now() - f.read_at >= BELIEVED", "False"),
    ),
    _mutant(
        "who stood still posts what was true before",
        (f"{_DELIVERY}.posting:Poster._at_its_turn", "if ticks() >", "if False and 0 >"),
    ),
    # The provider's answers.
    _mutant(
        "a 500 is taken for not accepted",
        (
            f"{_DELIVERY}.posting:Poster._post",
            "in_doubt = in_doubt or error.outcome_unknown",
            "pass",
        ),
    ),
    _mutant(
        "each attempt has a key of its own",
        (
            f"{_DELIVERY}.posting:Poster._post",
            "idempotency_key=str(batch.id)",
            "idempotency_key=__import__('uuid').UUID(int=batch.id.int ^ failures).__str__()",
        ),
    ),
    _mutant(
        "a repeated request is made anew",
        (
            f"{_DELIVERY}.posting:Poster._post",
            "self._mailer.post(batch.body,",
            "self._mailer.post(batch.body + b' ' * in_doubt,",
        ),
    ),
    _mutant(
        "receipts are taken in another order",
        (
            f"{_DELIVERY}.posting:_settlements",
            "zip(batch.reminder_ids, receipts,",
            "zip(batch.reminder_ids, receipts[::-1],",
        ),
    ),
    _mutant(
        "one refusal fails all of a request",
        (
            f"{_DELIVERY}.pipeline:DeliveryPipeline._post",
            "goes_on = len(batch.reminder_ids) > 1",
            "goes_on = False",
        ),
    ),
    _mutant(
        "a quota holds until it is said to be renewed",
        (
            f"{_DELIVERY}.posting:Poster._out_of_quota",
            "lasts = min(resets_at - now, longest)",
            "lasts = resets_at - now",
        ),
    ),
    _mutant(
        "a key that another body was sent under is taken for refused",
        (
            f"{_DELIVERY}.posting:Poster._refused",
            "if isinstance(error, MailOutcomeUnknownError):",
            "if False:",
        ),
        (
            f"{_DELIVERY}.posting:Poster._post",
            "self._mailer.post(batch.body,",
            "self._mailer.post(batch.body + b' ' * in_doubt,",
        ),
    ),
    # Decisions.
    _mutant(
        "who has left is mailed",
        (
            "reminders.domain.decide:_unwanted_by_attendee",
            "enrollment is None or enrollment is EnrollmentStatus.CANCELLED",
            "enrollment is None",
        ),
    ),
    _mutant(
        "who has opted out is mailed",
        (
            "reminders.domain.decide:_unwanted_by_attendee",
            "if facts.stopped is not None:",
            "if False:",
        ),
    ),
    _mutant(
        "a cancelled session is reminded of",
        (
            "reminders.domain.decide:decide",
            "if is_cancelled and notice is not Notice.CANCELLED:",
            "if False:",
        ),
    ),
    _mutant(
        "a rule that is off still counts",
        (
            "reminders.domain.decide:decide",
            "if rule is None or not rule.is_enabled:",
            "if rule is None:",
        ),
    ),
    _mutant(
        "what is not due goes out",
        ("reminders.domain.decide:decide", "if now < due_at:", "if False:"),
    ),
    _mutant(
        "what is late goes out beside the next one",
        ("reminders.domain.decide:_needless", "and now >= next_due_at:\n", "and False:\n"),
    ),
    _mutant(
        "what is past due is planned",
        ("reminders.domain.plan:plan", "elif due_at < now:", "elif False:"),
    ),
    _mutant(
        "what was told is told again",
        (
            "reminders.domain.revise:_as_told",
            "return replace(want, status=ReminderStatus.SKIPPED, reason=StatusReason.ALREADY_TOLD)",
            "return want",
        ),
    ),
    _mutant(
        "any move is a second e-mail",
        (
            "reminders.domain.revise:_again",
            "return abs(starts_at - row.starts_at) > threshold",
            "return starts_at != row.starts_at",
        ),
        (
            "reminders.domain.revise:_as_told",
            "return replace(want, status=ReminderStatus.SKIPPED, reason=StatusReason.ALREADY_TOLD)",
            "return want",
        ),
    ),
    _mutant(
        "a session that has begun is reminded of",
        (
            f"{_DELIVERY}.posting:Poster._too_late",
            "if now >= batch.useful_until and batch.unrepeatable is None:",
            "if False:",
        ),
        (
            f"{_DELIVERY}.posting:Poster._is_stale",
            "return batch.unrepeatable is not None or self._clock.now() >= until",
            "return False",
        ),
    ),
    # Notices.
    _mutant(
        "a notice is planned although nobody is to be told",
        (f"{_NOTICES}:_next", "if reason is None and case.is_quiet and", "if False and"),
        ("reminders.domain.decide:_needless", "if facts.is_quiet and", "if False and"),
    ),
    _mutant(
        "a move is told before it has cooled",
        (
            f"{_NOTICES}:_cooled",
            "min(case.cooling, left / _SHARE)",
            "timedelta()",
        ),
    ),
    _mutant(
        "a burst tells from when it moved last",
        (
            f"{_NOTICES}:_moved_on",
            "due_at=_cooled(case, now_at.moved_from))",
            "due_at=_cooled(case, now_at.moved_from), moved_from=row.starts_at)",
        ),
    ),
    _mutant(
        "a move that was taken back is told",
        (f"{_NOTICES}:is_taken_back", "return row.moved_from is not None and", "return False and"),
    ),
    _mutant(
        "who was moved into the past by mistake is not told when it ends",
        (f"{_NOTICES}:_Known.start", "if is_untold or", "if"),
    ),
    _mutant(
        "who was told of the cancel is not told that it takes place after all",
        (f"{_NOTICES}:_of_moved", "if not is_after_all and (", "if ("),
    ),
    # Plans and runs.
    _mutant(
        "nobody looks whether there is a newer plan",
        (
            f"{_HANDOVER}.hand_over",
            "if await self.planner.confirm(met.planned, is_found=met.is_found):",
            "if await self.planner.confirm(met.planned, is_found=met.is_found) or True:",
        ),
    ),
    _mutant(
        "a plan that is not confirmed leaves no entry",
        (
            "tests.simulation.planner:ModelPlanner._note_unconfirmed",
            "self.store.unconfirmed[key] =",
            "_ =",
        ),
    ),
    _mutant(
        "an older plan replaces a newer one",
        (f"{_WORKFLOW}.replan", "if plan.version <= self._plan.version:", "if False:"),
    ),
    _mutant(
        "a run that is ending takes a plan",
        (f"{_WORKFLOW}._check_plan", "if workflow.cancellation_reason() is not None:", "if False:"),
        (f"{_HANDOVER}._meet", "if run.is_ending:", "if False:"),
    ),
    _mutant(
        "a run is not cancelled when everything is called off",
        (
            f"{_HANDOVER}._meet",
            "if planned.is_over and planned.called_off is not None:",
            "if False:",
        ),
    ),
    _mutant(
        "who enrolls again gets the rows of the run that is ending",
        (
            f"{_HANDOVER}._see_off",
            "if enrolling:\n        planned = await",
            "if False:\n        planned = await",
        ),
    ),
    _mutant(
        "a failure is not recorded in the ledger",
        (f"{_WORKFLOW}._close", "if is_cancelled_exception(error):", "if True:"),
        (f"{_LEDGER}.close", "closed = [", "closed = [] and ["),
    ),
)


@contextmanager
def applied(name: str | None) -> Iterator[None]:
    """With the fault of this name; with none if there is no name.

    Raises:
        LookupError: If there is no such fault, or the code is no longer as it expects.
    """
    with ExitStack() as stack:
        if name is not None:
            mutant = next((m for m in MUTANTS if m.name == name), None)
            if mutant is None:
                raise LookupError(f"there is no mutant {name!r}")
            for edit in mutant.edits:
                stack.enter_context(edit.made())
        yield


def hunt(mutant: Mutant, seeds: Iterable[int]) -> Failure | None:
    """What the first of these schedules that finds a fault, and nothing without it, says of it."""
    for seed in seeds:
        with applied(mutant.name):
            failures = play([seed]).failures
        if failures and not play([seed]).failures:
            return failures[0]
    return None


def found() -> dict[str, int | None]:
    """The schedule that finds a fault, by its name; none was played yet that finds the others."""
    known: dict[str, int | None] = json.loads(_FOUND.read_text(encoding="utf-8"))
    return known


def table(*, schedules: int = SCHEDULES) -> int:
    """Print by which schedule each fault is found, the how many-th of its kind it is, and by what.

    That which is noted is played first. Where it finds nothing any more, others are played, and
    what they find is noted for the tests.

    Returns:
        1 if a fault is not found.
    """
    notes, part = found(), schedules // 3
    print("| fault | found by | seed | after |", "| --- | --- | ---: | ---: |", sep="\n")
    for mutant in MUTANTS:
        noted = notes.get(mutant.name)
        kinds = (range(first, first + part) for first in (0, NOTICED, WILDER))
        failure = hunt(mutant, chain([] if noted is None else [noted], *kinds))
        notes[mutant.name] = failure.seed if failure else None
        by = "nothing | |"
        if failure is not None:
            by = f"`{failure.invariant}` | {failure.seed} | {failure.seed % NOTICED + 1}"
        print(f"| {mutant.name} | {by} |", flush=True)
        text = json.dumps(notes, indent=2, ensure_ascii=False)
        _FOUND.write_text(text + "\n", encoding="utf-8")
    survivors = [m.name for m in MUTANTS if notes[m.name] is None]
    print(f"\n{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} are found")
    return 1 if survivors else 0
