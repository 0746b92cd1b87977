"""Sessions."""

from __future__ import annotations

from typing import Annotated

import typer

from reminders.db.lookups import Period
from reminders.domain.model import ReminderStatus
from starter.api.answers.sessions import ChangesOut, SessionWithCounts, UnderWayOut
from starter.api.bodies.lookups import RosterFilters, SessionFilters
from starter.assembly import Parts
from starter.cli.options import CHANGE_WAIT, AsJson, Reason, Session, by, show, waited_for
from starter.cli.printing import receipts
from starter.cli.printing import sessions as printing
from starter.cli.running import ask
from starter.services import reports as lookups

app = typer.Typer()
_session = typer.Typer(no_args_is_help=True, help="Sessions.")
app.add_typer(_session, name="session")


@_session.command("show")
def show_session(session: Session, *, as_json: AsJson = False) -> None:
    """Show a session, with its reminders counted by status."""

    async def shown(parts: Parts) -> SessionWithCounts:
        found = await parts.catalogue.session(session)
        return SessionWithCounts.of(found, await parts.catalogue.counts(session))

    show(ask(shown), printing.session, as_json=as_json)


@_session.command("list")
def list_sessions(
    query: Annotated[str, typer.Argument(metavar="[TEXT]", help="Part of a title, or an id.")] = "",
    *,
    past: Annotated[
        bool, typer.Option("--past", help="Past ones instead, the last first.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List upcoming sessions, the next first, with their reminders counted."""
    filters = SessionFilters(
        query=query,
        period=Period.PAST if past else Period.UPCOMING,
        limit=limit,
        cursor=cursor,
    )
    show(ask(lambda p: lookups.sessions(p, filters)), printing.sessions, as_json=as_json)


@_session.command("roster")
def roster(
    session: Session,
    *,
    status: Annotated[
        ReminderStatus | None, typer.Option(help="Only people with a reminder in this status.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List who is enrolled in a session, with the state of each reminder."""
    filters = RosterFilters(email_status=status, limit=limit, cursor=cursor)
    show(ask(lambda p: lookups.roster(p, session, filters)), printing.roster, as_json=as_json)


@_session.command("changed")
def changed(session: Session, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Say that a session, or a rule, changed: plan every enrollment anew. Safe to repeat."""
    done = waited_for(
        lambda parts: parts.deeds.replan_session(session, by(reason), wait=CHANGE_WAIT),
        session,
        quiet=as_json,
    )
    if done.is_done:
        show(ChangesOut.of(done), receipts.changes, as_json=as_json)
    else:
        show(UnderWayOut.of(done), receipts.under_way, as_json=as_json)


@_session.command("restore")
def restore(session: Session, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Hold a cancelled session after all: plan what still lies ahead anew. Safe to repeat."""
    done = waited_for(
        lambda parts: parts.deeds.restore_session(session, by(reason), wait=CHANGE_WAIT),
        session,
        quiet=as_json,
    )
    if done.is_done:
        show(ChangesOut.of(done), receipts.changes, as_json=as_json)
    else:
        show(UnderWayOut.of(done), receipts.under_way, as_json=as_json)
