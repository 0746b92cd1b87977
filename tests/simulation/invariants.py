"""What must hold, however things happen. Each is a sentence, and a check of what is left over.

`Evidence` is what a schedule leaves: what the provider has accepted, the ledger, what was true of
whom and when, and which receipts were given. `docs/proof.md` quotes the sentences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

from reminders.domain.case import COOLING
from reminders.domain.model import (
    NOTICES,
    EnrollmentStatus,
    Notice,
    ReminderStatus,
    Session,
    SessionStatus,
)
from reminders.domain.model import StatusReason as Reason
from reminders.domain.notices import NOTICEABLE
from starter.services.handover import ROUNDS
from tests.simulation.provider import SINK, Acceptance, Weather
from tests.simulation.store import Row
from tests.simulation.virtual import EPOCH
from tests.simulation.world import Evidence
from workflows.session_reminder import RETRY

Violations = Iterator[str]
Invariant = Callable[[Evidence], Violations]

THRESHOLD = timedelta(hours=1)
"""`RESCHEDULE_RESEND_THRESHOLD`."""
OFF = timedelta(milliseconds=100)
"""The clock that workers share lags behind PostgreSQL's by less."""
UNDER_WAY = timedelta(seconds=50)
"""From the moment a reminder is read until its request arrives: patience, a pause, an answer lost."""
ENOUGH = timedelta(seconds=125)
"""A worker that was alive so long, with everything well, has sent what was due."""
PATIENT = timedelta(minutes=4)
"""The same where a worker with an old key may be handed a reminder several times in a row."""
SOON = timedelta(seconds=40)
"""The same where nothing went wrong at all, or for some other person only."""
POSTS_A_MINUTE = 30
"""Requests under one key, at the most."""
ATTEMPTS_A_MINUTE = 30
"""Attempts of one delivery, at the most."""


def accepted_at_most_once(e: Evidence) -> Violations:
    """The provider accepts an e-mail for a reminder at most once."""
    counts = Counter(a.reminder_id for a in e.provider.accepted)
    for reminder_id, n in counts.items():
        if n > 1:
            yield f"{_name(e, reminder_id)} was accepted {n} times"


def told_once(e: Evidence) -> Violations:
    """A person gets a second e-mail of a type only for a start that is another one by more than the threshold."""
    told: dict[tuple[UUID, UUID, str], list[Acceptance]] = defaultdict(list)
    unknown = _unknown(e)
    for a in e.provider.accepted:
        row = e.store.rows[a.reminder_id]
        if row.reminder_type in NOTICES:
            continue
        key = row.session_id, row.user_id, row.reminder_type
        for before in told[key]:
            if before.reminder_id in unknown:
                continue  # nobody could know
            if before.reminder_id != a.reminder_id and abs(before.tells - a.tells) <= THRESHOLD:
                yield f"{_name(e, a.reminder_id)} tells {_at(a.tells)} once more, at {_at(a.at)}"
        told[key].append(a)


def nothing_before_its_instant(e: Evidence) -> Violations:
    """Nothing is accepted before its due instant, by true time."""
    for a in e.provider.accepted:
        row = e.store.rows[a.reminder_id]
        due_at = a.tells - e.store.rules[row.reminder_type].lead
        if row.reminder_type in NOTICES:
            due_at = row.due_at
        if a.at < due_at:
            yield f"{_name(e, row.id)} was accepted at {_at(a.at)}, due at {_at(due_at)}"


def nothing_after_its_start(e: Evidence) -> Violations:
    """Nothing is accepted after the start that it tells, nor once its words are outdated."""
    for a in _of_batches(e):
        until = min(a.tells, e.store.batches[UUID(a.key)].ends_at)
        if a.at > until + timedelta(seconds=1):
            yield f"{_name(e, a.reminder_id)} was accepted at {_at(a.at)}, after {_at(until)}"


def nothing_superseded(e: Evidence) -> Violations:
    """Nobody gets a late e-mail once the next one is due as well."""
    for a in e.provider.accepted:
        row = e.store.rows[a.reminder_id]
        lead = e.store.rules[row.reminder_type].lead
        for kind, later in e.store.rules.items():
            if later.lead < lead and later.is_enabled and not later.is_notice:
                due_at = a.tells - later.lead
                is_wanted = any(
                    spell.starts_at == a.tells
                    and kind not in spell.off
                    and (_known_at(e, (row.session_id, row.user_id), spell.since) or a.at) <= due_at
                    for spell in _merged(spells(e, row.session_id, row.user_id))
                )
                if is_wanted and a.at > due_at + timedelta(seconds=1):
                    yield f"{_name(e, row.id)} was accepted at {_at(a.at)}, {kind} due at {_at(due_at)}"


def nothing_after_a_receipt(e: Evidence) -> Violations:
    """What a receipt said is cancelled is never accepted."""
    for receipt in e.receipts:
        for a in e.provider.accepted:
            if a.reminder_id in receipt.reminder_ids:
                yield f"{_name(e, a.reminder_id)} went out although {receipt.what} said cancelled"


def nothing_for_who_does_not_want_it(e: Evidence) -> Violations:
    """What goes out was true and wanted at some moment while it was made ready.

    Its session was held at the start that it tells, the person was enrolled and had not opted out,
    nobody had cancelled their run by hand, and its rule was on. And it was planned before its
    instant: nobody is mailed for the past.
    """
    for a in _of_batches(e):
        row, batch = e.store.rows[a.reminder_id], e.store.batches[UUID(a.key)]
        lead = e.store.rules[row.reminder_type].lead
        frozen_by = batch.frozen_at + OFF
        is_notice = row.reminder_type in NOTICES
        is_later = is_notice or row.generation > 1
        found = spells(e, row.session_id, row.user_id, until_it_ended=True, only_noted=is_later)
        live = [s for s in _merged(found) if s.since <= frozen_by]
        if row.reminder_type == Notice.CANCELLED:
            live = [
                s
                for s in found
                if s.since <= frozen_by and s.is_enrolled and not s.is_stopped and not s.is_held
            ]
            if not any(s.starts_at == a.tells and s.until >= frozen_by - UNDER_WAY for s in live):
                yield f"{_name(e, row.id)} was frozen at {_at(batch.frozen_at)}, and not so then"
        elif not any(s.wants(row, a.tells) and s.until >= frozen_by - UNDER_WAY for s in live):
            yield f"{_name(e, row.id)} was frozen at {_at(batch.frozen_at)}, and not wanted then"
        elif not any(s.since <= s.starts_at - lead for s in live):
            yield f"{_name(e, row.id)} was past due when it was planned"


def nothing_that_is_not_true_any_more(e: Evidence) -> Violations:
    """What is accepted was true of its session a moment before: it was held at the start that is told, or cancelled."""
    for a in _of_batches(e):
        row = e.store.rows[a.reminder_id]
        if not any(
            s.is_held == (row.reminder_type != Notice.CANCELLED)
            and s.starts_at == a.tells
            and s.since <= a.at <= s.until + UNDER_WAY
            for s in spells(e, row.session_id, row.user_id)
        ):
            yield f"{_name(e, row.id)} was accepted at {_at(a.at)}, and not true any more"


def the_bytes_under_a_key_never_change(e: Evidence) -> Violations:
    """Whatever is posted under an idempotency key is the same, to the byte, and was stored before."""
    bodies: dict[str, bytes] = {}
    for request in e.provider.requests:
        if UUID(request.key) not in e.store.batches:
            yield f"nothing was stored under {request.key}, posted at {_at(request.at)}"
        if bodies.setdefault(request.key, request.body) != request.body:
            yield f"another body under {request.key} at {_at(request.at)}"


def one_start_a_request(e: Evidence) -> Violations:
    """A request never mixes reminders of sessions that start at different instants."""
    for request in e.provider.requests:
        if len(request.starts) > 1:
            yield f"{request.key} tells {sorted(map(_at, request.starts))}"


def only_under_its_mode(e: Evidence) -> Violations:
    """Nothing is posted under another delivery mode than the one that it was made for."""
    for request in e.provider.requests:
        made_for = "redirect" if SINK.encode() in request.body else "live"
        if made_for != request.mode:
            yield f"{request.key}, made for {made_for}, was posted in {request.mode}"


def the_ledger_agrees_with_the_provider(e: Evidence) -> Violations:
    """Accepted is what the ledger says is sent or later; if it could not know, it says so.

    `outcome_unknown` is the only other word for it, and an event of the provider corrects that.
    """
    accepted = {a.reminder_id: a for a in e.provider.accepted}
    for row in e.store.rows.values():
        a = accepted.get(row.id)
        if row.status.is_accepted and a is None:
            yield f"{_name(e, row.id)} is {row.status}, and was never accepted"
        was = e.before_events.get(row.id)
        if was is not None and not was.is_accepted:
            yield f"{_name(e, row.id)} had the provider's id, and was {was}"
        if a is not None and row.resend_email_id not in (None, a.email_id):
            yield f"{_name(e, row.id)} has the id of another e-mail"
        if a is None or row.status.is_accepted:
            continue
        if row.reason is not Reason.OUTCOME_UNKNOWN or a.email_id in e.webhooks:
            yield f"{_name(e, row.id)} was accepted at {_at(a.at)}, and is {row.status}: {row.reason}"


def every_row_ends(e: Evidence) -> Violations:
    """Once its session has begun nothing waits, and nothing is in doubt."""
    for row in e.store.rows.values():
        if row.status.is_pending:
            yield f"{_name(e, row.id)} is still {row.status}"
    for batch in e.store.batches.values():
        if batch.state == "frozen":
            yield f"batch {batch.id} is still frozen"


def reasons_are_true(e: Evidence) -> Violations:
    """The reason for which a reminder ended was so at the time."""
    for change in e.store.changes:
        row, reason = e.store.rows[change.row_id], change.reason
        if (
            change.before is not ReminderStatus.SCHEDULED
            and change.before is not ReminderStatus.SENDING
        ):
            continue
        if not _is_true(e, row, reason, change.at):
            yield f"{_name(e, row.id)} ended at {_at(change.at)} as {reason}, which was not so"


def rows_move_forward(e: Evidence) -> Violations:
    """A row goes only where `docs/lifecycle.md` has an arrow."""
    for change in e.store.changes:
        if change.before is None:
            is_arrow = change.after in (ReminderStatus.SCHEDULED, ReminderStatus.SKIPPED)
        elif change.before is change.after is ReminderStatus.CANCELLED:
            is_arrow = change.reason is Reason.SESSION_CANCELLED  # enrolled while it is off
        else:
            is_arrow = change.after in _ARROWS[change.before]
        if not is_arrow:
            yield f"{_name(e, change.row_id)} went from {change.before} to {change.after}"


def what_could_go_out_went_out(e: Evidence) -> Violations:
    """A reminder that was wanted is out once all was well for two minutes while it was useful.

    Well are the provider, the ways to database and Temporal, and a worker whose key is right; useful it is from its instant until the next one's, or the start.
    """
    told: dict[tuple[UUID, UUID, str], list[Acceptance]] = defaultdict(list)
    for a in e.provider.accepted:
        row = e.store.rows[a.reminder_id]
        told[row.session_id, row.user_id, row.reminder_type].append(a)
    odd = {e.provider.bad_address, e.provider.disliked if _was_disliked(e) else None}
    for session_id, user_id in e.store.enrollments:
        if e.store.users[user_id].email in odd or _is_stuck(e, session_id, user_id):
            continue
        for spell in _merged(spells(e, session_id, user_id)):
            for kind, due_at, useful_until in _wanted(e, spell):
                known_at = _known_at(e, (session_id, user_id), spell.since)
                if known_at is None or known_at > due_at:
                    continue
                out_at = min(
                    (
                        a.at
                        for a in told[session_id, user_id, kind]
                        if abs(a.tells - spell.starts_at) <= THRESHOLD
                    ),
                    default=e.settled_at,
                )
                until = min(useful_until, spell.until, _given_up_at(e, session_id, user_id, kind))
                enough = _enough(e)
                well_from = _well_within(e, due_at, until, enough)
                if well_from is not None and out_at > well_from + enough:
                    yield (
                        f"{kind} of {e.store.users[user_id].email}, due at {_at(due_at)}, was not"
                        f" out by {_at(well_from + enough)}, though all was well"
                    )


def news_is_new(e: Evidence) -> Violations:
    """A notice that a session was cancelled or moved tells something else than the e-mail before it."""
    told: dict[tuple[UUID, UUID], Acceptance] = {}
    for a in e.provider.accepted:
        row = e.store.rows[a.reminder_id]
        key = row.session_id, row.user_id
        before = told.get(key)
        is_news = row.reminder_type in (Notice.CANCELLED, Notice.MOVED)
        if (
            is_news
            and before is not None
            and (
                _may_believe_cancelled(e, row)
                or any(
                    what == "quiet" and about == row.session_id and at > before.at
                    for at, what, about, _ in e.store.timeline
                )
            )
        ):
            before = None  # they may have heard of something else in between
        if is_news and before is not None and _says(e, before) == _says(e, a):
            yield f"{_name(e, a.reminder_id)} tells at {_at(a.at)} what was told already"
        told[key] = a


def who_takes_part_is_told(e: Evidence) -> Violations:
    """A change that lasted is told to whoever takes part, once all was well for two minutes while it was of use.

    A cancel, or a start that clocks show as another, of which the last e-mail, or else the plan
    that they enrolled with, said otherwise; or a later state that nobody was to be told of.
    """
    if not e.story.has_notices:
        return
    odd = {e.provider.bad_address, e.provider.disliked if _was_disliked(e) else None}
    for session_id, user_id in e.store.enrollments:
        if e.store.users[user_id].email in odd or _is_stuck(e, session_id, user_id):
            continue
        key = session_id, user_id
        mails = _mails(e, e.store.of_enrollment[key][0]) if key in e.store.of_enrollment else []
        quiet = {
            at: so
            for at, what, about, so in e.store.timeline
            if (what, about) == ("quiet", session_id)
        }
        states = _states(spells(e, session_id, user_id))
        for before, now in pairwise(states):
            known_before = _known_at(e, key, before.since)
            known_at = _known_at(e, key, now.since)
            if not (before.is_part and now.is_part) or _show_the_same(before.state, now.state):
                continue
            if known_before is None or known_before > now.since or known_at is None:
                continue
            told = [(a.at, _says(e, a)) for a in mails if a.at < now.since]
            told += [  # what nobody was to be told, they may have heard
                (at, (False, so.starts_at))
                for at, so in quiet.items()
                if at < now.since and so.status is SessionStatus.SCHEDULED
            ]
            first = next(s for s in states if s.is_part)
            _, last = max(told, default=(first.since, first.state))
            ahead = min(last[1], before.state[1], now.state[1])
            if (
                any(now.since <= at <= now.until for at in quiet)
                or _show_the_same(last, now.state)
                or ahead <= known_at
            ):
                continue
            # Whoever is made ready for a reminder is told when that is decided.
            known_at += timedelta(seconds=e.story.lead_in)
            due_at = known_at if now.state[0] else known_at + COOLING
            out_at = min(
                (a.at for a in mails if a.at >= now.since and _says(e, a) == now.state),
                default=e.settled_at,
            )
            enough = _enough(e)
            well_from = _well_within(e, due_at, min(now.until, ahead), enough)
            if well_from is not None and out_at > well_from + enough:
                yield f"{_name_of(e, key)} was not told by {_at(well_from + enough)}: {now.state}"


AT_ONCE = timedelta(seconds=0.5)
"""What is called within it may happen in any order, as far as people can tell."""


def a_burst_is_one_notice(e: Evidence) -> Violations:
    """A notice of a move is sent after its cooling, and names an earlier start that was announced."""
    for a in e.provider.accepted:
        row = e.store.rows[a.reminder_id]
        if row.reminder_type != Notice.MOVED:
            continue
        mails = [m for m in _mails(e, row) if m.at < a.at]
        found = spells(e, row.session_id, row.user_id)
        so = [s for s in found if s.is_held and s.starts_at == a.tells and s.since <= a.at]
        since = min((s.since for s in so if not mails or s.until > mails[-1].at), default=a.at)
        unsaid = ("sweep", "call and die")
        is_told = not any(
            event.arguments[-1:] in [(u,) for u in unsaid] for event in e.story.events
        )
        if (
            is_told
            and row.due_at > since
            and a.at - since
            < min(COOLING, (min(a.tells, row.moved_from or a.tells) - a.at) / 4) - OFF
        ):
            yield f"{_name(e, row.id)} was accepted at {_at(a.at)}, so only since {_at(since)}"
        is_after_all = _may_believe_cancelled(e, row) or (mails and _says(e, mails[-1])[0])
        if row.moved_from and not is_after_all and abs(row.moved_from - a.tells) < NOTICEABLE:
            yield f"{_name(e, row.id)} tells {_at(a.tells)}, which it had moved from"
        if a.moved_from is None:
            continue
        of = row.session_id, row.user_id
        mine = {r.id for r in e.store.of_enrollment[of]}
        enrolled = {
            at for at, what, key, _ in e.store.timeline if (what, key) == ("enrollment", of)
        }
        known = {m.tells for m in mails}
        known |= {s.starts_at for s in found if s.until - s.since > COOLING / 2}
        known |= {
            now.starts_at
            for was, now in pairwise(found)
            # Who enrolls while it moves may see either.
            if was.starts_at <= now.since
            or any(timedelta() <= now.since - at < AT_ONCE for at in enrolled)
        }
        known |= {e.store.rows[i].starts_at for i in _unknown(e) & mine}
        known |= {r.starts_at for r in e.store.of_enrollment[of] if r.reason is Reason.TAKEN_BACK}
        known |= {s.starts_at for _, what, _, s in e.store.timeline if what == "quiet"}
        if a.moved_from not in known:
            yield f"{_name(e, row.id)} tells {_at(a.tells)}, moved from {_at(a.moved_from)}"


def nobody_is_told_quietly(e: Evidence) -> Violations:
    """Of what nobody was to be told there is no notice."""
    for a in _of_batches(e):
        row, batch = e.store.rows[a.reminder_id], e.store.batches[UUID(a.key)]
        if row.reminder_type not in (Notice.CANCELLED, Notice.MOVED):
            continue
        quiet = [
            at
            for at, what, about, _ in e.store.timeline
            if (what, about) == ("quiet", row.session_id)
        ]
        is_quiet, was = False, None
        for at, what, about, s in e.store.timeline:
            if (what, about) == ("session", row.session_id) and at <= batch.frozen_at + OFF:
                # Called off already: that it moves besides is no news.
                if not (was is s.status is SessionStatus.CANCELLED):
                    # Of two who call it off at once either may have been first.
                    is_quiet = at in quiet and not _is_loud(e, at)
                was = s.status
        if is_quiet:
            yield f"{_name(e, row.id)} was accepted at {_at(a.at)}, and nobody was to be told"


def _is_loud(e: Evidence, instant: datetime) -> bool:
    """Whether somebody called a session off just then so that people are told."""
    return any(
        event.verb == "cancel"
        and event.arguments[-1] != "quiet"
        and abs(EPOCH + timedelta(seconds=event.at) - instant) < AT_ONCE
        for event in e.story.events
    )


def who_is_sure_has_the_newest(e: Evidence) -> Violations:
    """A call that says that a workflow follows has handed it the newest plan of that moment."""
    for asked_at, key, version in e.sure:
        newest = max((v for at, k, v in e.store.plans if k == key and at < asked_at), default=0)
        if version is not None and version < newest:
            yield f"{_name_of(e, key)} plan {version} was handed over, {newest} was the newest"


def calls_become_sure(e: Evidence) -> Violations:
    """Without faults, and under light load, every call gets that confirmation."""
    asked = sum(event.verb in ("enroll", "unenroll", "move") for event in e.story.events)
    few = asked - e.story.people * len(e.story.starts) < ROUNDS
    if few and _enough(e) is SOON and not e.troubles:
        for asked_at, key, version in e.sure:
            if version is None:
                yield f"{_name_of(e, key)} was not sure at {_at(asked_at)}"


def a_run_follows_forward(e: Evidence) -> Violations:
    """A run never goes back to an older plan, and is cancelled when everything is called off."""
    yield from (f"run {run_id} went back to an older plan" for run_id in e.temporal.older)
    for run_id in e.temporal.planned_to_end:
        yield f"run {run_id} was given a plan in which everything is called off"


def no_run_without_an_enrollment(e: Evidence) -> Violations:
    """When all has come to rest, whoever has nothing to wait for has no run."""
    for runs in e.temporal.executions.values():
        for run in runs:
            if run.is_running:
                yield f"run {run.run_id} still runs"


def attempts_are_bounded(e: Evidence) -> Violations:
    """No request is repeated, and no delivery tried, more often than every few seconds."""
    minutes: Counter[tuple[str, int]] = Counter()
    for request in (r for r in e.provider.requests if not r.is_too_soon):
        minutes[request.key, int((request.at - EPOCH) / timedelta(minutes=1))] += 1
    for (key, _), n in minutes.items():
        if n > POSTS_A_MINUTE:
            yield f"{key} was posted {n} times in a minute"
    for (reminder_id, minute), n in e.temporal.attempts.items():
        if n > ATTEMPTS_A_MINUTE:
            yield f"{_name(e, reminder_id)} was tried {n} times in minute {minute}"


def one_owner_at_a_time(e: Evidence) -> Violations:
    """While its owner is well and renews the lease, nobody else posts a request."""
    for first, second in pairwise(sorted(e.provider.requests, key=lambda r: (r.key, r.at))):
        is_at_once = second.at - first.at < timedelta(seconds=2) and first.key == second.key
        is_given_up = any(
            str(batch_id) == first.key and first.at <= at <= second.at
            for at, batch_id in e.store.given_up
        )
        is_at_once = is_at_once and not is_given_up
        if is_at_once and first.worker != second.worker and not _was_ill(e, first.at):
            yield f"{first.key} was posted by {first.worker} and {second.worker} at {_at(second.at)}"


def nothing_fails_unexpectedly(e: Evidence) -> Violations:
    """No workflow fails, and no error is left that nobody expects."""
    yield from e.failures


INVARIANTS: tuple[Invariant, ...] = (
    accepted_at_most_once,
    told_once,
    nothing_before_its_instant,
    nothing_after_its_start,
    nothing_superseded,
    nothing_after_a_receipt,
    nothing_for_who_does_not_want_it,
    nothing_that_is_not_true_any_more,
    the_bytes_under_a_key_never_change,
    one_start_a_request,
    only_under_its_mode,
    the_ledger_agrees_with_the_provider,
    every_row_ends,
    reasons_are_true,
    rows_move_forward,
    what_could_go_out_went_out,
    news_is_new,
    who_takes_part_is_told,
    a_burst_is_one_notice,
    nobody_is_told_quietly,
    who_is_sure_has_the_newest,
    calls_become_sure,
    a_run_follows_forward,
    no_run_without_an_enrollment,
    attempts_are_bounded,
    one_owner_at_a_time,
    nothing_fails_unexpectedly,
)


def violations(e: Evidence) -> list[tuple[str, str]]:
    """What does not hold: the invariant's name, and what was seen."""
    return [(check.__name__, seen) for check in INVARIANTS for seen in check(e)]


# ---------------------------------------------------------------- what was true when


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which nothing changed for an enrollment."""

    since: datetime
    until: datetime
    is_enrolled: bool
    is_stopped: bool
    """By hand, or by the person."""
    session: Session
    off: frozenset[str]

    @property
    def starts_at(self) -> datetime:
        """The start that counts."""
        return self.session.starts_at

    @property
    def is_live(self) -> bool:
        """Whether anything is wanted."""
        return self.is_enrolled and not self.is_stopped and self.is_held

    @property
    def is_held(self) -> bool:
        """Whether the session takes place."""
        return self.session.status is SessionStatus.SCHEDULED

    def wants(self, row: Row, tells: datetime) -> bool:
        """Whether this reminder is wanted, telling this start."""
        return self.is_live and self.starts_at == tells and row.reminder_type not in self.off


def spells(
    e: Evidence,
    session_id: UUID,
    user_id: UUID,
    *,
    until_it_ended: bool = False,
    only_noted: bool = False,
) -> list[Spell]:
    """What was true of an enrollment, one spell after the other.

    Args:
        e: The evidence.
        session_id: Of the enrollment.
        user_id: Of the enrollment.
        until_it_ended: Whether a cancel by hand counts once the run has ended, and not before.
        only_noted: Whether a cancel by hand counts only if it called anything off: of one that met
            nothing but a last reminder on its way, the ledger knows nothing.
    """
    by_hand_at = e.ended_by_hand if until_it_ended else e.by_hand
    key = session_id, user_id
    if only_noted and not any(
        r.reason is Reason.WORKFLOW_CANCELLED for r in e.store.of_enrollment.get(key, [])
    ):
        by_hand_at = []
    events: list[tuple[datetime, str, object]] = [
        (at, what, value)
        for at, what, about, value in e.store.timeline
        if (what == "session" and about == session_id)
        or (what == "enrollment" and about == key)
        or (what == "stopped" and about == user_id)
    ]
    events += [(at, "off", about) for at, what, about, _ in e.store.timeline if what == "rule"]
    events += [(at, "by hand", is_so) for at, about, is_so in by_hand_at if about == key]
    events.sort(key=lambda event: event[0])
    found: list[Spell] = []
    enrolled = by_hand = opted_out = False
    session: Session | None = None
    off: frozenset[str] = frozenset()
    for n, (at, what, value) in enumerate(events):
        match what:
            case "session":
                assert isinstance(value, Session)
                session = value
            case "enrollment":
                enrolled = value is EnrollmentStatus.CONFIRMED
            case "by hand":
                by_hand = bool(value)
            case "stopped":
                opted_out = True
            case "off":
                off |= {str(value)}
        until = events[n + 1][0] if n + 1 < len(events) else e.settled_at
        if session is not None:
            found.append(Spell(at, until, enrolled, by_hand or opted_out, session, off))
    return found


@dataclass(frozen=True, slots=True)
class _State:
    """A time in which a session was one thing to one person."""

    since: datetime
    until: datetime
    is_part: bool
    """Whether they take part, and want to be told."""
    state: tuple[bool, datetime]
    """Whether it is cancelled, and when it starts."""


def _states(found: list[Spell]) -> list[_State]:
    """What the spells are to somebody who looks at the session only."""
    states: list[_State] = []
    for spell in found:
        is_part, state = (
            spell.is_enrolled and not spell.is_stopped,
            (not spell.is_held, spell.starts_at),
        )
        last = states[-1] if states else None
        if last and (last.is_part, last.state) == (is_part, state):
            states[-1] = replace(last, until=spell.until)
        else:
            states.append(_State(spell.since, spell.until, is_part, state))
    return states


def _says(e: Evidence, a: Acceptance) -> tuple[bool, datetime]:
    """What an e-mail says of a session: whether it is cancelled, and when it starts."""
    return e.store.rows[a.reminder_id].reminder_type == Notice.CANCELLED, a.tells


def _show_the_same(one: tuple[bool, datetime], other: tuple[bool, datetime]) -> bool:
    """Whether people need not be told: both are cancelled, or start at the same minute."""
    return one[0] == other[0] and (one[0] or abs(one[1] - other[1]) < NOTICEABLE)


def _merged(found: list[Spell]) -> list[Spell]:
    """Live spells, those of one start in one."""
    merged: list[Spell] = []
    for spell in found:
        if not spell.is_live:
            continue
        last = merged[-1] if merged else None
        if (
            last
            and last.until == spell.since
            and last.session == spell.session
            and last.off == spell.off
        ):
            merged[-1] = Spell(last.since, spell.until, True, False, last.session, last.off)
        else:
            merged.append(spell)
    return merged


def _wanted(e: Evidence, spell: Spell) -> list[tuple[str, datetime, datetime]]:
    """Types with the time in which they are useful, in a spell."""
    due = sorted(
        (spell.starts_at - rule.lead, kind)
        for kind, rule in e.store.rules.items()
        if kind not in spell.off and not rule.is_notice
    )
    ends = [*(at for at, _ in due[1:]), spell.starts_at][: len(due)]
    return [
        (kind, at, until) for (at, kind), until in zip(due, ends, strict=True) if at >= spell.since
    ]


def _known_at(e: Evidence, key: tuple[UUID, UUID], since: datetime) -> datetime | None:
    """When a call or a sweep that began after a change was sure that we follow it."""
    done = [ended for began, ended in e.confirmations.get(key, []) if began >= since]
    return min(done, default=None)


def _mails(e: Evidence, row: Row) -> list[Acceptance]:
    """All that somebody was told of a session."""
    of = row.session_id, row.user_id
    return [
        a
        for a in e.provider.accepted
        if (r := e.store.rows[a.reminder_id]) and (r.session_id, r.user_id) == of
    ]


def _may_believe_cancelled(e: Evidence, row: Row) -> bool:
    """Whether nobody knows if a notice of a cancellation went out to them."""
    mine = {r.id for r in e.store.of_enrollment[row.session_id, row.user_id]}
    return any(e.store.rows[i].reminder_type == Notice.CANCELLED for i in _unknown(e) & mine)


def _unknown(e: Evidence) -> set[UUID]:
    """Reminders of which the ledger could not know, at some time, whether they went out."""
    return {c.row_id for c in e.store.changes if c.reason is Reason.OUTCOME_UNKNOWN}


def _is_stuck(e: Evidence, session_id: UUID, user_id: UUID) -> bool:
    """Whether a request with them in it is in doubt, and nobody can be asked.

    It went unanswered, and a firewall keeps it for another's sake; or it was frozen under another
    mode. It may have been accepted, so that nobody in it can go with another.
    """
    mine = {r.id for r in e.store.of_enrollment.get((session_id, user_id), [])}
    unknown = _unknown(e)
    is_blocked = any(w is Weather.FIREWALL for _, _, w in e.troubles)
    return any(
        (is_blocked and str(batch.id) in e.provider.unanswered)
        or (batch.mode != "live" and unknown & {*batch.reminder_ids})
        for batch in e.store.batches.values()
        if mine & {*batch.reminder_ids}
    )


def _given_up_at(e: Evidence, session_id: UUID, user_id: UUID, kind: str) -> datetime:
    """When a request in doubt with this reminder in it was not to be repeated any more.

    Its words are outdated by then, or a session that it tells of was moved or called off.
    """
    ends = [e.settled_at]
    for row in e.store.of_enrollment.get((session_id, user_id), []):
        if (
            row.reminder_type != kind
            or row.reason is not Reason.OUTCOME_UNKNOWN
            or not row.batch_id
        ):
            continue
        batch = e.store.batches[row.batch_id]
        told_of = {e.store.rows[i].session_id for i in batch.reminder_ids}
        ends.append(batch.ends_at)
        ends += [
            at
            for at, what, about, _ in e.store.timeline
            if what == "session" and about in told_of and at > batch.frozen_at - OFF
        ]
    return min(ends)


def _enough(e: Evidence) -> timedelta:
    """How long all must be well before a reminder has to be out."""
    if any(e.story.old_keys):
        return PATIENT
    verbs = {event.verb for event in e.story.events}
    is_calm = e.story.loses == 0 and not verbs & {
        "die", "pause", "database", "temporal", "lose answers"
    }  # fmt: skip
    return SOON if is_calm and all(w in _OF_SOME for _, _, w in e.troubles) else ENOUGH


def _well_within(
    e: Evidence, since: datetime, until: datetime, enough: timedelta
) -> datetime | None:
    """From when on all was well for long enough, in a time; `None` if it was not."""
    at = since
    for began, ended in sorted(_ill(e)):
        if began - at >= enough and until - at >= enough:
            return at
        at = max(at, ended)
    return at if until - at >= enough else None


def _was_ill(e: Evidence, at: datetime) -> bool:
    """Whether a lease may have been lost rightly by then: nobody could, or did, renew it."""
    wide = timedelta(seconds=100)
    return any(ev.verb in ("pause", "die", "revive", "go on") for ev in e.story.events) or any(
        began - wide <= at <= ended + wide for began, ended in e.ill
    )


def _ill(e: Evidence) -> Iterator[tuple[datetime, datetime]]:
    """When something was not well, and how long the last of it is felt."""
    for began, ended in e.ill:
        yield began, ended
    for began, ended, weather in e.troubles:
        yield (
            (ended if weather in _OF_SOME else began),
            ended + _AFTERMATH.get(weather, timedelta()),
        )


_AFTERMATH = {
    Weather.QUOTA: timedelta(minutes=6),
    Weather.REFUSES_SENDER: timedelta(minutes=2),
}
"""How long after a refusal a hold, and the waits of those who were refused, may last."""
_OF_SOME = (Weather.FIREWALL, Weather.REFUSES_ONE, Weather.REFUSES_KEY)
"""What keeps those alone whom it is about."""

_ARROWS: dict[ReminderStatus, frozenset[ReminderStatus]] = {
    ReminderStatus.SCHEDULED: frozenset(ReminderStatus) - {ReminderStatus.BOUNCED},
    ReminderStatus.SENDING: frozenset(
        {
            ReminderStatus.SCHEDULED,
            ReminderStatus.SENT,
            ReminderStatus.FAILED,
            ReminderStatus.DELIVERED,
        }
    ),
    ReminderStatus.SENT: frozenset({ReminderStatus.DELIVERED}),
    ReminderStatus.FAILED: frozenset({ReminderStatus.SENT, ReminderStatus.DELIVERED}),
    ReminderStatus.CANCELLED: frozenset(),
    ReminderStatus.SKIPPED: frozenset(),
    ReminderStatus.DELIVERED: frozenset(),
}

_NEVER = frozenset(
    {Reason.NOT_FOUND, Reason.SESSION_DELETED, Reason.UNCONFIRMED, Reason.RENDER_ERROR}
)
"""Reasons for which no story gives a cause."""
_BEGUN = (Reason.EXPIRED, Reason.QUOTA, Reason.MISCONFIGURED, Reason.SESSION_STARTED)
"""Reasons that say that the session had begun."""
_NEXT = timedelta(seconds=1)
"""Whoever would come again after the start ends so long before it."""


def _is_true(e: Evidence, row: Row, reason: Reason | None, at: datetime) -> bool:
    """Whether it was so, at some moment shortly before a reminder ended for it."""
    since = at - timedelta(minutes=3)
    all_spells = spells(e, row.session_id, row.user_id)
    around = [s for s in all_spells if s.since <= at + OFF and s.until >= since]
    lead = e.store.rules[row.reminder_type].lead
    email = e.store.users[row.user_id].email
    was = {
        Reason.UNENROLLED: any(not s.is_enrolled for s in around),
        Reason.SESSION_CANCELLED: any(not s.is_held for s in around),
        Reason.WORKFLOW_CANCELLED: any(not s.is_live for s in all_spells),
        Reason.OPTED_OUT: any(s.is_stopped for s in around),
        Reason.RULE_DISABLED: any(row.reminder_type in s.off for s in around),
        Reason.PAST_DUE: any(s.starts_at - lead <= at + OFF for s in around),
        Reason.REJECTED: email in (e.provider.bad_address, e.provider.disliked),
    }
    if reason in _BEGUN:
        # Of an attempt that was not heard of nobody says when the next is to come: as the policy has it.
        early = RETRY.maximum_interval if row.id in e.temporal.cut_short else _NEXT
        return early is not None and any(s.starts_at <= at + early for s in around)
    return reason is None or was.get(reason, reason not in _NEVER)


def _of_batches(e: Evidence) -> Iterator[Acceptance]:
    """What was accepted under a key that the ledger has."""
    return (a for a in e.provider.accepted if UUID(a.key) in e.store.batches)


def _was_disliked(e: Evidence) -> bool:
    return any(w in (Weather.FIREWALL, Weather.REFUSES_ONE) for _, _, w in e.troubles)


def _name_of(e: Evidence, key: tuple[UUID, UUID]) -> str:
    person = e.store.users[key[1]].email.partition("@")[0]
    return f"{person}, {e.store.sessions[key[0]].title},"


def _name(e: Evidence, reminder_id: UUID) -> str:
    row = e.store.rows[reminder_id]
    person = e.store.users[row.user_id].email.partition("@")[0]
    session = e.store.sessions[row.session_id].title
    return f"{row.reminder_type}/{row.generation} of {person}, {session} ({str(row.id)[:4]})"


def _at(instant: datetime) -> str:
    return f"{(instant - EPOCH).total_seconds():.3f}"
