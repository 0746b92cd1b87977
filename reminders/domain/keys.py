"""Stable names: workflow ids and the ledger's row ids.

Built from ids only, never from anything a person may change or read, and never from an address.
A change here is a change of the wire: running workflows and frozen e-mails carry these names.
"""

from __future__ import annotations

from uuid import UUID, uuid5

ASKED_EVENT = "asked:"
"""What the id of a provider's event begins with for which we asked: it has the answer's instant, and
not that of what happened."""
TASK_QUEUE = "session-reminders"
"""Default task queue; `TEMPORAL_TASK_QUEUE` overrides it."""

SWEEP_ID = "reminder-sweep"
"""Id of the sweep's Schedule, and how the Workflow Ids of its runs begin."""

_REMINDERS = UUID("6f0c1a4e-7f0e-5b43-9d0c-0a7f4a2f9d11")
"""Namespace of the ledger's row ids (RFC 9562 §5.5); arbitrary, and fixed for ever."""


def session_reminder_workflow_id(session_id: UUID, user_id: UUID) -> str:
    """Workflow Id of one enrollment's `SessionReminderWorkflow`."""
    return f"session-reminder:{session_id}:{user_id}"


def enrollment_of(workflow_id: str) -> tuple[UUID, UUID] | None:
    """Session and user of a `SessionReminderWorkflow`; `None` if the id is not one of ours."""
    prefix, *ids = workflow_id.split(":")
    if prefix != "session-reminder" or len(ids) != 2:
        return None
    try:
        return UUID(ids[0]), UUID(ids[1])
    except ValueError:
        return None


def session_change_workflow_id(session_id: UUID) -> str:
    """Workflow Id of a session's `SessionChangeWorkflow`: of all its changes, one at a time."""
    return f"session-change:{session_id}"


def session_of_change(workflow_id: str) -> UUID | None:
    """Session of a `SessionChangeWorkflow`; `None` if the id is not one of ours."""
    prefix, _, session_id = workflow_id.partition(":")
    try:
        return UUID(session_id) if prefix == "session-change" else None
    except ValueError:
        return None


def reminder_id(session_id: UUID, user_id: UUID, reminder_type: str, generation: int) -> UUID:
    """Id of a ledger row: the same enrollment, type and generation always give the same id.

    Planning the same enrollment twice therefore cannot make two rows.
    """
    return uuid5(_REMINDERS, f"{session_id}:{user_id}:{reminder_type}:{generation}")
