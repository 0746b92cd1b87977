"""Reminder rules: listed, added, changed, deleted, and compared beforehand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from reminders.domain.rules import LONGEST_LEAD, RuleFields
from starter.cli import tables
from starter.cli.options import (
    CHANGE_WAIT,
    AsJson,
    Group,
    OnlySession,
    Reason,
    Yes,
    by,
    only_counted,
    show_named,
    with_options,
)
from starter.cli.sessions import print_changes

if TYPE_CHECKING:
    from reminders.db.lookups import Names
    from starter.api.rules import RuleChangeOut, RuleDiffOut, RuleListOut
    from starter.assembly import Parts
    from starter.services.rules import RuleReceipt

app = typer.Typer()
_config = typer.Typer(cls=Group, no_args_is_help=True, help="Reminder rules.")
app.add_typer(_config, name="config")

_MOST_MINUTES = LONGEST_LEAD // timedelta(minutes=1)
_Type = Annotated[str, typer.Argument(metavar="TYPE", help="The rule's type, such as 24h.")]
_Minutes = typer.Option(
    "--minutes", min=1, max=_MOST_MINUTES, metavar="N", help="Minutes before the start."
)
_Subject = typer.Option("--subject", metavar="TEXT", help="Subject, with {session_title} and such.")
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class _NewRule:
    """The fields of a rule to add."""

    minutes: Annotated[int, _Minutes]
    subject: Annotated[str, _Subject]
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Display name.")] = None
    order: Annotated[int | None, typer.Option(metavar="N", help="Place in lists.")] = None
    on: Annotated[bool | None, typer.Option("--on/--off", help="Switch it on or off.")] = None

    @property
    def fields(self) -> RuleFields:
        """For the services; absent ones are left as they are."""
        return RuleFields(
            lead=None if self.minutes is None else timedelta(minutes=self.minutes),
            is_enabled=self.on,
            subject_template=self.subject,
            display_name=self.name,
            sort_order=self.order,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _ChangedRule(_NewRule):
    """The fields of a rule to change; what is left out stays."""

    minutes: Annotated[int | None, _Minutes] = None  # type: ignore[assignment]
    subject: Annotated[str | None, _Subject] = None  # type: ignore[assignment]


@_config.command("list")
def list_rules(session: OnlySession = None, *, as_json: AsJson = False) -> None:
    """List the rules; with --session, those that count for that session."""
    from starter.api import rules

    show_named(
        lambda p: rules.list_rules(p, session), _print_rules, attrgetter("items"), as_json=as_json
    )


@_config.command()
@with_options
def add(
    reminder_type: _Type,
    *,
    rule: _NewRule,
    session: OnlySession = None,
    reason: Reason = None,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add a rule, for every session or for one. Nobody gets an e-mail for the past."""
    if dry_run:
        _show_diff(reminder_type, session, rule.fields, as_json=as_json)
        return
    _change(
        lambda parts: parts.rules.add(
            reminder_type, session, rule.fields, by=by(reason), wait=CHANGE_WAIT
        ),
        as_json=as_json,
    )


@_config.command("set")
@with_options
def set_(
    reminder_type: _Type,
    *,
    rule: _ChangedRule,
    session: OnlySession = None,
    reason: Reason = None,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change a rule, or switch it on or off; with --session, only for that session."""
    if dry_run:
        _show_diff(reminder_type, session, rule.fields, as_json=as_json)
        return
    _change(
        lambda parts: parts.rules.change(
            reminder_type, session, rule.fields, by=by(reason), wait=CHANGE_WAIT
        ),
        as_json=as_json,
    )


@_config.command()
def delete(
    reminder_type: _Type,
    session: OnlySession = None,
    reason: Reason = None,
    *,
    yes: Yes = False,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete a rule: its waiting reminders are not sent."""
    if dry_run:
        _show_diff(reminder_type, session, None, as_json=as_json)
        return
    only_counted(
        _diff(reminder_type, session, None),
        lambda diff: f"{' '.join(diff.in_words)} Delete it?",
        dry_run=False,
        yes=yes,
    )
    _change(
        lambda parts: parts.rules.delete(reminder_type, session, by=by(reason), wait=CHANGE_WAIT),
        as_json=as_json,
    )


@_config.command()
@with_options
def diff(
    reminder_type: _Type,
    *,
    rule: _ChangedRule,
    session: OnlySession = None,
    deletion: Annotated[bool, typer.Option("--delete", help="If it were deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a change would do: which reminders would move, and which would be skipped."""
    from reminders.domain.rules import RuleFields

    if deletion and rule.fields != RuleFields():
        msg = "takes no other field"
        raise typer.BadParameter(msg, param_hint="--delete")
    fields = None if deletion else rule.fields
    _show_diff(reminder_type, session, fields, as_json=as_json)


def _change(change: Callable[[Parts], Awaitable[RuleReceipt]], *, as_json: bool) -> None:
    from starter.api.rules import RuleChangeOut

    async def changed(parts: Parts) -> RuleChangeOut:
        receipt = await change(parts)
        # The sessions that it concerns are reached in the background, and this process ends with it.
        await parts.rules.all_reached()
        return RuleChangeOut.of(receipt)

    show_named(changed, _print_change, lambda done: [done.configuration], as_json=as_json)


def _diff(
    reminder_type: str, session: UUID | None, fields: RuleFields | None
) -> Callable[[Parts], Awaitable[RuleDiffOut]]:
    from starter.api.rules import RuleDiffOut

    async def compared(parts: Parts) -> RuleDiffOut:
        return RuleDiffOut.of(await parts.rules.diff(reminder_type, session, fields))

    return compared


def _show_diff(
    reminder_type: str, session: UUID | None, fields: RuleFields | None, *, as_json: bool
) -> None:
    question = _diff(reminder_type, session, fields)
    show_named(question, _print_diff, attrgetter("sessions"), as_json=as_json)


def _print_rules(answer: RuleListOut, names: Names) -> None:
    tables.table(
        {
            "type": r.reminder_type,
            "minutes before": r.minutes_before or "notice",
            "state": "on" if r.is_enabled else "off",
            "name": r.display_name,
            "subject": r.email_subject_template,
            "only for": names.sessions.get(r.session_id) if r.session_id else None,
            "session": r.session_id,
        }
        for r in answer.items
    )


def _print_change(answer: RuleChangeOut, names: Names) -> None:
    """A rule as it is now, and what the change did."""
    from starter.api.rules import RuleListOut

    if answer.configuration is not None:
        _print_rules(RuleListOut(items=[answer.configuration]), names)
    else:
        tables.lines(rule="deleted")
    if answer.changes is not None:
        print_changes(answer.changes)
    if answer.under_way is not None:
        tables.lines(
            state="stored, and no old instant fires; workers update the workflows: see reminders runs",
            sessions=f"{answer.under_way.sessions}, {answer.under_way.told} of them started",
        )


def _print_diff(answer: RuleDiffOut, names: Names) -> None:
    """What a change of a rule would do."""
    for sentence in answer.in_words:
        tables.sentence(sentence)
    tables.table(
        {
            "starts (UTC)": s.start_time,
            "title": names.sessions.get(s.session_id),
            "session": s.session_id,
            "moved": s.moved,
            "planned": s.planned,
            "skipped": ", ".join(f"{why} {count}" for why, count in sorted(s.skipped.items()))
            or "0",
            "switched off": s.switched_off,
        }
        for s in answer.sessions
    )
    if answer.more_sessions:
        tables.lines(more=f"{answer.more_sessions} further sessions")
