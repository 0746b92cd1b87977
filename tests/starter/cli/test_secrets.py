"""With everything failing, no secret is shown anywhere."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.ports import free_ports
from devstack.program import foreign_environment
from reminders.settings import Settings
from tests.starter.conftest import serving

ROOT = Path(__file__).resolve().parents[3]
SECRETS = {
    "API_KEYS": "recognisable-key-T5xJq8vXw2Zr7LmT4cQ9",
    "RESEND_API_KEY": "re_recognisable_resend_key",
    "RESEND_WEBHOOK_SECRET": f"whsec_{base64.b64encode(b'recognisable webhook secret').decode()}",
    "TOKEN_SECRET": "recognisable-token-Xw9Lk2Vb8Nd5Rm3Js6Hfq7Zt4Pc",
}
PASSWORD = "recognisable-password"


def environment() -> dict[str, str]:
    """Settings with secrets, of servers that are not there."""
    postgres, temporal, provider = free_ports(3)
    return {
        **SECRETS,
        "DATABASE_URL": f"postgresql://app:{PASSWORD}@127.0.0.1:{postgres}/reminders",
        "TEMPORAL_ADDRESS": f"127.0.0.1:{temporal}",
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "RESEND_API_URL": f"http://127.0.0.1:{provider}",
        "PUBLIC_BASE_URL": "https://reminders.example.org",
        "VERIFIED_TEST_EMAIL": "inbox@example.com",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
    }


def shown_in(text: str) -> list[str]:
    """The secrets that a text shows."""
    return [secret for secret in (*SECRETS.values(), PASSWORD) if secret in text]


@pytest.mark.parametrize(
    "command",
    [
        [str(ROOT / "worker.py")],
        ["-P", "-c", "import starter.cli.main; starter.cli.main.main()", "doctor", "--json"],
        ["-P", "-c", "import starter.cli.main; starter.cli.main.main()", "sweep"],
    ],
    ids=["worker", "doctor", "sweep"],
)
async def test_no_process_says_a_secret(command: list[str], tmp_path: Path) -> None:
    """A worker that finds nothing, a doctor that finds everything wrong, a command that fails."""
    told = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *command],
        cwd=tmp_path,
        env={**foreign_environment(), **environment()},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert told.returncode != 0
    assert told.stdout + told.stderr
    assert [] == shown_in(told.stdout + told.stderr)


async def test_the_api_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither to those who may ask nor to others, nor in its log or its documentation."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert [] == shown_in(repr(settings) + str(settings.model_dump()))
    asked = {"Authorization": f"Bearer {SECRETS['API_KEYS']}"}
    with caplog.at_level(logging.DEBUG):
        async with serving(settings, headers=asked) as api:
            told = ""
            for method, path in (
                ("GET", "/v1/reminders"),
                ("POST", "/v1/enrollments"),
                ("POST", "/v1/sweeps"),
                ("POST", "/webhooks/resend"),
                ("GET", "/stop/forged"),
                ("GET", "/readyz"),
                ("GET", "/metrics"),
                ("GET", "/openapi.json"),
                ("GET", "/v1/nowhere"),
            ):
                answer = await api.request(method, path, content="{")
                told += f"{answer.text}{answer.headers}"
            wrong = await api.get("/v1/reminders", headers={"Authorization": "Bearer wrong-key"})
            told += wrong.text
    assert [] == shown_in(told + caplog.text)
    assert "wrong-key" not in wrong.text + caplog.text
