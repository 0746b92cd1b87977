"""A preview is what is sent: the same composer, to the byte."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reminders.domain.delivery_errors import InvalidAddressError, RenderError
from reminders.domain.errors import InvalidInputError, NaiveInstantError
from reminders.mail.addressing import DeliveryMode
from reminders.mail.compose import MailComposer
from reminders.mail.resend_wire import encoded
from reminders.mail.samples import preview
from tests.reminders.mail.cases import ANA, FULL, LINKED, LINKS, REMINDER_ID, facts, rule

COMPOSER = MailComposer(
    sender="Reminders <reminders@uni.example>",
    reply_to=None,
    mode=DeliveryMode.LIVE,
    test_recipient=None,
    renderer=LINKED,
)
SOON = rule(timedelta(hours=2), "Starting Soon: {session_title} in 2 hours")
DUE = FULL.starts_at - SOON.lead


def test_a_preview_is_the_request_that_would_be_posted() -> None:
    """Same facts, same instant: same bytes (pretix PR#3223)."""
    last_week = FULL.starts_at - timedelta(days=7)
    sent = COMPOSER.compose(facts(reminder_rule=SOON, moved_from=last_week), now=DUE)
    shown = preview(
        COMPOSER,
        session=FULL,
        rule=SOON,
        at=DUE,
        attendee=ANA,
        moved_from=last_week,
        reminder_id=REMINDER_ID,
    )
    assert encoded([shown]) == encoded([sent])
    assert ("List-Unsubscribe", f"<{LINKS.one_click_url}>") in shown.headers


def test_a_sample_attendee_has_any_language_and_zone() -> None:
    """To look at what people abroad get, without knowing any."""
    shown = preview(
        COMPOSER, session=FULL, rule=SOON, at=DUE, locale="de-CH", time_zone="Asia/Kolkata"
    )
    assert shown.to == "sample.attendee@example.com"
    assert "Guten Tag Sample Attendee," in shown.text
    assert "20:30\N{EN DASH}22:00" in shown.text
    assert "Ortszeit Kalkutta (UTC+5:30)" in shown.text or "Ortszeit Kolkata" in shown.text


@pytest.mark.parametrize(
    ("at", "subject"),
    [
        (DUE, f"Starting Soon: {FULL.title} in 2 hours"),
        (DUE + timedelta(minutes=3), f"Starting Soon: {FULL.title} in 2 hours"),
        (DUE + timedelta(minutes=8), f"Starting Soon: {FULL.title} starts in 1 hour 52 minutes"),
        (FULL.starts_at - timedelta(hours=25), f"Reminder: {FULL.title} starts tomorrow at 15:00"),
        (FULL.starts_at, f"Starting Now: {FULL.title} begins now"),
    ],
)
def test_a_preview_is_of_any_moment(at: datetime, subject: str) -> None:
    """On time, late, or a day early: it says what would be true then."""
    shown = preview(COMPOSER, session=FULL, rule=SOON, at=at, attendee=ANA)
    assert shown.subject == subject


def test_a_preview_fails_as_the_sending_would() -> None:
    """A bad address or subject is seen beforehand."""
    nobody = replace(ANA, email="nobody")
    with pytest.raises(InvalidAddressError):
        preview(COMPOSER, session=FULL, rule=SOON, at=DUE, attendee=nobody)
    with pytest.raises(RenderError):
        preview(COMPOSER, session=FULL, rule=rule(SOON.lead, "{nonsense}"), at=DUE)


def test_what_cannot_be_previewed_is_said() -> None:
    """The field is named, with the remedy."""
    ask = {"session": FULL, "rule": SOON}
    with pytest.raises(InvalidInputError, match="choose one before 2026-12-01T15:00:00") as late:
        preview(COMPOSER, **ask, at=FULL.starts_at + timedelta(seconds=1))  # type: ignore[arg-type]
    assert late.value.field == "at"
    with pytest.raises(NaiveInstantError, match="at has no UTC offset"):
        preview(COMPOSER, **ask, at=DUE.replace(tzinfo=None))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="sample attendee") as both:
        preview(COMPOSER, **ask, at=DUE, attendee=ANA, time_zone="Asia/Tokyo")  # type: ignore[arg-type]
    assert both.value.field == "time_zone"


def test_instants_of_any_zone_are_the_same_preview() -> None:
    """An `at` with another offset is the same moment."""
    in_tokyo = DUE.astimezone(ZoneInfo("Asia/Tokyo"))
    one, other = (preview(COMPOSER, session=FULL, rule=SOON, at=at) for at in (DUE, in_tokyo))
    assert encoded([one]) == encoded([other])
