"""Pages as people meet them: a real browser, and what axe finds in it.

The system's own Chromium, driven by Playwright, which downloads nothing. `page` is a fresh visit
without cookies, and `hindrances` are what axe finds in it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE = ViewportSize(width=360, height=740)
"""The narrowest screen that is still common, in CSS pixels."""
DESK = ViewportSize(width=1280, height=800)
_TELLING = ("serious", "critical")
"""Findings that keep somebody from using the page; axe's own words."""

Scheme = Literal["light", "dark"]


def chromium() -> str | None:
    """Path of a browser on this machine; `CHROMIUM` names another one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _PROGRAMS)), None)


@asynccontextmanager
async def launched(program: str) -> AsyncIterator[Browser]:
    """A browser without a window, until the context ends."""
    # Chromium refuses its sandbox to root, which is who runs tests in a container.
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=program, args=sandbox)
        yield running
        await running.close()


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a process; skips where there is none."""
    program = chromium()
    if program is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or set CHROMIUM")
    expect.set_options(timeout=30_000)  # a machine that stands still for a while breaks no page
    async with launched(program) as browser:
        yield browser


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A visit on a desk, in light colours; see `dressed` for others."""
    context = await browser.new_context(viewport=DESK, color_scheme="light", locale="en-GB")
    page = await context.new_page()
    yield page
    await context.close()


async def dressed(page: Page, *, scheme: Scheme, screen: ViewportSize = PHONE) -> None:
    """Show the page in light or dark colours, on a screen of this size."""
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size(screen)


async def hindrances(
    page: Page, *, without: Iterable[str] = (), even_minor: bool = False
) -> Sequence[str]:
    """What axe finds that keeps people from using the page, one line each: rule and elements.

    Args:
        page: As it is shown now.
        without: Rules that do not apply to what is shown.
        even_minor: Whether what only annoys people counts as well.
    """
    rules = {rule: {"enabled": False} for rule in without}
    # What is in order axe would describe as well, element by element: most of the work on a page.
    results = await Axe().run(page, options={"rules": rules, "resultTypes": ["violations"]})
    return [
        f"{found['id']}: {[' '.join(node['target']) for node in found['nodes']]}"
        for found in results.response["violations"]
        if even_minor or found["impact"] in _TELLING
    ]


async def overflow(page: Page) -> int:
    """How far the page reaches beyond the right edge of the screen, in CSS pixels."""
    width: int = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return width


async def screenshot(page: Page, file: Path) -> None:
    """Keep a picture of the whole page, for people to look at."""
    await page.screenshot(path=file, full_page=True)
