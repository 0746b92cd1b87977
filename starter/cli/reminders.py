"""The ledger: reminders listed, and sent once more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from reminders.domain.model import Reminder, ReminderStatus, StatusReason
from starter.cli import progress, tables
from starter.cli.options import (
    AsJson,
    Cursor,
    DryRun,
    NeededReason,
    OnlySession,
    Yes,
    ask,
    by,
    instant,
    only_counted,
    show,
    show_named,
)

if TYPE_CHECKING:
    from reminders.db.lookups import Names
    from reminders.db.resends import Requested
    from starter.api.mails import RehearsedReminder
    from starter.api.reminders import RedriveOut, ReminderOut, ReminderPageOut
    from starter.assembly import Parts
    from starter.cli.options import Question

app = typer.Typer()

_Id = Annotated[UUID, typer.Argument(metavar="ID", help="Id of the reminder.")]


@app.command("list")
def list_(
    status: Annotated[ReminderStatus | None, typer.Option(help="Only these.")] = None,
    *,
    reason: Annotated[StatusReason | None, typer.Option(help="Only with this reason.")] = None,
    session: OnlySession = None,
    user: Annotated[UUID | None, typer.Option(metavar="USER", help="Only this user's.")] = None,
    since: Annotated[
        datetime | None,
        instant("Due then or later; without any of these options, from now on."),
    ] = None,
    until: Annotated[datetime | None, instant("Due before then.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="The latest due instant first.")] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="At most this many.")
    ] = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List reminders by due instant: from now on, or those that are asked for."""
    from reminders.clock import SystemClock
    from starter.api.reminders import ReminderOut, ReminderPageOut
    from starter.api.reports import LARGEST_PAGE

    if not any((status, reason, session, user, since, until, newest, cursor)):
        since = SystemClock().now()

    async def listed(parts: Parts) -> ReminderPageOut:
        found: list[Reminder] = []
        after = cursor
        while len(found) < limit:
            page = await parts.queries.list(
                session_id=session,
                user_id=user,
                email_status=status,
                status_reason=reason,
                since=since,
                until=until,
                newest=newest,
                cursor=after,
                limit=min(limit - len(found), LARGEST_PAGE),
            )
            found += page.reminders
            after = page.next_cursor
            if after is None:
                break
        return ReminderPageOut(items=[ReminderOut.of(r) for r in found], next_cursor=after)

    show_named(listed, _print_reminders, attrgetter("items"), as_json=as_json)


@app.command()
def resend(reminder: _Id, reason: NeededReason, *, as_json: AsJson = False) -> None:
    """Send a reminder again, as a new generation. Asked twice, it goes out once."""
    _send(lambda parts: parts.resending.resend(reminder, by(reason)), as_json=as_json)


@app.command("send-now")
def send_now(reminder: _Id, reason: NeededReason, *, as_json: AsJson = False) -> None:
    """Send a waiting reminder now, ahead of its due instant. Asked twice, it goes out once."""
    _send(lambda parts: parts.resending.send_now(reminder, by(reason)), as_json=as_json)


def _send(sending: Question[Requested], *, as_json: bool) -> None:
    from starter.api.reminders import ReminderOut

    async def planned(parts: Parts) -> ReminderOut:
        return ReminderOut.of((await sending(parts)).reminder)

    show_named(planned, _print_reminder, lambda planned: [planned], as_json=as_json)


@app.command()
def redrive(
    session: OnlySession = None,
    reason: NeededReason = "reminders redrive",
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send failed reminders again, for sessions that have not begun: at most one e-mail per person."""
    from starter.api.reminders import RedriveOut

    async def redriven(parts: Parts, *, only_count: bool = False) -> RedriveOut:
        if session is not None:
            await parts.catalogue.session(session)
        with progress.bar("failed reminders", quiet=as_json or only_count) as shown:
            receipt = await parts.resending.redrive(
                by(reason),
                session_id=session,
                dry_run=only_count,
                patience=None,
                on_progress=shown.advance,
            )
        return RedriveOut.of(receipt)

    only = only_counted(
        lambda parts: redriven(parts, only_count=True),
        lambda counts: f"Send {counts.resent} reminders once more?",
        dry_run=dry_run,
        yes=yes,
    )
    show(only or ask(redriven), _print_redrive, as_json=as_json)


def with_generation(reminder: ReminderOut | RehearsedReminder) -> str:
    """Its type, and which sending it is if not the first."""
    again = f" ({reminder.generation})" if reminder.generation > 1 else ""
    return reminder.reminder_type + again


def by_status(counts: Mapping[ReminderStatus, int]) -> str:
    """Counts on one line, in the order of a reminder's life."""
    return ", ".join(f"{status} {counts[status]}" for status in ReminderStatus if status in counts)


def _print_reminders(answer: ReminderPageOut, names: Names) -> None:
    tables.table(
        {
            "due (UTC)": r.due_at,
            "reminder": with_generation(r),
            "status": r.email_status,
            "reason": r.status_reason,
            "title": names.sessions.get(r.session_id),
            "name": names.people.get(r.user_id),
            "session": r.session_id,
            "user": r.user_id,
            "id": r.id,
        }
        for r in answer.items
    )
    tables.more(answer.next_cursor)


def _print_reminder(answer: ReminderOut, names: Names) -> None:
    from starter.api.reminders import ReminderPageOut

    _print_reminders(ReminderPageOut(items=[answer], next_cursor=None), names)


def _print_redrive(answer: RedriveOut) -> None:
    """What a redrive did, or would do."""
    left = ", ".join(f"{why} {count}" for why, count in sorted(answer.left_alone.items()))
    tables.row(
        {
            "failed": answer.found,
            "would be sent again" if answer.dry_run else "planned again": answer.resent,
            "left alone": left or "0",
        }
    )
