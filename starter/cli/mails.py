"""E-mails to look at, and one to oneself."""

from __future__ import annotations

import tempfile
import webbrowser
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from reminders.settings import Duration
from starter.api.fields import Instant, LocaleName, ZoneName
from starter.api.mails import PreviewOut, TestSentOut
from starter.assembly import Parts
from starter.cli.options import ACTOR, AsJson, Reason, parsed, show
from starter.cli.printing import mails as printing
from starter.cli.running import ask

if TYPE_CHECKING:  # it brings the templates along, which the other commands start without
    from starter.services.mails import Wanted

app = typer.Typer()

_duration = parsed(Duration)

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
    typer.Option(parser=parsed(Instant), metavar="INSTANT", help="As sent at this instant."),
]
_Before = Annotated[
    timedelta | None,
    typer.Option(parser=_duration, metavar="DURATION", help="As sent so long before: 25h, 10m."),
]
_Late = Annotated[
    timedelta | None,
    typer.Option(parser=_duration, metavar="DURATION", help="As late by so much: 3m."),
]
_Locale = Annotated[
    str | None,
    typer.Option(parser=parsed(LocaleName), metavar="LOCALE", help="Of the sample attendee."),
]
_Zone = Annotated[
    str | None,
    typer.Option(
        "--time-zone", parser=parsed(ZoneName), metavar="ZONE", help="Of the sample attendee."
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
    wanted = _wanted(
        session=session,
        user=user,
        kind=kind,
        at=at,
        before=before,
        late=late,
        locale=locale,
        time_zone=time_zone,
    )

    async def composed(parts: Parts) -> PreviewOut:
        from starter.services.mails import Mails, scene  # noqa: PLC0415

        found = await scene(parts, wanted)
        return PreviewOut.of(found, Mails(parts.settings).preview(found), session)

    made = ask(composed)
    if in_browser:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".html", delete=False) as f:
            f.write(made.html)
        webbrowser.open(Path(f.name).as_uri())
    if html is not None and str(html) != "-":
        try:
            html.write_text(made.html, encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{html}: {error.strerror}", param_hint="--html") from None
    elif html is not None:
        print(made.html)  # noqa: T201 - what was asked for
        return
    if text:
        print(made.text)  # noqa: T201 - what was asked for
        return
    show(made, printing.preview, as_json=as_json)


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
    wanted = _wanted(
        session=session,
        user=user,
        kind=kind,
        at=at,
        before=before,
        late=late,
        locale=locale,
        time_zone=time_zone,
    )

    async def sent(parts: Parts) -> TestSentOut:
        from starter.services.mails import Mails, scene  # noqa: PLC0415

        found = await scene(parts, wanted)
        done = await Mails(parts.settings).send_test(parts, found, actor=ACTOR, reason=reason)
        return TestSentOut.of(found, done)

    show(ask(sent), printing.test_sent, as_json=as_json)


def _wanted(
    *,
    session: UUID | None,
    user: UUID | None,
    kind: str | None,
    at: datetime | None,
    before: timedelta | None,
    late: timedelta | None,
    locale: str | None,
    time_zone: str | None,
) -> Wanted:
    from starter.services.mails import Wanted  # noqa: PLC0415

    return Wanted(
        session_id=session,
        user_id=user,
        reminder_type=kind,
        at=at,
        before=before,
        late=late,
        locale=locale,
        time_zone=time_zone,
    )
