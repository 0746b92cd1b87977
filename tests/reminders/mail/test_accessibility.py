"""A person who cannot see, or sees little, can read the e-mail: axe in a real browser says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reminders.mail.browser import BROWSER, violations
from tests.reminders.mail.regenerate import CASES, composed

LOOKED_AT = ("en_calm", "de_moved", "en_now", "branded", "bare", "links_in_notes")
"""Between them they have every part and every colour."""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(tmp_path: Path, dark: bool) -> None:
    """No violation of any of its rules, contrast included, on light and dark screens."""
    pages = {name: composed(CASES[name]).html for name in LOOKED_AT}
    found = violations(pages, tmp_path, dark=dark)
    assert found == {name: [] for name in LOOKED_AT}


def test_axe_would_find_something(tmp_path: Path) -> None:
    """Grey on grey on a dark screen, a picture without a text, a page without a language."""
    bad = (
        "<!doctype html><html><head><title>x</title><style>@media (prefers-color-scheme: dark)"
        "{ p { color: #999; background: #aaa; } }</style></head><body>"
        '<img src="x.png"><p>Hello</p></body></html>'
    )
    (found,) = violations({"bad": bad}, tmp_path, dark=True).values()
    rules = {violation.partition(":")[0] for violation in found}
    assert {"color-contrast", "image-alt", "html-has-lang"} <= rules
