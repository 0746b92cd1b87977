"""Text that other people typed stays text: it never becomes markup, a header, or a clipped mail."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.model import Session
from reminders.mail.branding import Branding
from reminders.mail.links import AttendeeLinks
from reminders.mail.render import MailRenderer, RenderedMail
from tests.reminders.mail.cases import ANA, FULL, mail
from tests.reminders.mail.outline import Outline

HOSTILE = [
    "</td></tr></table><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)> ' & &amp; <!-- ",
    "{{ 7*7 }}{% raw %}{session_title}",
    "a\r\nBcc: everyone@uni.edu\r\n\r\n<h1>b</h1>",
    "\u202egniteem\u202c\u2066x\u2069",
    "👩\u200d⚕️ 🇵🇹 اجتماع الفريق ประชุม",
    "\x00\x1b[31m\ud800 \ufeff",
    "<" * 10_000,
    "🩺" * 10_000,
    "word" * 2_500,
]


BENIGN = Outline(mail().html).found


def _hostile(text: str) -> RenderedMail:
    """An e-mail with this text wherever other people may write."""
    session = replace(
        FULL,
        title=text,
        speaker_name=f"x{text}",
        location=f"x{text}",
        preparation_notes=f"x{text}",
        join_url="https://x.example/" + re.sub(r"[\W\ud800-\udfff]", "", text) + '"><b>',
    )
    return mail(
        session=session, attendee=replace(ANA, full_name=text, time_zone=f"x{text}", locale=text)
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_text(text: str) -> None:
    """No title, name, note or link changes the structure of the e-mail, or gets it clipped."""
    rendered_mail = _hostile(text)
    outline = Outline(rendered_mail.html).found
    if len(text) < 2_000:  # longer links are no links
        assert outline == BENIGN
    assert "script" not in [item[0] for item in outline if isinstance(item, tuple)]
    assert len(rendered_mail.html.encode()) < 102 * 1024
    assert len(rendered_mail.subject) <= 300


@given(st.text(st.characters(), max_size=300))
def test_any_text_stays_text(text: str) -> None:
    """Whatever Unicode can hold leaves tags and attributes as they are, and encodes."""
    rendered_mail = _hostile(text)
    assert Outline(rendered_mail.html).found == BENIGN
    assert rendered_mail.html.encode()
    assert rendered_mail.text.encode()
    assert len(rendered_mail.subject.splitlines()) == 1


def test_the_longest_email_of_all_is_not_clipped() -> None:
    """Everything at its longest, in the longest language, with all links: below 102 KB."""
    longest = "&" * 9_000
    url = "https://uni.example/?" + "&" * 2_000
    of_ours = "https://uni.example/?" + "a=1&" * 300
    links = " ".join(f"https://uni.example/{'&' * 280}{n}" for n in range(100))
    session = replace(FULL, title=longest, speaker_name=longest, location=longest, join_url=url)
    calendars = AttendeeLinks(
        google_url=of_ours,
        outlook_url=of_ours,
        outlook_work_url=of_ours,
        webcal_url=of_ours,
        ics_url=of_ours,
        stop_url=of_ours,
        one_click_url=of_ours,
    )

    class LongLinks:
        """Links as long as they may get."""

        def links(self, session: Session, user_id: UUID) -> AttendeeLinks:
            """The links."""
            return calendars

    renderer = MailRenderer(
        links=LongLinks(),
        brand=Branding(product_name="&" * 200, postal_address="&" * 300, logo_url=of_ours),
    )
    attendee = replace(ANA, full_name=longest, locale="de", time_zone="America/Los_Angeles")
    for notes in (longest * 2, links, "a https://u.example/&" * 500):
        rendered_mail = mail(
            session=replace(session, preparation_notes=notes),
            attendee=attendee,
            moved_from=FULL.starts_at - timedelta(days=7),
            renderer=renderer,
        )
        assert len(rendered_mail.html.encode()) < 102 * 1024


def test_a_wall_of_notes_is_not_clipped_by_mail_programs() -> None:
    """The worst notes, escaped, still fit below 102 KB; what is left out ends in an ellipsis."""
    for notes in ("'" * 50_000, "'\n" * 25_000, "🩺" * 50_000):
        rendered_mail = mail(session=replace(FULL, preparation_notes=notes, title="'" * 9_000))
        assert len(rendered_mail.html.encode()) < 102 * 1024
        assert "…" in rendered_mail.html
