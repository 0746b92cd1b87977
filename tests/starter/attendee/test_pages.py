"""The attendees' pages: every text in every language, and settings that links need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po
from jinja2 import Environment
from jinja2.ext import extract_from_ast

from reminders.domain.errors import ConfigurationError
from reminders.settings import Settings, load
from starter.attendee import pages
from starter.services.mails import attendee_links
from tests.builders import USER, a_session

ROOT = Path(pages.__file__).parent
GOOD = "of-the-tests-only-0123456789-abcdefghij"
URL = "https://reminders.example"


def texts() -> set[str]:
    """Every text of the templates, as it is in English."""
    found = set()
    for template in (ROOT / "templates").glob("*.html"):
        parsed = Environment(autoescape=True).parse(template.read_text(encoding="utf-8"))
        found |= {str(text) for _, _, text in extract_from_ast(parsed, ["_"])}
    return found


@pytest.mark.parametrize("language", ["de", "es", "fr"])
def test_every_text_is_translated(language: str) -> None:
    """None is missing, empty, a guess, or left over."""
    path = ROOT / "locale" / language / "LC_MESSAGES" / "attendee.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=language, abort_invalid=True)
    translated = {m.id for m in catalogue if m.id and m.string and not m.fuzzy}
    assert texts() == translated


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PUBLIC_BASE_URL": URL}, "TOKEN_SECRET is not"),
        ({"TOKEN_SECRET": GOOD}, "PUBLIC_BASE_URL is not"),
        ({"PUBLIC_BASE_URL": URL, "TOKEN_SECRET": "short"}, "TOKEN_SECRET is too weak"),
        ({"PUBLIC_BASE_URL": URL, "TOKEN_SECRET": "a" * 64}, "TOKEN_SECRET is too weak"),
        ({"PUBLIC_BASE_URL": URL, "TOKEN_SECRET": f"{GOOD},old"}, "TOKEN_SECRET is too weak"),
        ({"PUBLIC_BASE_URL": "reminders.example", "TOKEN_SECRET": GOOD}, "PUBLIC_BASE_URL is no"),
        ({"PUBLIC_BASE_URL": f"{URL}?a=b", "TOKEN_SECRET": GOOD}, "PUBLIC_BASE_URL is no"),
        (
            {
                "PUBLIC_BASE_URL": "http://reminders.example",
                "TOKEN_SECRET": GOOD,
                "DELIVERY_MODE": "live",
                "RESEND_API_KEY": "re_1",
                "EMAIL_FROM": "r@example.org",
            },
            "PUBLIC_BASE_URL must begin with https://",
        ),
    ],
)
def test_links_that_would_not_work_are_refused(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a configuration, a weak secret, no address, or an open one: named when we start."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert said in str(refused.value)
    assert environment.get("TOKEN_SECRET", "none") not in str(refused.value)


@pytest.mark.parametrize("resend", ["http://127.0.0.1:8025", "https://api.resend.com"])
def test_links_without_tls_are_for_what_stays_on_this_machine(
    resend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in's e-mails are read where they are sent; anybody else's readers are elsewhere."""
    for name, value in {
        "PUBLIC_BASE_URL": "http://127.0.0.1:8000",
        "TOKEN_SECRET": GOOD,
        "DELIVERY_MODE": "live",
        "RESEND_API_URL": resend,
        "RESEND_API_KEY": "re_1",
        "EMAIL_FROM": "r@example.org",
    }.items():
        monkeypatch.setenv(name, value)
    if resend.startswith("https"):
        with pytest.raises(ConfigurationError, match="must begin with https"):
            load()
    else:
        load()


def test_worker_and_api_agree_on_links() -> None:
    """Without the settings there are no links; with them, the worker's open what the API serves."""
    values: dict[str, Any] = {"public_base_url": URL, "token_secret": GOOD}
    assert attendee_links(Settings()) is None
    maker = attendee_links(Settings(**values))
    assert maker is not None
    made = maker.links(a_session(), USER)
    assert made.stop_url.startswith(f"{URL}/stop/")
    assert made.ics_url.startswith(f"{URL}/calendar/")
