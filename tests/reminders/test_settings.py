"""What settings are refused, by the variable's name and with the remedy."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from reminders import api_keys, settings
from reminders.domain.errors import ConfigurationError
from reminders.settings import Settings

LIVE = {
    "DELIVERY_MODE": "live",
    "RESEND_API_KEY": "re_123",
    "EMAIL_FROM": "Reminders <reminders@platform.example>",
    "ADMIN_USERNAME": "maria",
}
STRONG = "9f2c41d7ab06e85390cd14f7326b8ae15d70c2f4896be03a"
"""Made by `secrets.token_hex(24)`: written down, so that every process collects the same tests."""


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """The settings of a process with these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return settings.load()


@pytest.mark.parametrize(
    "key",
    [
        "test-key",
        "changeme",
        "ChangeMe-ChangeMe-ChangeMe",
        "my-secret-password-secret",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "12345678901234567890123456789012",
        f"{STRONG},short",
    ],
)
@pytest.mark.parametrize("name", ["API_KEYS", "ADMIN_PASSWORD"])
def test_what_can_be_guessed_does_not_go_live(
    name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain key or a password that is short, monotonous or a placeholder keeps `live` from starting."""
    password = {"ADMIN_PASSWORD": STRONG} if name == "API_KEYS" else {"API_KEYS": STRONG}
    guessed = key.rpartition(",")[2] if name == "ADMIN_PASSWORD" else key
    with pytest.raises(ConfigurationError, match=f"^{name} .*(api-key|openssl)") as refused:
        loaded(monkeypatch, **LIVE, **password, **{name: guessed})
    assert guessed not in str(refused.value)


@pytest.mark.parametrize(
    "key",
    [
        STRONG,
        "c8015e7b94af2d63e1770ab95c3f8d24",
        "Ydr8alqrLLX4JjY1Ua0YxiYSWoU2vbB0",
        "0d1f0a9c-6f0e-4a4c-9a57-0f1f3c2d4b5e",
        api_keys.make("billing")[1],
        api_keys.make(read_only=True)[1],
    ],
    ids=["hex", "short-hex", "base64", "uuid", "hashed", "hashed-read-only"],
)
def test_random_and_hashed_keys_go_live(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a generator makes is good enough, and so is every hash."""
    found = loaded(monkeypatch, **LIVE, API_KEYS=key, ADMIN_PASSWORD=secrets.token_hex(12))
    assert 1 == len(found.known_api_keys())


@pytest.mark.parametrize("changes", [{"API_KEYS": "test-key"}, {"ADMIN_PASSWORD": "maria-at-home"}])
def test_development_is_not_asked_for_more(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While e-mails go to the test recipient only, a key that one can type is enough."""
    redirect = {**LIVE, "DELIVERY_MODE": "redirect", "ADMIN_PASSWORD": "maria"}
    assert "redirect" == loaded(monkeypatch, **{**redirect, **changes}).delivery_mode
