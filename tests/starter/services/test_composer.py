"""From settings to e-mails: what an operator sets is what attendees see, and what previews show."""

from __future__ import annotations

from pathlib import Path

import pytest

from reminders.domain.errors import ConfigurationError
from reminders.domain.model import Message
from reminders.mail.samples import RULE, SESSION, preview
from reminders.settings import load
from starter.services.mails import mail_composer


def previewed(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Message:
    """The sample e-mail of a process with these variables."""
    variables = {"VERIFIED_TEST_EMAIL": "me@team.example", **variables}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    composer = mail_composer(load())
    return preview(composer, session=SESSION, rule=RULE, at=SESSION.starts_at - RULE.lead)


def test_the_brand_is_set_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Name, logo, colour, address, language and templates reach the e-mail."""
    (tmp_path / "_base").mkdir()
    (tmp_path / "_base" / "layout.txt").write_text("{% block content %}{% endblock %}\nBye.\n")
    mail = previewed(
        monkeypatch,
        EMAIL_PRODUCT_NAME="Faculty of Medicine",
        EMAIL_LOGO_URL="https://uni.example/logo.png",
        EMAIL_COLOR="#5b2a86",
        EMAIL_POSTAL_ADDRESS="1649-028 Lisbon",
        EMAIL_LOCALE="de-AT",
        EMAIL_TEMPLATES_DIR=str(tmp_path),
    )
    for shown in ("Faculty of Medicine", "logo.png", "#5b2a86", "1649-028 Lisbon", 'lang="de-AT"'):
        assert shown in mail.html
    assert mail.text.startswith("BEGINNT BALD")
    assert mail.text.endswith("\nBye.\n")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("EMAIL_COLOR", "red", "EMAIL_COLOR: String should match pattern"),
        ("EMAIL_COLOR", "#ffcc00", "EMAIL_COLOR is '#ffcc00'"),
        ("EMAIL_LOCALE", "tlh", "EMAIL_LOCALE is 'tlh'"),
        ("EMAIL_LOGO_URL", "https://uni.example/logo.png", "EMAIL_LOGO_URL needs EMAIL_PRODUCT"),
        ("EMAIL_TEMPLATES_DIR", "/nowhere/at/all", "EMAIL_TEMPLATES_DIR does not exist"),
        ("EMAIL_PRODUCT_NAME", "Uni\nBcc: x", "EMAIL_PRODUCT_NAME must be one line"),
        ("VERIFIED_TEST_EMAIL", "", "VERIFIED_TEST_EMAIL is not set"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    """Before the first e-mail, in one line."""
    with pytest.raises(ConfigurationError, match=problem):
        previewed(monkeypatch, **{name: value})
