"""Writes the golden mails anew: `python -m tests.reminders.mail.regenerate`.

Then read the difference: it is what attendees will see change.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from reminders.mail.render import MailRenderer
from reminders.model import DeliveryFacts
from tests.reminders.mail.cases import ANA, BARE, facts, rule

GOLDEN = Path(__file__).parent / "golden"

_TOMORROW = rule(timedelta(hours=24), "Reminder: {session_title} starts tomorrow")
_SOON = rule(timedelta(hours=2), "Starting Soon: {session_title} in 2 hours")
_NOW = rule(timedelta(minutes=30), "Starting Now: {session_title} begins in 30 minutes")
_IN_TOKYO = replace(ANA, time_zone="Asia/Tokyo")
_NAMELESS = replace(ANA, full_name=None, time_zone=None)

CASES: dict[str, tuple[DeliveryFacts, timedelta]] = {
    "calm_full": (facts(reminder_rule=_TOMORROW), timedelta(hours=24)),
    "calm_bare_tokyo": (
        facts(session=BARE, attendee=_IN_TOKYO, reminder_rule=_TOMORROW),
        timedelta(hours=24),
    ),
    "soon_full_tokyo": (facts(attendee=_IN_TOKYO, reminder_rule=_SOON), timedelta(hours=2)),
    "soon_bare": (facts(session=BARE, reminder_rule=_SOON), timedelta(hours=2)),
    "soon_full_late": (facts(reminder_rule=_SOON), timedelta(hours=1, minutes=5)),
    "now_full": (facts(reminder_rule=_NOW), timedelta(minutes=30)),
    "now_bare_nameless": (
        facts(session=BARE, attendee=_NAMELESS, reminder_rule=_NOW),
        timedelta(minutes=30),
    ),
    "now_note_instead_of_link": (
        facts(session=replace(BARE, join_url="Ring the bell twice"), reminder_rule=_NOW),
        timedelta(seconds=40),
    ),
}
"""Facts and time left, by the name of the golden files."""


def rendered(case: str) -> dict[str, str]:
    """The golden files of a case: name and content."""
    delivery, left = CASES[case]
    if delivery.session is None:  # no case is without one
        raise LookupError(case)
    mail = MailRenderer().render(delivery, now=delivery.session.starts_at - left)
    return {f"{case}.txt": f"Subject: {mail.subject}\n\n{mail.text}", f"{case}.html": mail.html}


def main() -> None:
    """Replace all golden mails."""
    GOLDEN.mkdir(exist_ok=True)
    for stale in GOLDEN.iterdir():
        stale.unlink()
    for case in CASES:
        for name, content in rendered(case).items():
            (GOLDEN / name).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
