"""A link of one's own: in the attendee's e-mail, and in nothing that anybody else gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import unquote

from reminders.mail.links import SignedLinks
from reminders.mail.render import MailRenderer, RenderedMail
from reminders.mail.samples import LINKS, OWN_JOIN_URL
from reminders.tokens import Tokens
from starter.api.enrollments import EnrolleeBody
from tests.reminders.mail.cases import FULL, USER_ID, facts

SECRET = "https://zoom.us/w/91234567?tk=DQgAAAAA-secret"
RENDERER = MailRenderer(links=SignedLinks("https://r.example", Tokens(["x" * 40])))


def rendered(*, is_for_attendee: bool, own: str | None = SECRET) -> RenderedMail:
    """An e-mail two hours before."""
    about = replace(facts(), own_join_url=own)
    now = FULL.starts_at - timedelta(hours=2)
    return RENDERER.render(about, now=now, is_for_attendee=is_for_attendee)


def test_it_takes_the_place_of_the_sessions() -> None:
    """On the button, in both parts, and in the calendars."""
    mail = rendered(is_for_attendee=True)
    assert f"Join:\n  {SECRET}\n" in mail.text
    assert f'href="{SECRET}"' in mail.html
    assert str(FULL.join_url) not in unquote(mail.text + mail.html)
    assert mail.links is not None
    assert SECRET in unquote(mail.links.google_url)


def test_a_redirected_copy_has_another_link_in_its_place() -> None:
    """Nor does the calendar's file, which follows the attendee's own, lead there."""
    mail = rendered(is_for_attendee=False)
    everything = unquote(mail.text + mail.html + str(mail.links))
    assert "secret" not in everything
    assert "91234567" not in everything
    assert OWN_JOIN_URL in mail.text
    assert LINKS.ics_url in mail.text
    without = rendered(is_for_attendee=False, own=None)
    assert str(FULL.join_url) in without.text
    assert "https://r.example/calendar/" in without.text


def test_nothing_prints_it_by_accident() -> None:
    """What a traceback or a log shows of the facts, and of who is enrolled, says nothing of it."""
    body = EnrolleeBody(user_id=USER_ID, join_url=SECRET)
    for about in (replace(facts(), own_join_url=SECRET), body, body.enrollee()):
        assert "secret" not in repr(about)
