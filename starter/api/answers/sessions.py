"""Sessions, and what a change of one did."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import Field

from reminders.db.sessions import SessionChange
from reminders.domain.model import (
    ReminderStatus,
    Session,
    SessionStatus,
)
from starter.api.answers.base import Out
from starter.api.answers.receipts import called_off
from starter.services.receipts import ChangeReceipt


class SessionOut(Out):
    """A session."""

    id: UUID
    title: str = Field(examples=["Cardiology update"])
    start_time: datetime
    end_time: datetime | None
    time_zone: str = Field(examples=["Europe/Madrid"])
    speaker_name: str | None
    location: str | None
    join_url: str | None
    preparation_notes: str | None
    status: SessionStatus


class SessionWithCounts(SessionOut):
    """A session, and how many of its reminders are in each status."""

    counts: dict[ReminderStatus, int]

    @classmethod
    def of(cls, session: Session, counts: dict[ReminderStatus, int]) -> Self:
        """Every status is named, also those without reminders."""
        every = {status: counts.get(status, 0) for status in ReminderStatus}
        return cls(**_session(session), counts=every)


class UnderWayOut(Out):
    """A workflow that is at it. The change is stored: nothing goes out that it forbids."""

    workflow_id: str
    """Its result has the counts, and so has `GET /v1/runs`."""
    run_id: str

    @classmethod
    def of(cls, receipt: ChangeReceipt) -> Self:
        """The gateway's answer as JSON."""
        return cls(workflow_id=receipt.workflow_id or "", run_id=receipt.run_id or "")


class ChangesOut(Out):
    """What a session's change did."""

    enrollments: int
    """Enrollments that were planned anew."""
    replanned: int
    """Of these, those whose workflow has confirmed the new plan."""
    unconfirmed: int
    """Of these, those that no worker answered for; delivery follows the ledger all the same."""
    cancelled: int
    """Reminders that this change called off."""
    already_sent: int
    in_flight: int

    @classmethod
    def of(cls, receipt: ChangeReceipt) -> Self:
        """The gateway's answer as JSON."""
        return cls(
            enrollments=receipt.enrollments,
            replanned=receipt.replanned,
            unconfirmed=receipt.unconfirmed,
            **called_off(receipt.reminders),
        )


class ChangedSession(SessionOut):
    """A session as it was stored, and what the change did to its enrollments."""

    changes: ChangesOut | None
    """Null while `under_way`."""
    under_way: UnderWayOut | None
    """Null when everybody has been told."""

    @classmethod
    def of(cls, change: SessionChange, receipt: ChangeReceipt) -> Self:
        """The gateway's answer as JSON."""
        return cls(
            **_session(change.session),
            changes=ChangesOut.of(receipt) if receipt.is_done else None,
            under_way=None if receipt.is_done else UnderWayOut.of(receipt),
        )


def _session(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "title": session.title,
        "start_time": session.starts_at,
        "end_time": session.ends_at,
        "time_zone": session.time_zone,
        "speaker_name": session.speaker_name,
        "location": session.location,
        "join_url": session.join_url,
        "preparation_notes": session.preparation_notes,
        "status": session.status,
    }
