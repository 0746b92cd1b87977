"""The envelope: who gets the e-mail, under which subject, and what never gets into a header."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.delivery_errors import InvalidAddressError, RenderError
from reminders.domain.errors import ConfigurationError
from reminders.domain.model import DeliveryFacts
from reminders.domain.ports import Composer
from reminders.mail.addressing import DeliveryMode, deliverable_address
from reminders.mail.compose import MailComposer
from reminders.mail.render import MailRenderer, RenderedMail
from tests.reminders.mail.cases import (
    ANA,
    FULL,
    LINKED,
    LINKS,
    REMINDER_ID,
    facts,
    rule,
    short_id,
)

NOW = FULL.starts_at - timedelta(minutes=30)
RENDERER = MailRenderer()
STARTING = rule(timedelta(minutes=30), "Starting Now: {session_title} begins in 30 minutes")


def composer(
    mode: DeliveryMode = DeliveryMode.LIVE,
    *,
    test_recipient: str | None = None,
    sender: str = "Reminders <reminders@uni.example>",
    reply_to: str | None = None,
    renderer: MailRenderer = RENDERER,
) -> Composer:
    """A composer with what the test does not care about."""
    return MailComposer(
        sender=sender,
        reply_to=reply_to,
        mode=mode,
        test_recipient=test_recipient,
        renderer=renderer,
    )


def test_live_mode_writes_to_the_attendee() -> None:
    """The attendee's bare address is the only recipient, and the reminder's id travels along."""
    mail = composer(reply_to="help@uni.example").compose(facts(reminder_rule=STARTING), now=NOW)
    assert mail.to == "ana@uni.edu"
    assert mail.subject == f"Starting Soon: {FULL.title} starts in 30 minutes"
    assert mail.sender == "Reminders <reminders@uni.example>"
    assert mail.reply_to == "help@uni.example"
    assert mail.headers == (("X-Entity-Ref-ID", str(REMINDER_ID)),)
    assert mail.reminder_id == REMINDER_ID


def test_redirect_mode_writes_to_the_test_recipient_and_says_for_whom() -> None:
    """Nothing reaches the attendee, and the subject names whom it was for."""
    redirecting = composer(DeliveryMode.REDIRECT, test_recipient="me@team.example")
    mail = redirecting.compose(facts(reminder_rule=STARTING), now=NOW)
    assert mail.to == "me@team.example"
    assert mail.subject == (
        f"[Originally for: ana@uni.edu] Starting Soon: {FULL.title} starts in 30 minutes"
    )


def test_a_live_email_can_be_stopped_with_one_click() -> None:
    """Mail programs find where to post (RFC 8058), and people a link in both parts."""
    mail = composer(renderer=LINKED).compose(facts(), now=NOW)
    assert dict(mail.headers) == {
        "X-Entity-Ref-ID": str(REMINDER_ID),
        "List-Unsubscribe": f"<{LINKS.one_click_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert LINKS.stop_url in mail.text
    assert f'href="{LINKS.stop_url}"' in mail.html


def test_a_redirected_email_cannot_stop_the_attendees_reminders() -> None:
    """Neither a tester nor a scanner gets a link of the attendee's that stops anything."""
    redirecting = composer(DeliveryMode.REDIRECT, test_recipient="me@team.example", renderer=LINKED)
    mail = redirecting.compose(facts(), now=NOW)
    assert mail.headers == (("X-Entity-Ref-ID", str(REMINDER_ID)),)
    for part in (mail.text, mail.html):
        assert "/stop/" not in part
        assert "A redirected copy has none." in part


def test_a_redirected_email_that_stays_on_this_machine_is_whole() -> None:
    """Nobody but a developer reads it, who wants to try its links."""
    mail = MailComposer(
        sender="Reminders <reminders@uni.example>",
        reply_to=None,
        mode=DeliveryMode.REDIRECT,
        test_recipient="me@team.example",
        renderer=LINKED,
        stays_here=True,
    ).compose(facts(), now=NOW)
    assert mail.to == "me@team.example"
    assert dict(mail.headers)["List-Unsubscribe"] == f"<{LINKS.one_click_url}>"
    assert LINKS.stop_url in mail.text


def test_live_mode_ignores_the_test_recipient() -> None:
    """A test recipient left in the settings does not divert live e-mails."""
    mail = composer(test_recipient="me@team.example").compose(facts(), now=NOW)
    assert mail.to == "ana@uni.edu"
    assert not mail.subject.startswith("[")


@pytest.mark.parametrize("test_recipient", [None, "", "nobody", "a@b.example, c@d.example"])
def test_redirect_mode_needs_a_test_recipient(test_recipient: str | None) -> None:
    """Redirecting to nowhere is refused before the first e-mail."""
    with pytest.raises(ConfigurationError, match="test recipient"):
        composer(DeliveryMode.REDIRECT, test_recipient=test_recipient)


@pytest.mark.parametrize(
    "mailbox",
    [
        "",
        "Reminders",
        "Reminders <>",
        "a@b.example, c@d.example",
        "A <a@b.example>, B <c@d.example>",
        "A <a@b.example>\r\nBcc: c@d.example",
        "A \u202e <a@b.example>",
    ],
)
def test_a_sender_that_is_no_mailbox_is_refused(mailbox: str) -> None:
    """Sender and reply-to are checked once, when the composer is built."""
    with pytest.raises(ConfigurationError, match="sender"):
        composer(sender=mailbox)
    with pytest.raises(ConfigurationError, match="reply-to"):
        composer(reply_to=mailbox)


@pytest.mark.parametrize(
    "mailbox", ["a@b.example", "Üni 🩺👩\u200d⚕️ <a@b.example>", '"Doe, Jo" <a@b.example>']
)
def test_ordinary_senders_pass(mailbox: str) -> None:
    """Accents, emoji and quoted commas are fine in a sender's name."""
    assert composer(sender=mailbox).compose(facts(), now=NOW).sender == mailbox


@pytest.mark.parametrize(
    ("stored", "sent_to"),
    [
        ("ana@uni.edu", "ana@uni.edu"),
        ("  Ana.Sousa+cme@UNI.edu\n", "Ana.Sousa+cme@uni.edu"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("ana@bücher.example", "ana@xn--bcher-kva.example"),
        ("ana@inbox.test", "ana@inbox.test"),
        ("delivered@resend.dev", "delivered@resend.dev"),
        ("\ufeffana@uni.edu\u200b", "ana@uni.edu"),
    ],
)
def test_an_address_is_sent_to_as_the_provider_needs_it(stored: str, sent_to: str) -> None:
    """What nobody sees is forgiven, international domains are written in ASCII, tests are allowed."""
    mail = composer().compose(facts(attendee=replace(ANA, email=stored)), now=NOW)
    assert mail.to == sent_to


def test_an_address_of_this_machine_is_for_tests_alone() -> None:
    """A redirected e-mail names it; no attendee has it."""
    ana = facts(attendee=replace(ANA, email="ana@localhost"))
    redirected = composer(DeliveryMode.REDIRECT, test_recipient="me@localhost").compose(
        ana, now=NOW
    )
    assert ("me@localhost", True) == (redirected.to, "ana@localhost" in redirected.subject)
    with pytest.raises(InvalidAddressError):
        composer(DeliveryMode.LIVE).compose(ana, now=NOW)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "ana",
        "ana@",
        "@uni.edu",
        "ana@uni",
        "ana@@localhost",
        "an a@localhost",
        "ana@uni..edu",
        "Ana <ana@uni.edu>",
        "ana@uni.edu,bob@uni.edu",
        "ana@uni.edu\r\nBcc: bob@uni.edu",
        "ana\u202e@uni.edu",
        "deleted-17@users.invalid",
        "a" * 10_000 + "@uni.edu",
    ],
    ids=short_id,
)
@pytest.mark.parametrize("mode", DeliveryMode)
def test_what_is_no_address_is_refused_without_repeating_it(
    stored: str, mode: DeliveryMode
) -> None:
    """One bad address fails alone, in both modes, and is not quoted."""
    mails = composer(mode, test_recipient="me@team.example")
    with pytest.raises(InvalidAddressError) as refused:
        mails.compose(facts(attendee=replace(ANA, email=stored)), now=NOW)
    assert str(refused.value) == "The attendee's address is no e-mail address."
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@given(st.text())
def test_an_accepted_address_is_fit_for_a_header(text: str) -> None:
    """Whatever is stored, what passes as an address is one printable word with one at-sign."""
    try:
        address = deliverable_address(text)
    except InvalidAddressError:
        return
    assert address.isprintable()
    assert not set(address) & set(' ,;<>"')
    assert address.count("@") == 1


@given(st.text(st.characters()), st.text(st.characters()))
def test_no_title_breaks_out_of_the_subject(title: str, name: str) -> None:
    """Line breaks, controls and direction overrides never reach the subject, or the recipient."""
    hostile = facts(
        session=replace(FULL, title=title, speaker_name=title, location=title),
        attendee=replace(ANA, full_name=name),
        reminder_rule=rule(timedelta(minutes=30), "{session_title}{attendee_name}{location}"),
    )
    mail = composer().compose(hostile, now=NOW)
    assert mail.to == "ana@uni.edu"
    assert len(mail.subject.splitlines()) == 1
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in mail.subject)
    assert not set(mail.subject) & set(
        "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067"
    )
    assert not set(mail.subject) & set("\u2068\u2069\u2028\u2029")
    assert mail.subject.encode()


class _BrokenRenderer:
    """Fails as a template does."""

    def render(
        self, facts: DeliveryFacts, *, now: datetime, is_for_attendee: bool = True
    ) -> RenderedMail:
        """Fail."""
        raise RenderError


def test_a_reminder_without_an_attendee_cannot_be_composed() -> None:
    """A deleted person is a rendering error, not a crash."""
    with pytest.raises(RenderError):
        composer().compose(replace(facts(), attendee=None), now=NOW)


def test_a_rendering_error_passes_through() -> None:
    """The composer adds nothing to what the renderer says."""
    broken = MailComposer(
        sender="a@b.example",
        reply_to=None,
        mode=DeliveryMode.LIVE,
        test_recipient=None,
        renderer=_BrokenRenderer(),
    )
    with pytest.raises(RenderError):
        broken.compose(facts(), now=NOW)
