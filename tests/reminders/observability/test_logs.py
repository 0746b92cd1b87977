"""What a process logs: one JSON object a line, ids, and nothing of a person."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

from reminders.db.engine import Database
from reminders.observability import logs
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders

PERSON = "ana.ruiz@hospital.example"


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """What is logged in the block, as a process writes it in full detail; filled at its end."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    lines: list[dict[str, Any]] = []
    with redirect_stderr(io.StringIO()) as written:
        logs.configure("json", "debug")
        try:
            yield lines
        finally:
            root.handlers = before
            root.setLevel(level)
    lines += [json.loads(line) for line in written.getvalue().splitlines()]


async def test_nothing_personal_is_logged_however_the_provider_misbehaves(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
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
    with logged() as told:
        async with a_pipeline(settings) as pipeline:
            await deliver(pipeline, [*people, *broken])
        logging.getLogger("unexpected").error("failed", exc_info=ValueError(PERSON))
    assert all({"level", "timestamp", "event", "logger"} <= line.keys() for line in told)
    assert any(line.get("exception") == "ValueError" for line in told)
    assert any("refuse" in line["event"] for line in told)
    for private in (PERSON, "hospital.example", "Ana Ruiz", settings.require_resend_api_key()):
        assert private not in json.dumps(told)


def test_temporals_ids_are_fields() -> None:
    """What Temporal's loggers attach becomes workflow id, type and attempt of the line."""
    details = {"workflow_id": "session-reminder:s:u", "workflow_type": "W", "attempt": 2, "args": 1}
    with logged() as told:
        logger = logging.getLogger("temporalio.activity")
        logger.warning("slow", extra={"temporal_activity": details})
    (line,) = told
    assert ("session-reminder:s:u", 2) == (line["workflow_id"], line["attempt"])
    assert "args" not in line
