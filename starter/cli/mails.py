"""E-mails to look at, and one to oneself."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from starter.cli import tables
from starter.cli.options import AsJson, Reason, by, parsed, show
from starter.cli.running import ask

if TYPE_CHECKING:
    from starter.api.mails import PreviewOut, TestSentOut
    from starter.assembly import Parts

app = typer.Typer()

_duration = parsed("reminders.settings:Duration")

_Session = Annotated[
    UUID | None,
    typer.Argument(metavar="[SESSION]", help="Id of a session; a sample one if left out."),
]
_User = Annotated[UUID | None, typer.Option(help="Id of the attendee; a sample one if left out.")]
_Type = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Which reminder, such as 30min.")
]
_At = Annotated[
    datetime | None,
    typer.Option(
        parser=parsed("starter.api.fields:Instant"),
        metavar="INSTANT",
        help="As sent at this instant.",
    ),
]
_Before = Annotated[
    timedelta | None,
    typer.Option(parser=_duration, metavar="DURATION", help="As sent this long before: 25h, 10m."),
]
_Late = Annotated[
    timedelta | None,
    typer.Option(parser=_duration, metavar="DURATION", help="As sent this late: 3m."),
]
_Locale = Annotated[
    str | None,
    typer.Option(
        parser=parsed("starter.api.fields:LocaleName"),
        metavar="LOCALE",
        help="Of the sample attendee.",
    ),
]
_Zone = Annotated[
    str | None,
    typer.Option(
        "--time-zone",
        parser=parsed("starter.api.fields:ZoneName"),
        metavar="ZONE",
        help="Of the sample attendee.",
    ),
]


@app.command()
def preview(
    session: _Session = None,
    *,
    user: _User = None,
    kind: _Type = None,
    at: _At = None,
    before: _Before = None,
    late: _Late = None,
    locale: _Locale = None,
    time_zone: _Zone = None,
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
    from starter.services.mails import Mails, Wanted, scene

    wanted = Wanted(
        session_id=session,
        user_id=user,
        reminder_type=kind,
        at=at,
        before=before,
        late=late,
        locale=locale,
        time_zone=time_zone,
    )

    async def composed(parts: Parts) -> PreviewOut:
        found = await scene(parts, wanted)
        return PreviewOut.of(found, Mails(parts.settings).preview(found), session)

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
def send_test(
    session: _Session = None,
    *,
    user: _User = None,
    kind: _Type = None,
    at: _At = None,
    before: _Before = None,
    late: _Late = None,
    locale: _Locale = None,
    time_zone: _Zone = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Send an e-mail to VERIFIED_TEST_EMAIL, and to nobody else; five a minute at the most."""
    from starter.api.mails import TestSentOut
    from starter.services.mails import Mails, Wanted, scene

    wanted = Wanted(
        session_id=session,
        user_id=user,
        reminder_type=kind,
        at=at,
        before=before,
        late=late,
        locale=locale,
        time_zone=time_zone,
    )

    async def sent(parts: Parts) -> TestSentOut:
        found = await scene(parts, wanted)
        done = await Mails(parts.settings).send_test(parts, found, by(reason))
        return TestSentOut.of(found, done)

    show(ask(sent), _print_test, as_json=as_json)


def _open(html: str) -> None:
    import webbrowser

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".html", delete=False) as file:
        file.write(html)
    webbrowser.open(Path(file.name).as_uri())


def _print_preview(answer: PreviewOut) -> None:
    """An e-mail: its head, and its text."""
    ahead = _lead(answer.start_time - answer.at)
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


def _lead(left: timedelta) -> str:
    """How long before, without zeros: `1 d 2 h 30 min`."""
    minutes = round(left.total_seconds() / 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 min"
