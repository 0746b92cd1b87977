"""Workflows that went to sleep under any past release go on under this one.

`histories/` holds a history for each state that a workflow can be in, from each release that
changed its commands. They are never edited: a failure here means that running workflows would
break. Gate the change with `workflow.patched()`; see CONTRIBUTING, *change a workflow safely*.
"""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.workflows.strict import StrictPlugin

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_a_recorded_history_replays(file: Path) -> None:
    """The present code takes the same decisions as the code that made this history."""
    history = WorkflowHistory.from_json(file.stem, await asyncio.to_thread(file.read_text))
    await Replayer(workflows=[], plugins=[StrictPlugin()]).replay_workflow(history)


def test_every_state_of_a_workflow_is_recorded() -> None:
    """A release that adds a state adds its history."""
    recorded = {file.stem.partition("-")[2] for file in HISTORIES}
    assert recorded >= {
        "asleep", "cancelled-asleep", "cancelled-in-flight", "expired", "failed", "finished",
        "late-sign-up", "lead-in-cancelled", "lead-in-finished", "lead-in-waiting", "moved",
        "moved-unannounced", "nothing-to-send", "overtaken-early", "overtaken-failing", "retrying",
        "session-change-again", "session-change-cancelled", "session-change-done",
        "session-change-outlived", "session-change-under-way", "sweep-nothing", "sweep-repairs",
    }  # fmt: skip


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
def test_no_history_holds_personal_data(file: Path) -> None:
    """Neither addresses nor names cross to Temporal."""
    text = file.read_text()
    assert [] == re.findall(r"[\w.+-]+@[\w-]+\.\w+", text)  # a worker's identity is pid@host
    for payload in re.findall(r'"data": "([\w+/=]+)"', text):
        text += base64.b64decode(payload).decode()
    assert "hospital.example" not in text
    assert "Ruiz" not in text
