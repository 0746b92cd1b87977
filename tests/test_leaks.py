"""The search for leaks finds them, and not what only looks like one."""

from __future__ import annotations

import logging

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.client import WorkflowHistory

from reminders.domain.errors import ReminderError
from tests.leaks import Watch, found_in, readable


@pytest.mark.parametrize(
    "text",
    [
        "could not write to ana.ruiz@hospital.example",
        '{"name": "Ana Ruiz"}',
        "Authorization: Bearer test-key",
        "key re_1234567890abcdef refused",
        "postgresql://app:hunter2@db/reminders",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ],
)
def test_a_leak_is_found(text: str) -> None:
    """Addresses, names, keys, secrets and passwords."""
    assert found_in(text)


@pytest.mark.parametrize(
    "text", ["1234@worker-host", "postgresql://db/reminders", "re_... is missing", "re_send", ""]
)
def test_what_is_harmless_is_not(text: str) -> None:
    """A worker's identity, an address of a database without a password, words of ours."""
    assert not found_in(text)


def test_it_reads_what_production_writes() -> None:
    """An error's own words are searched; a foreign error's are not written, and so no leak."""
    watch = Watch()
    for error in (ReminderError("ana@hospital.example"), ValueError("ana@hospital.example")):
        watch.handle(logging.LogRecord("x", 40, "", 1, "failed", None, (type(error), error, None)))
    assert watch.looked_at == 2
    assert len(watch.leaks) == 1


def test_it_looks_into_the_payloads_of_a_history() -> None:
    """Which are bytes, and in a history's JSON in base64."""
    payload = Payload(data='{"note":"für ana.ruiz@hospital.example"}'.encode())
    started = WorkflowExecutionStartedEventAttributes(input=Payloads(payloads=[payload]))
    event = HistoryEvent(workflow_execution_started_event_attributes=started)
    assert found_in(readable(WorkflowHistory("id", [event])))
    assert not found_in(readable(WorkflowHistory("id", [HistoryEvent(event_id=1)])))
