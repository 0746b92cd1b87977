"""Rehearse an enrollment: which e-mails it would get, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import typer

from reminders.db.rehearsing import RehearsalFacts
from reminders.errors import InvalidInputError
from reminders.model import Attendee, Session, SessionStatus
from starter.answers.rehearsal import RehearsalOut
from starter.assembly import Parts
from starter.commands.options import AsJson, parsed, show
from starter.http.fields import Instant, ZoneName
from starter.terminal.printing import rehearsal as printing
from starter.terminal.running import ask

app = typer.Typer()

_SAMPLE = "sample.attendee@example.com"


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

    Runs the real workflow on a Temporal server of its own, on which weeks pass in seconds. The
    database is only read, nobody is enrolled, and nothing is sent.
    """
    if (session is None) == (start is None):
        raise typer.BadParameter("name a SESSION, or give --start; not both")
    if (move_at is None) != (move_to is None):
        raise typer.BadParameter("--move-at and --move-to go together")

    async def rehearsed(parts: Parts) -> RehearsalOut:
        # No other command needs a server, the e-mail templates and a worker.
        from starter.composing import mail_composer  # noqa: PLC0415
        from starter.rehearsal import Move, Script, rehearse_alone  # noqa: PLC0415

        facts = RehearsalFacts(parts.database)
        about = await _session(parts, session, start, zone)
        enrolled_at = enroll_at or parts.clock.now()
        if move_at is not None and move_at < enrolled_at:
            raise InvalidInputError("--move-at lies before the enrollment", field="move_at")
        script = Script(
            session=about,
            attendee=await _attendee(parts, user),
            rules=await facts.rules(session),
            enrolled_at=enrolled_at,
            moves=(Move(at=move_at, to=move_to),) if move_at and move_to else (),
            threshold=parts.settings.reschedule_resend_threshold,
            stopped=await facts.stopped(session, user) if user else {},
        )
        # The subject as attendees get it, without an address in it.
        composer = mail_composer(parts.settings.model_copy(update={"delivery_mode": "live"}))
        return RehearsalOut.of(script, await rehearse_alone(script, composer))

    show(ask(rehearsed), printing.rehearsal, as_json=as_json)


async def _session(
    parts: Parts, session_id: UUID | None, start: datetime | None, zone: str
) -> Session:
    """The session that is meant, if people are reminded of it at all."""
    if session_id is None:
        assert start is not None  # noqa: S101 - one of the two is there
        return Session(id=uuid4(), title="A session", starts_at=start, time_zone=zone)
    session = await parts.catalogue.session(session_id)
    if session.status is SessionStatus.CANCELLED:
        message = "the session is cancelled, so nobody is reminded; restore it, or use --start"
        raise InvalidInputError(message, field="session")
    return session


async def _attendee(parts: Parts, user_id: UUID | None) -> Attendee:
    if user_id is not None:
        return await parts.catalogue.user(user_id)
    return Attendee(user_id=uuid4(), email=_SAMPLE, full_name="Sample Attendee")
