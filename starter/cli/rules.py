"""Reminder rules: listed, added, changed, deleted, and compared beforehand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from reminders.domain.rules import RuleFields
from starter.api.rules import MOST_MINUTES, RuleChangeOut, RuleDiffOut, RuleListOut, RuleOut
from starter.assembly import Parts
from starter.cli.options import ACTOR, CHANGE_WAIT, AsJson, Reason, Yes, confirmed, show
from starter.cli.printing import rules as printing
from starter.cli.running import ask
from starter.services.rules import RuleReceipt

app = typer.Typer()
_config = typer.Typer(no_args_is_help=True, help="Reminder rules.")
app.add_typer(_config, name="config")


_Type = Annotated[str, typer.Argument(metavar="TYPE", help="The rule's type, such as 24h.")]
_Session = Annotated[UUID | None, typer.Option("--session", help="Only for this session.")]
_Minutes = Annotated[
    int | None,
    typer.Option("--minutes", min=1, max=MOST_MINUTES, help="Minutes before the start."),
]
_Subject = Annotated[
    str | None, typer.Option("--subject", help="Subject, with {session_title} and such.")
]
_Name = Annotated[str | None, typer.Option("--name", help="Display name.")]
_Order = Annotated[int | None, typer.Option("--order", help="Place in lists.")]
_On = Annotated[bool | None, typer.Option("--on/--off", help="Switch it on or off.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]


@_config.command("list")
def list_rules(session: _Session = None, *, as_json: AsJson = False) -> None:
    """List the rules; with --session, those that count for that session."""

    async def listed(parts: Parts) -> RuleListOut:
        rules = await (parts.rules.of_session(session) if session else parts.rules.all())
        return RuleListOut(items=[RuleOut.of(rule) for rule in rules])

    show(ask(listed), printing.rules, as_json=as_json)


@_config.command()
def add(
    reminder_type: _Type,
    *,
    minutes: Annotated[int, typer.Option(min=1, max=MOST_MINUTES, help="Before the start.")],
    subject: Annotated[str, typer.Option(help="Subject, with {session_title} and such.")],
    name: _Name = None,
    order: _Order = None,
    session: _Session = None,
    reason: Reason = None,
    on: _On = None,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add a rule, for every session or for one. Nobody is mailed for the past."""
    fields = _fields(minutes, subject, name, order, on=on)
    if dry_run:
        _show_diff(reminder_type, session, fields, as_json=as_json)
        return

    async def added(parts: Parts) -> RuleChangeOut:
        receipt = await parts.rules.add(
            reminder_type, session, fields, actor=ACTOR, reason=reason, wait=CHANGE_WAIT
        )
        return await _told(parts, receipt)

    show(ask(added), printing.rule_change, as_json=as_json)


@_config.command("set")
def set_(
    reminder_type: _Type,
    *,
    minutes: _Minutes = None,
    subject: _Subject = None,
    name: _Name = None,
    order: _Order = None,
    session: _Session = None,
    reason: Reason = None,
    on: _On = None,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change a rule, or switch it on or off; with --session, only for that session."""
    fields = _fields(minutes, subject, name, order, on=on)
    if dry_run:
        _show_diff(reminder_type, session, fields, as_json=as_json)
        return

    async def changed(parts: Parts) -> RuleChangeOut:
        receipt = await parts.rules.change(
            reminder_type, session, fields, actor=ACTOR, reason=reason, wait=CHANGE_WAIT
        )
        return await _told(parts, receipt)

    show(ask(changed), printing.rule_change, as_json=as_json)


@_config.command()
def delete(
    reminder_type: _Type,
    session: _Session = None,
    reason: Reason = None,
    *,
    yes: Yes = False,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete a rule: what waits because of it is not sent."""
    if dry_run:
        _show_diff(reminder_type, session, None, as_json=as_json)
        return
    if not yes:
        confirmed(lambda: f"{' '.join(_diff(reminder_type, session, None).in_words)} Delete it?")

    async def deleted(parts: Parts) -> RuleChangeOut:
        receipt = await parts.rules.delete(
            reminder_type, session, actor=ACTOR, reason=reason, wait=CHANGE_WAIT
        )
        return await _told(parts, receipt)

    show(ask(deleted), printing.rule_change, as_json=as_json)


@_config.command()
def diff(
    reminder_type: _Type,
    *,
    minutes: _Minutes = None,
    subject: _Subject = None,
    name: _Name = None,
    order: _Order = None,
    session: _Session = None,
    on: _On = None,
    deletion: Annotated[bool, typer.Option("--delete", help="If it were deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a change would do: who moves, who is skipped, and that nobody is mailed for it."""
    fields = None if deletion else _fields(minutes, subject, name, order, on=on)
    _show_diff(reminder_type, session, fields, as_json=as_json)


async def _told(parts: Parts, receipt: RuleReceipt) -> RuleChangeOut:
    """The answer, once every session was told: this process ends with it."""
    await parts.rules.all_told()
    return RuleChangeOut.of(receipt)


def _diff(reminder_type: str, session: UUID | None, fields: RuleFields | None) -> RuleDiffOut:
    async def compared(parts: Parts) -> RuleDiffOut:
        return RuleDiffOut.of(await parts.rules.diff(reminder_type, session, fields))

    return ask(compared)


def _show_diff(
    reminder_type: str, session: UUID | None, fields: RuleFields | None, *, as_json: bool
) -> None:
    show(_diff(reminder_type, session, fields), printing.rule_diff, as_json=as_json)


def _fields(
    minutes: int | None,
    subject: str | None,
    name: str | None,
    order: int | None,
    *,
    on: bool | None,
) -> RuleFields:
    try:
        lead = None if minutes is None else timedelta(minutes=minutes)
    except OverflowError:
        msg = "is more than a rule can have"
        raise typer.BadParameter(msg, param_hint="--minutes") from None
    return RuleFields(
        lead=lead,
        is_enabled=on,
        subject_template=subject,
        display_name=name,
        sort_order=order,
    )
