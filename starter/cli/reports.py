"""What operators look for: people, failures, the audit log, the day."""

from __future__ import annotations

from operator import attrgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from starter.cli import tables
from starter.cli.options import (
    AsJson,
    Cursor,
    Group,
    Limit,
    OnlySession,
    User,
    ask,
    filtered,
    parsed,
    show,
    show_named,
)
from starter.cli.reminders import by_status

if TYPE_CHECKING:
    from reminders.db.lookups import Names
    from starter.api.reports import (
        CauseListOut,
        EventPageOut,
        OverviewOut,
        UserEnrollmentsOut,
        UserIdsOut,
    )

app = typer.Typer()
_user = typer.Typer(cls=Group, no_args_is_help=True, help="People.")
app.add_typer(_user, name="user")

_OfUser = Annotated[UUID | None, typer.Option(metavar="USER", help="Only about this user.")]
_OfAction = Annotated[
    Any,
    typer.Option(
        parser=parsed("reminders.db.audit:Action"),
        metavar="ACTION",
        help="Only what was done, such as session_moved.",
    ),
]
_BAR = 40
"""Characters of the longest bar."""


@app.command()
def overview(*, as_json: AsJson = False) -> None:
    """Show today's figures, what is still to come, and the next 24 hours."""
    from starter.api import reports

    show(ask(reports.overview), _print_overview, as_json=as_json)


@app.command()
def failed(session: OnlySession = None, *, as_json: AsJson = False) -> None:
    """Show failed reminders by cause, and how many can still be sent: see redrive."""
    from starter.api import reports

    show(ask(lambda p: reports.failures(p, session)), _print_failures, as_json=as_json)


@app.command()
def events(
    session: OnlySession = None,
    user: _OfUser = None,
    action: _OfAction = None,
    actor: Annotated[
        str | None,
        typer.Option(
            metavar="WHO",
            help="Only by whoever is called so, such as admin:maria, or by all admin.",
        ),
    ] = None,
    *,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """Show the audit log: who did what, when and why; the newest first."""
    from starter.api import reports
    from starter.api.reports import EventFilters

    filters = filtered(
        EventFilters,
        session_id=session,
        user_id=user,
        action=action,
        actor=actor,
        limit=limit,
        cursor=cursor,
    )
    show_named(
        lambda p: reports.events(p, filters), _print_events, attrgetter("items"), as_json=as_json
    )


@_user.command("find")
def find(
    query: Annotated[str, typer.Argument(metavar="TEXT", help="Part of a name or an address.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Find the ids of users by a part of their name or address."""
    from starter.api import reports

    search = filtered(reports.UserSearch, query=query)
    show_named(
        lambda p: reports.users(p, search),
        _print_user_ids,
        lambda found: (SimpleNamespace(user_id=user_id) for user_id in found.items),
        as_json=as_json,
    )


@_user.command("show")
def show_user(user: User, *, as_json: AsJson = False) -> None:
    """Show the sessions that a user is or was enrolled in, the latest first."""
    from starter.api import reports

    show(ask(lambda p: reports.enrollments(p, user)), _print_enrollments, as_json=as_json)


def _print_overview(answer: OverviewOut) -> None:
    """How things stand, and a bar for each hour."""
    tables.row(
        {
            "today: sent": answer.sent_today,
            "late": answer.late_today,
            "failed": answer.failed_today,
            "waiting": answer.waiting,
            "overdue": answer.overdue,
            "in doubt": answer.in_doubt,
            "failed, can be sent": answer.redrivable,
        }
    )
    half, most = answer.delivered_within_p50_seconds, answer.delivered_within_p95_seconds
    if half is not None:
        tables.lines(delivered=f"half within {half:.0f} s, 95 of 100 within {most:.0f} s")
    busiest = max((hour.reminders for hour in answer.next_hours), default=0)
    tables.table(
        {
            "hour (UTC)": f"{hour.begins_at:%Y-%m-%d %H:00}",
            "due": hour.reminders,
            "": "█" * -(-hour.reminders * _BAR // busiest) if busiest else "",
        }
        for hour in answer.next_hours
    )


def _print_enrollments(answer: UserEnrollmentsOut) -> None:
    tables.table(
        {
            "starts (UTC)": s.start_time,
            "session": s.session_id,
            "title": s.title,
            "enrollment": s.enrollment_status,
            "reminders": by_status(s.counts),
        }
        for s in answer.items
    )


def _print_user_ids(answer: UserIdsOut, names: Names) -> None:
    tables.table({"name": names.people.get(one), "user": one} for one in answer.items)
    if answer.is_cut:
        tables.lines(more="there are more; look more precisely")


def _print_failures(answer: CauseListOut) -> None:
    tables.table(
        {
            "cause": c.status_reason or "-",
            "reminders": c.reminders,
            "sessions": c.sessions,
            "can still be sent": c.redrivable,
            "latest due (UTC)": c.newest_due_at,
            "meaning": c.meaning,
        }
        for c in answer.items
    )


def _print_events(answer: EventPageOut, names: Names) -> None:
    tables.table(
        {
            "when (UTC)": e.happened_at,
            "who": e.actor,
            "what": e.action.replace("_", " "),
            "why": e.reason,
            "title": names.sessions.get(e.session_id) if e.session_id else None,
            "name": names.people.get(e.user_id) if e.user_id else None,
            "session": e.session_id,
            "user": e.user_id,
        }
        for e in answer.items
    )
    tables.more(answer.next_cursor)
