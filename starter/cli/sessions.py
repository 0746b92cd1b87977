"""Sessions: one or many, who is enrolled, and what a change did."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

import typer

from reminders.domain.model import ReminderStatus
from starter.cli import tables
from starter.cli.options import (
    CHANGE_WAIT,
    AsJson,
    Cursor,
    DryRun,
    Group,
    Limit,
    Reason,
    Session,
    TellNobody,
    ask,
    by,
    filtered,
    show,
    show_named,
)
from starter.cli.progress import waited_for
from starter.cli.reminders import by_status

if TYPE_CHECKING:
    from reminders.db.lookups import Names
    from starter.api.reports import RosterPageOut, SessionPageOut
    from starter.api.sessions import ChangesOut, SessionWithCounts, UnderWayOut
    from starter.assembly import Parts
    from starter.services.receipts import ChangeReceipt

app = typer.Typer()
_session = typer.Typer(cls=Group, no_args_is_help=True, help="Sessions.")
app.add_typer(_session, name="session")


@_session.command("show")
def show_session(session: Session, *, as_json: AsJson = False) -> None:
    """Show a session, with its reminders counted by status."""
    from starter.api import sessions

    async def looked_up(parts: Parts) -> SessionWithCounts:
        found = await sessions.get_session(session, parts)
        if as_json:  # as it is stored
            return found
        return found.model_copy(update={"title": parts.browser.text(found.title)})

    show(ask(looked_up), _print_session, as_json=as_json)


@_session.command("list")
def list_sessions(
    query: Annotated[str, typer.Argument(metavar="TEXT", help="Part of a title, or an id.")] = "",
    *,
    past: Annotated[
        bool, typer.Option("--past", help="Past ones instead, the last first.")
    ] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List upcoming sessions, the next first, with their reminders counted."""
    from reminders.db.lookups import Period
    from starter.api import reports
    from starter.api.reports import SessionFilters

    filters = filtered(
        SessionFilters,
        query=query,
        period=Period.PAST if past else Period.UPCOMING,
        limit=limit,
        cursor=cursor,
    )
    show(ask(lambda p: reports.sessions(p, filters)), _print_sessions, as_json=as_json)


@_session.command("roster")
def roster(
    session: Session,
    *,
    status: Annotated[
        ReminderStatus | None, typer.Option(help="Only people with a reminder in this status.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List who is enrolled in a session, with the state of each reminder."""
    from starter.api import reports
    from starter.api.reports import RosterFilters

    filters = filtered(RosterFilters, email_status=status, limit=limit, cursor=cursor)
    show_named(
        lambda p: reports.roster(p, session, filters),
        _print_roster,
        attrgetter("items"),
        as_json=as_json,
    )


@_session.command("changed")
def changed(
    session: Session,
    *,
    reason: Reason = None,
    tell_nobody: TellNobody = False,
    as_json: AsJson = False,
) -> None:
    """Report that a session or a rule changed: replan every enrollment. Safe to repeat."""
    done = waited_for(
        lambda parts: parts.gateway.session_changed(
            session, by(reason), tell_nobody=tell_nobody, wait=CHANGE_WAIT
        ),
        session,
        quiet=as_json,
    )
    _show_change(done, as_json=as_json)


@_session.command("restore")
def restore(
    session: Session,
    *,
    reason: Reason = None,
    tell_nobody: TellNobody = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Restore a cancelled session, and replan what still lies ahead. Safe to repeat."""
    done = waited_for(
        lambda parts: parts.gateway.restore_session(
            session, by(reason), dry_run=dry_run, tell_nobody=tell_nobody, wait=CHANGE_WAIT
        ),
        session,
        quiet=as_json,
    )
    _show_change(done, as_json=as_json)


def _show_change(change: ChangeReceipt, *, as_json: bool) -> None:
    from starter.api.sessions import ChangesOut, UnderWayOut

    if change.is_done:
        show(ChangesOut.of(change), print_changes, as_json=as_json)
    else:
        show(UnderWayOut.of(change), print_under_way, as_json=as_json)


def print_changes(answer: ChangesOut) -> None:
    """What a session's change did."""
    tables.row(
        {
            "enrollments": answer.enrollments,
            "confirmed": answer.replanned,
            "not confirmed": answer.unconfirmed,
            "cancelled": answer.cancelled,
            "already sent": answer.already_sent,
            "in flight": answer.in_flight,
            "told": answer.told,
        }
    )


def print_under_way(answer: UnderWayOut) -> None:
    """Which workflow goes on with a change that the ledger holds already."""
    tables.lines(
        state="stored, and nothing goes out that it forbids; a worker updates the workflows",
        workflow=answer.workflow_id,
        run=answer.run_id,
    )


def _print_session(answer: SessionWithCounts) -> None:
    tables.lines(
        session=str(answer.id),
        title=answer.title,
        starts=f"{tables.plain(answer.start_time)} UTC, announced in {answer.time_zone}",
        status=str(answer.status),
        would_be_told=", ".join(f"{n} if {kind}" for kind, n in answer.would_be_told.items()),
    )
    tables.table({"status": status, "reminders": n} for status, n in answer.counts.items() if n)


def _print_sessions(answer: SessionPageOut) -> None:
    tables.table(
        {
            "starts (UTC)": s.start_time,
            "session": s.id,
            "title": s.title,
            "status": s.status,
            "enrolled": s.enrolled,
            "reminders": by_status(s.counts),
        }
        for s in answer.items
    )
    tables.more(answer.next_cursor)


def _print_roster(answer: RosterPageOut, names: Names) -> None:
    tables.table(
        {
            "name": names.people.get(entry.user_id),
            "user": entry.user_id,
            "enrollment": entry.enrollment_status,
            "reminders": ", ".join(f"{r.reminder_type} {r.email_status}" for r in entry.reminders),
        }
        for entry in answer.items
    )
    tables.more(answer.next_cursor)
