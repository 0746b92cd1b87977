"""What operators look for: people, failures, the audit log, the day."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from starter.api import reports as lookups
from starter.api.reports import EventFilters, UserSearch
from starter.cli.options import AsJson, User, show
from starter.cli.printing import reports as printing
from starter.cli.running import ask

app = typer.Typer()
_user = typer.Typer(no_args_is_help=True, help="People.")
app.add_typer(_user, name="user")

_OfSession = Annotated[UUID | None, typer.Option("--session", help="Only of this session.")]


@app.command()
def overview(*, as_json: AsJson = False) -> None:
    """Show how things stand: today, what is still to come, and the next 24 hours."""
    show(ask(lookups.overview), printing.overview, as_json=as_json)


@app.command()
def failed(session: _OfSession = None, *, as_json: AsJson = False) -> None:
    """Show failed reminders by cause, and how many can still be sent: see redrive."""
    show(ask(lambda p: lookups.failures(p, session)), printing.failures, as_json=as_json)


@app.command()
def events(
    session: _OfSession = None,
    user: Annotated[UUID | None, typer.Option(help="Only about this user.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the audit log: who did what, when and why; the newest first."""
    filters = EventFilters(session_id=session, user_id=user, limit=limit, cursor=cursor)
    show(ask(lambda p: lookups.events(p, filters)), printing.events, as_json=as_json)


@_user.command("find")
def find(
    query: Annotated[str, typer.Argument(metavar="TEXT", help="Part of a name or an address.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Find the ids of users by a part of their name or address."""
    show(
        ask(lambda p: lookups.users(p, UserSearch(query=query))), printing.user_ids, as_json=as_json
    )


@_user.command("show")
def show_user(user: User, *, as_json: AsJson = False) -> None:
    """Show what a user is or was enrolled in, the latest session first."""
    show(ask(lambda p: lookups.enrollments(p, user)), printing.enrollments, as_json=as_json)
