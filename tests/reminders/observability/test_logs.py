"""What a process logs: one JSON object a line, ids, and nothing of a person."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import worker
from reminders.db.engine import Database
from reminders.observability import logs
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import deliver, due_reminders

PERSON = "ana.ruiz@hospital.example"


@pytest.fixture
def _configured(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Logs as a process writes them, in full detail; put back afterwards."""
    root = logging.getLogger()
    before = root.handlers, root.level
    logs.configure("json", "debug")
    yield
    root.handlers, root.level = before


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("_configured")
async def test_nothing_personal_is_logged_however_the_provider_misbehaves(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Answers that quote the address, refusals, hang-ups and bad rows: every line is JSON without it."""
    batch = {"path": "/emails/batch", "count": 1}
    quoting = f"Invalid `to`: {PERSON}"
    await provider.faults(
        {"kind": "status", "status": 500, "message": quoting, **batch},
        {"kind": "status", "status": 422, "message": quoting, **batch},
        {"kind": "status", "status": 401, "message": quoting, **batch},
        {"kind": "drop_after_accept", **batch},
    )
    people = await due_reminders(database, 3, address=lambda _: PERSON)
    broken = await due_reminders(database, 1, address=lambda _: f"{PERSON} broken")
    async with worker.delivery(settings) as pipeline:
        await deliver(pipeline, [*people, *broken])
        logging.getLogger("unexpected").error("failed", exc_info=ValueError(PERSON))
    told = lines(capsys)
    assert all({"level", "timestamp", "event", "logger"} <= line.keys() for line in told)
    assert any(line.get("exception") == "ValueError" for line in told)
    assert any("on hold" in line["event"] for line in told)
    for private in (PERSON, "hospital.example", "Ana Ruiz", settings.require_resend_api_key()):
        assert private not in json.dumps(told)


@pytest.mark.usefixtures("_configured")
def test_temporals_ids_are_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """What Temporal's loggers attach becomes workflow id, type and attempt of the line."""
    details = {"workflow_id": "session-reminder:s:u", "workflow_type": "W", "attempt": 2, "args": 1}
    logging.getLogger("temporalio.activity").warning("slow", extra={"temporal_activity": details})
    (line,) = lines(capsys)
    assert ("session-reminder:s:u", 2) == (line["workflow_id"], line["attempt"])
    assert "args" not in line
