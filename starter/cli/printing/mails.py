"""E-mails to look at, and one to oneself."""

from __future__ import annotations

from datetime import timedelta

from starter.api.mails import PreviewOut, TestSentOut
from starter.cli import layout


def preview(answer: PreviewOut) -> None:
    """An e-mail: its head, and its text."""
    layout.lines(
        reminder=answer.reminder_type,
        at=f"{layout.shown(answer.at)} UTC, {_lead(answer.start_time - answer.at)} before the start",
        sender=answer.sender,
        subject=answer.subject,
        **dict(answer.headers),
    )
    layout.sentence("")
    for line in answer.text.splitlines():
        layout.sentence(line)


def test_sent(answer: TestSentOut) -> None:
    """What was sent to the test recipient."""
    layout.lines(
        sent=f"{answer.reminder_type}, as at {layout.shown(answer.at)} UTC, to VERIFIED_TEST_EMAIL",
        provider=answer.resend_email_id,
        audit=f"entry {answer.event_id}",
    )


def _lead(left: timedelta) -> str:
    """How long before, without zeros: `1 d 2 h 30 min`."""
    minutes = round(left.total_seconds() / 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 min"
