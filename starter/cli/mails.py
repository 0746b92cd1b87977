"""E-mails to look at, one to oneself, and which ones an enrollment would get."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID, uuid4

import typer

from reminders.domain.model import Session
from starter.cli import tables
from starter.cli.options import AsJson, Reason, ask, by, instant, parsed, show, with_options
from starter.cli.reminders import with_generation

if TYPE_CHECKING:
    from starter.api.mails import PreviewOut, RehearsalOut, TestSentOut
    from starter.assembly import Parts
    from starter.services.mails import Scene

app = typer.Typer()

_duration = parsed("reminders.settings:Duration")
_zone = parsed("starter.api.models:ZoneName")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Email:
    """Which e-mail is meant."""

    session_id: Annotated[
        UUID | None,
        typer.Argument(metavar="SESSION", help="Id of a session; a sample one if left out."),
    ] = None
    user_id: Annotated[
        UUID | None,
        typer.Option(
            "--user", metavar="USER", help="Id of the attendee; a sample one if left out."
        ),
    ] = None
    reminder_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Which reminder, such as 30min.")
    ] = None
    at: Annotated[
        datetime | None,
        instant("As sent at this instant."),
    ] = None
    before: Annotated[
        timedelta | None,
        typer.Option(
            parser=_duration, metavar="DURATION", help="As sent this long before: 25h, 10m."
        ),
    ] = None
    late: Annotated[
        timedelta | None,
        typer.Option(parser=_duration, metavar="DURATION", help="As sent this late: 3m."),
    ] = None
    locale: Annotated[
        str | None,
        typer.Option(
            parser=parsed("starter.api.models:LocaleName"),
            metavar="LOCALE",
            help="Of the sample attendee.",
        ),
    ] = None
    time_zone: Annotated[
        str | None,
        typer.Option(parser=_zone, metavar="ZONE", help="Of the sample attendee."),
    ] = None

    async def scene(self, parts: Parts) -> Scene:
        """It, looked up."""
        from starter.services.mails import Wanted, scene

        return await scene(parts, Wanted(**asdict(self)))


@app.command()
@with_options
def preview(
    email: _Email,
    *,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the HTML there; - prints it."),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the text only.")] = False,
    in_browser: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an e-mail as it would be sent, at any moment, to anybody. Sends nothing."""
    from starter.api.mails import PreviewOut
    from starter.services.mails import Mails

    async def composed(parts: Parts) -> PreviewOut:
        scene = await email.scene(parts)
        return PreviewOut.of(scene, Mails(parts.settings).preview(scene), email.session_id)

    made = ask(composed)
    if in_browser:
        _open(made.html)
    if html is not None and str(html) != "-":
        try:
            html.write_text(made.html, encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{html}: {error.strerror}", param_hint="--html") from None
    elif html is not None:
        typer.echo(made.html)
        return
    if text:
        typer.echo(made.text)
        return
    show(made, _print_preview, as_json=as_json)


@app.command("test-send")
@with_options
def send_test(email: _Email, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Send an e-mail to VERIFIED_TEST_EMAIL, and to nobody else; at most five per minute."""
    from starter.api.mails import TestSentOut
    from starter.services.mails import Mails

    async def sent(parts: Parts) -> TestSentOut:
        scene = await email.scene(parts)
        done = await Mails(parts.settings).send_test(parts, scene, by(reason))
        return TestSentOut.of(scene, done)

    show(ask(sent), _print_test, as_json=as_json)


def _open(html: str) -> None:
    import webbrowser

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".html", delete=False) as file:
        file.write(html)
    webbrowser.open(Path(file.name).as_uri())


def _print_preview(answer: PreviewOut) -> None:
    """An e-mail: its head, and its text."""
    from starter.services.reasons import lead

    ahead = lead(answer.start_time - answer.at)
    tables.lines(
        reminder=answer.reminder_type,
        at=f"{tables.plain(answer.at)} UTC, {ahead} before the start",
        sender=answer.sender,
        subject=answer.subject,
        **dict(answer.headers),
    )
    tables.sentence("")
    for line in answer.text.splitlines():
        tables.sentence(line)


def _print_test(answer: TestSentOut) -> None:
    """What was sent to the test recipient."""
    tables.lines(
        sent=f"{answer.reminder_type}, as at {tables.plain(answer.at)} UTC, to VERIFIED_TEST_EMAIL",
        provider=answer.resend_email_id,
        audit=f"entry {answer.event_id}",
    )


@app.command()
def rehearse(
    session: Annotated[
        UUID | None, typer.Argument(metavar="SESSION", help="Id of a session; or use --start.")
    ] = None,
    *,
    start: Annotated[
        datetime | None,
        instant("A session that starts then."),
    ] = None,
    zone: Annotated[
        str,
        typer.Option(parser=_zone, metavar="ZONE", help="Where --start is: an IANA name."),
    ] = "UTC",
    user: Annotated[
        UUID | None,
        typer.Option(metavar="USER", help="Id of the attendee; a made-up one if left out."),
    ] = None,
    enroll_at: Annotated[
        datetime | None,
        instant("When they enroll; now if left out."),
    ] = None,
    move_at: Annotated[
        datetime | None,
        instant("When the session is moved ..."),
    ] = None,
    move_to: Annotated[
        datetime | None,
        instant("... and its new start."),
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
            "reminder": with_generation(r),
            "goes out (UTC)": r.sent_at or "-",
            "due (UTC)": r.due_at,
            "subject, or why not": r.subject or r.decision,
        }
        for r in answer.reminders
    )
