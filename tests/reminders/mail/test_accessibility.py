"""A person who cannot see, or sees little, can read the e-mail: axe in a real browser says so."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.browser import Scheme, dressed, hindrances
from tests.reminders.mail.regenerate import CASES, composed

LOOKED_AT = ("en_calm", "de_moved", "en_now", "branded", "bare", "links_in_notes")
"""Between them they have every part and every colour."""
OF_WHOLE_PAGES = ("landmark-one-main", "region")
"""An e-mail is an article in the page of a mail program, which has landmarks of its own."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(page: Page, scheme: Scheme) -> None:
    """No violation of any of its rules, contrast included, on light and dark screens."""
    await dressed(page, scheme=scheme)
    for name in LOOKED_AT:
        await page.set_content(composed(CASES[name]).html)
        assert [] == await hindrances(page, without=OF_WHOLE_PAGES, even_minor=True), name


async def test_axe_would_find_something(page: Page) -> None:
    """Grey on grey on a dark screen, a picture without a text, a page without a language."""
    await dressed(page, scheme="dark")
    await page.set_content(
        "<!doctype html><html><head><title>x</title><style>@media (prefers-color-scheme: dark)"
        "{ p { color: #999; background: #aaa; } }</style></head><body>"
        '<img src="data:,"><p>Hello</p></body></html>'
    )
    found = {line.partition(":")[0] for line in await hindrances(page)}
    assert {"color-contrast", "image-alt", "html-has-lang"} <= found
