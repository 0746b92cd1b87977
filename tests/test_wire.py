"""Everything that crosses between API, workflows and activities is frozen in `wire.json`.

Workflows sleep for weeks: what an old release wrote, this one reads, and what this one writes, a
worker of the release before may have to read. `python -m tests.test_wire` freezes what is meant.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload

from activities import failures
from activities.delivery import DeliveryActivities
from activities.session_change import SessionChangeActivities
from activities.sweep import SweepActivities
from reminders.domain import contracts, delivery_errors, errors, keys
from reminders.domain.contracts import DeliveryOutcome, PlannedReminder
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.temporal import SEARCH_ATTRIBUTES
from workflows import session_reminder
from workflows.plugin import data_converter
from workflows.reminder_sweep import ReminderSweepWorkflow
from workflows.session_change import SessionChangeWorkflow
from workflows.session_reminder import SessionReminderWorkflow

FROZEN = Path(__file__).with_name("wire.json")
SESSION = UUID("5e551000-0000-4000-8000-000000000001")
USER = UUID("a77e0000-0000-4000-8000-000000000001")
LESSON = """\
{part} is not as frozen in tests/wire.json. Workflows in flight hold the old form, and workers of
both releases run side by side during a deploy.

- A new field, status, reason, error or handler: fine if it has a default (a field), and if every
  worker knows it before anything writes it (a status or a reason). Say it in the changelog under
  *Replay*, then freeze it: `python -m tests.test_wire`, and read the difference.
- A field, name or value that is renamed, removed, or means something else: not this way. Leave the
  old one, add a new one.
"""


def schema(kind: type) -> Any:
    """The JSON schema of a payload, without the words that are for people."""
    return _without_words(TypeAdapter(kind).json_schema())


def _without_words(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_words(item) for item in node]
    if not isinstance(node, dict):
        return node
    words = ("title", "description")
    return {
        key: _without_words(value)
        for key, value in node.items()
        if not (key in words and isinstance(value, str))
    }


def payloads() -> dict[str, type]:
    """Every dataclass of `reminders.domain.contracts`."""
    return {
        name: kind
        for name, kind in inspect.getmembers(contracts, dataclasses.is_dataclass)
        if isinstance(kind, type)
    }


def activity_names() -> Iterator[str]:
    """What the worker registers."""
    for concern in (DeliveryActivities, SessionChangeActivities, SweepActivities):
        for _, method in inspect.getmembers(concern, inspect.isfunction):
            if (definition := activity._Definition.from_callable(method)) is not None:
                yield definition.name or ""


def crossing_errors() -> dict[str, dict[str, bool]]:
    """Class names are wire names; whether an error is retried is part of what it means."""
    return {
        name: {"retried": kind.retryable, "expected": issubclass(kind, failures._EXPECTED)}
        for module in (errors, delivery_errors)
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, errors.ReminderError)
    }


def present() -> dict[str, Any]:
    """The wire as the code has it."""
    defined = workflow._Definition.must_from_class(SessionReminderWorkflow)
    change = workflow._Definition.must_from_class(SessionChangeWorkflow)
    return {
        "task queue": keys.TASK_QUEUE,
        "workflow": {
            "type": defined.name,
            "id": keys.session_reminder_workflow_id(SESSION, USER),
            "queries": sorted(name for name in defined.queries if name),
            "signals": sorted(name for name in defined.signals if name),
            "updates": sorted(name for name in defined.updates if name),
        },
        "session change": {
            "type": change.name,
            "id": keys.session_change_workflow_id(SESSION),
            "signals": sorted(name for name in change.signals if name),
        },
        "sweep": {
            "type": workflow._Definition.must_from_class(ReminderSweepWorkflow).name,
            "schedule": keys.SWEEP_ID,
        },
        "ledger row": str(keys.reminder_id(SESSION, USER, "24h", 1)),
        "activities": sorted(activity_names()),
        "search attributes": {k.name: k.indexed_value_type.name for k in SEARCH_ATTRIBUTES},
        "statuses": [str(status) for status in ReminderStatus],
        "reasons": sorted(str(reason) for reason in StatusReason),
        "errors": crossing_errors(),
        "payloads": {name: schema(kind) for name, kind in payloads().items()},
    }


def frozen() -> dict[str, Any]:
    """The wire as it was last decided."""
    content: dict[str, Any] = json.loads(FROZEN.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("part", list(present()))
def test_the_wire_is_as_frozen(part: str) -> None:
    """Names, values and schemas are those that running workflows rely on."""
    assert frozen().get(part) == present()[part], LESSON.format(part=part.capitalize())


def test_nothing_frozen_is_forgotten() -> None:
    """`wire.json` has no part that is no longer compared."""
    assert list(frozen()) == list(present())


@pytest.mark.parametrize("kind", payloads().values(), ids=lambda kind: kind.__name__)
def test_payloads_are_frozen_and_named(kind: type) -> None:
    """Each is immutable and takes keywords only, so that fields can be added."""
    parameters = inspect.signature(kind).parameters.values()
    assert {inspect.Parameter.KEYWORD_ONLY} == {p.kind for p in parameters}
    assert getattr(kind, "__dataclass_params__").frozen  # noqa: B009 - private to dataclasses


def test_what_is_absent_is_the_default() -> None:
    """A payload reads the same whether a field says nothing or is not there."""
    due_at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    reminder = PlannedReminder(
        reminder_type="24h", generation=1, due_at=due_at, status=ReminderStatus.SCHEDULED
    )
    written = (
        '{"reminder_type":"24h","generation":1,"due_at":"2026-11-23T09:00:00Z","status":"scheduled"'
    )
    for text in (written + "}", written + ',"reason":null}'):
        payload = Payload(metadata={"encoding": b"json/plain"}, data=text.encode())
        assert [reminder] == data_converter.payload_converter.from_payloads(
            [payload], [PlannedReminder]
        )


def test_a_payload_from_a_newer_release_is_read() -> None:
    """Fields that this release does not know are left aside."""
    payload = Payload(
        metadata={"encoding": b"json/plain"}, data=b'{"status":"sent","of_tomorrow":[1,2]}'
    )
    outcome = DeliveryOutcome(status=ReminderStatus.SENT)
    converted = data_converter.payload_converter.from_payloads([payload], [DeliveryOutcome])
    assert [outcome] == converted


def test_the_errors_that_a_workflow_knows_exist() -> None:
    """The class names that the workflow matches on are names of our errors."""
    assert set(session_reminder._REASONS) <= set(crossing_errors())


if __name__ == "__main__":
    FROZEN.write_text(json.dumps(present(), indent=1) + "\n", encoding="utf-8")
