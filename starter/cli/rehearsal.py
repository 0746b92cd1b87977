"""Rehearse an enrollment: which e-mails it would get, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, cast
from uuid import UUID, uuid4

import typer

from reminders.domain.model import Session
from starter.api.fields import Instant, ZoneName
from starter.api.mails import RehearsalOut
from starter.assembly import Parts
from starter.cli.options import AsJson, parsed, show
from starter.cli.printing import rehearsal as printing
from starter.cli.running import ask

app = typer.Typer()

_instant = parsed(Instant)


@app.command()
def rehearse(
    session: Annotated[
        UUID | None, typer.Argument(metavar="[SESSION]", help="Id of a session; or use --start.")
    ] = None,
    *,
    start: Annotated[
        datetime | None,
        typer.Option(parser=_instant, metavar="INSTANT", help="A session that starts then."),
    ] = None,
    zone: Annotated[
        str,
        typer.Option(
            parser=parsed(ZoneName), metavar="ZONE", help="Where --start is: an IANA name."
        ),
    ] = "UTC",
    user: Annotated[
        UUID | None, typer.Option(help="Id of the attendee; a made-up one if left out.")
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
    if (session is None) == (start is None):
        raise typer.BadParameter("name a SESSION, or give --start; not both")
    if (move_at is None) != (move_to is None):
        raise typer.BadParameter("--move-at and --move-to go together")

    async def played(parts: Parts) -> RehearsalOut:
        # No other command needs the e-mail templates.
        from starter.services.rehearsal import Move, rehearsed  # noqa: PLC0415

        about = session or Session(
            id=uuid4(), title="A session", starts_at=cast("datetime", start), time_zone=zone
        )
        moves = (Move(at=move_at, to=move_to),) if move_at and move_to else ()
        return RehearsalOut.of(
            *await rehearsed(parts, about, user_id=user, enrolled_at=enroll_at, moves=moves)
        )

    show(ask(played), printing.rehearsal, as_json=as_json)
