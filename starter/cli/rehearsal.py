"""Rehearse an enrollment: which e-mails it would get, and when."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID, uuid4

import typer

from reminders.domain.model import Session
from starter.cli import tables
from starter.cli.options import AsJson, parsed, show
from starter.cli.running import ask

if TYPE_CHECKING:
    from starter.api.mails import RehearsalOut
    from starter.assembly import Parts

app = typer.Typer()

_instant = parsed("starter.api.fields:Instant")


@app.command()
def rehearse(
    session: Annotated[
        UUID | None, typer.Argument(metavar="SESSION", help="Id of a session; or use --start.")
    ] = None,
    *,
    start: Annotated[
        datetime | None,
        typer.Option(parser=_instant, metavar="INSTANT", help="A session that starts then."),
    ] = None,
    zone: Annotated[
        str,
        typer.Option(
            parser=parsed("starter.api.fields:ZoneName"),
            metavar="ZONE",
            help="Where --start is: an IANA name.",
        ),
    ] = "UTC",
    user: Annotated[
        UUID | None,
        typer.Option(metavar="USER", help="Id of the attendee; a made-up one if left out."),
    ] = None,
    enroll_at: Annotated[
        datetime | None,
        typer.Option(parser=_instant, metavar="INSTANT", help="When they enroll; now if left out."),
    ] = None,
    move_at: Annotated[
        datetime | None,
        typer.Option(parser=_instant, metavar="INSTANT", help="When the session is moved ..."),
    ] = None,
    move_to: Annotated[
        datetime | None,
        typer.Option(parser=_instant, metavar="INSTANT", help="... and its new start."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every e-mail that an enrollment would get, with its instant and its subject.

    The database is only read, nobody is enrolled, and nothing is sent.
    """
    from starter.api.mails import RehearsalOut
    from starter.services.rehearsal import Move, rehearsed

    about: UUID | Session
    if session is not None and start is None:
        about = session
    elif start is not None and session is None:
        about = Session(id=uuid4(), title="A session", starts_at=start, time_zone=zone)
    else:
        raise typer.BadParameter("name a SESSION, or give --start; not both")
    if (move_at is None) != (move_to is None):
        raise typer.BadParameter("--move-at and --move-to go together")
    moves = (Move(at=move_at, to=move_to),) if move_at and move_to else ()

    async def played(parts: Parts) -> RehearsalOut:
        return RehearsalOut.of(
            *await rehearsed(parts, about, user_id=user, enrolled_at=enroll_at, moves=moves)
        )

    show(ask(played), _print_rehearsal, as_json=as_json)


def _print_rehearsal(answer: RehearsalOut) -> None:
    """What would go out, and what would not."""
    tables.lines(
        session=f"starts {tables.plain(answer.start_time)} UTC, announced in {answer.time_zone}",
        enrolled=f"{tables.plain(answer.enrolled_at)} UTC",
    )
    tables.table(
        {
            "reminder": f"{r.reminder_type} ({r.generation})"
            if r.generation > 1
            else r.reminder_type,
            "goes out (UTC)": r.sent_at or "-",
            "due (UTC)": r.due_at,
            "subject, or why not": r.subject or r.decision,
        }
        for r in answer.reminders
    )
