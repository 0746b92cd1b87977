"""What one enrollment costs Temporal, and what it tells people."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.json_format import MessageToJson
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus

from reminders.domain.keys import session_change_workflow_id
from reminders.temporal import SESSION_ID, SESSION_START, USER_ID
from tests.stage import Stage

DAY = timedelta(days=1)
BILLED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
}
"""What Temporal Cloud counts as an action in a run without updates (docs: evaluate/cloud/actions)."""


async def test_three_reminders_cost_38_events_5_kb_and_7_actions(stage: Stage) -> None:
    """The floor for three reminders is held, summaries and details included."""
    session = await stage.session(starts_in=7 * DAY)
    stage.let_time_fly()
    handle = await stage.enroll(session)
    await handle.result()
    skipping = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED
    events = [e for e in (await handle.fetch_history()).events if e.event_type != skipping]
    assert 38 == len(events)
    assert 7 == sum(e.event_type in BILLED for e in events)
    assert sum(e.ByteSize() for e in events) <= 5 * 1024


async def test_histories_hold_no_personal_data(stage: Stage) -> None:
    """Neither address nor name, title or link of anybody is in history, summary or attributes."""
    session = await stage.session(
        starts_in=2 * DAY, title="Oncology board", join_url="https://meet.example/secret"
    )
    user = await stage.attendee("ana.ruiz@hospital.example")
    handle = await stage.enroll(session, user)
    await stage.forward(2 * DAY, handle)
    described = await stage.client.workflow_service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(
            namespace="default", execution=WorkflowExecution(workflow_id=handle.id)
        )
    )
    text = (await handle.fetch_history()).to_json() + MessageToJson(described)
    for secret in ("ana.ruiz", "Ana", "Ruiz", "hospital.example", "Oncology", "meet.example"):
        assert secret not in text


async def test_every_workflow_carries_its_installation(stage: Stage) -> None:
    """In the memo, and so in no payload: runs of a copied database can be told from the original's."""
    session = await stage.session(starts_in=2 * DAY)
    handle = await stage.enroll(session)
    await stage.gateway.session_changed(session.id)
    change = stage.client.get_workflow_handle(session_change_workflow_id(session.id))
    ours = await stage.parts.namespace.memo()
    assert [ours, ours] == [await (await h.describe()).memo() for h in (handle, change)]


async def test_a_stranger_reads_what_a_workflow_waits_for(stage: Stage) -> None:
    """Summary, timer and details name the next reminder and its instant; attributes find it."""
    session = await stage.session(starts_in=2 * DAY)
    user = await stage.attendee()
    handle = await stage.enroll(session, user)
    await stage.forward(timedelta(hours=25), handle)
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.RUNNING
    assert f"3 reminders, session starts {session.starts_at:%Y-%m-%d %H:%M} UTC" == (
        await described.static_summary()
    )
    attributes = described.typed_search_attributes
    assert str(session.id) == attributes.get(SESSION_ID)
    assert str(user) == attributes.get(USER_ID)
    start = attributes.get(SESSION_START)
    assert start is not None
    assert abs(start - session.starts_at) < timedelta(milliseconds=1)
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    due = f"{session.starts_at - timedelta(hours=2):%Y-%m-%d %H:%M}"
    assert f"| 2h | {due}" in metadata.current_details
    assert "| sent |" in metadata.current_details
    timers = [
        e.user_metadata.summary.data.decode()
        for e in (await handle.fetch_history()).events
        if e.HasField("timer_started_event_attributes")
    ]
    assert f'"2h reminder, due {due}' in timers[-1]
