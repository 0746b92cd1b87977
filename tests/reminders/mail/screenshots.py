"""Takes the pictures of `docs/email.md` anew: `python -m tests.reminders.mail.screenshots`.

Needs Chromium. Then look at them: this is what attendees see.
"""

from __future__ import annotations

import html
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from reminders.mail.branding import Branding
from reminders.mail.render import MailRenderer
from tests.reminders.mail.browser import screenshot
from tests.reminders.mail.cases import ANA, FULL, FixedLinks, mail
from tests.reminders.mail.regenerate import NOW, SOON, TOMORROW

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"

RENDERER = MailRenderer(
    links=FixedLinks(),
    brand=Branding(
        product_name="Faculty of Medicine",
        postal_address="Faculty of Medicine, Av. Prof. Egas Moniz, 1649-028 Lisbon, Portugal",
    ),
)
_PHONE = """<!doctype html><body style="margin:0;background:#c9c8c3;text-align:center">
<iframe width="360" height="{height}" style="margin:30px;border:0;border-radius:24px" srcdoc="{page}">
"""


def main() -> None:
    """Light, dark, and 360 pixels wide."""
    in_tokyo = replace(ANA, time_zone="Asia/Tokyo")
    light = mail(SOON.lead, attendee=in_tokyo, reminder_rule=SOON, renderer=RENDERER)
    _take(light.html, "email.png", width=680, height=1085)
    dark = mail(NOW.lead, reminder_rule=NOW, renderer=RENDERER)
    _take(dark.html, "email-dark.png", width=680, height=1050, dark=True)
    moved = mail(
        TOMORROW.lead,
        attendee=replace(ANA, locale="de", time_zone="America/Los_Angeles"),
        reminder_rule=TOMORROW,
        moved_from=FULL.starts_at - timedelta(days=7),
        renderer=RENDERER,
    )
    phone = _PHONE.format(height=1290, page=html.escape(moved.html))
    _take(phone, "email-360.png", width=500, height=1350)


def _take(page: str, name: str, *, width: int, height: int, dark: bool = False) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        file.write_text(page, encoding="utf-8")
        screenshot(file, IMAGES / name, width=width, height=height, dark=dark)


if __name__ == "__main__":
    main()
