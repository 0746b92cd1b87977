"""Takes the pictures of `docs/email.md` anew: `python -m tests.reminders.mail.screenshots`.

Needs Chromium. Then look at them: this is what attendees see.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from playwright.async_api import Browser, ViewportSize

from reminders.mail.branding import Branding
from reminders.mail.render import MailRenderer
from tests.browser import Scheme, chromium, launched, screenshot
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


async def main() -> None:
    """Light, dark, and 360 pixels wide."""
    in_tokyo = replace(ANA, time_zone="Asia/Tokyo")
    light = mail(SOON.lead, attendee=in_tokyo, reminder_rule=SOON, renderer=RENDERER)
    dark = mail(NOW.lead, reminder_rule=NOW, renderer=RENDERER)
    moved = mail(
        TOMORROW.lead,
        attendee=replace(ANA, locale="de", time_zone="America/Los_Angeles"),
        reminder_rule=TOMORROW,
        moved_from=FULL.starts_at - timedelta(days=7),
        renderer=RENDERER,
    )
    program = chromium()
    if program is None:
        raise SystemExit("no Chromium on this machine: apt-get install chromium, or set CHROMIUM")
    async with launched(program) as browser:
        await _take(browser, light.html, "email.png")
        await _take(browser, dark.html, "email-dark.png", scheme="dark")
        await _take(browser, moved.html, "email-360.png", width=360)


async def _take(
    browser: Browser, html: str, name: str, *, width: int = 680, scheme: Scheme = "light"
) -> None:
    """A picture of a whole e-mail, at two pixels each."""
    context = await browser.new_context(
        viewport=ViewportSize(width=width, height=600), device_scale_factor=2, color_scheme=scheme
    )
    page = await context.new_page()
    await page.set_content(html)
    await screenshot(page, IMAGES / name)
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
