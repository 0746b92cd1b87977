"""What operators and platforms do to reminders, with who did it and why, for every entrance alike.

API, commands and admin pages act through here, so that each deed has exactly one entry in the audit
log. What belongs to the transaction of a change (a rule, a resend, an erasure) is written there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from reminders.db.audit import LONGEST_REASON, Action, AuditLog, Event
from reminders.domain.errors import InvalidInputError, TemporalUnavailableError
from starter.gateway import CHANGE_WAIT, ReminderGateway
from starter.services.receipts import CancelReceipt, ChangeReceipt
from starter.services.resending import RedriveReceipt, Resending
from starter.services.sweeps import Sweeps, SweepStart

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, and why."""

    actor: str
    """`api`, `cli` or `admin:<name>`."""
    reason: str | None = None
    """In their words; checked before anything is done."""

    def __post_init__(self) -> None:
        """Refuse what the audit log could not keep.

        Raises:
            InvalidInputError: If the reason is too long.
        """
        if self.reason is not None and len(self.reason) > LONGEST_REASON:
            raise InvalidInputError(f"at most {LONGEST_REASON} characters", field="reason")


@dataclass(frozen=True, slots=True)
class Done(Generic[_T]):
    """A deed that is done and written down."""

    receipt: _T
    event_id: int
    """Its entry in the audit log."""


class Deeds:
    """Deeds through the gateway, the sweeps and the resending; each is written down once."""

    def __init__(
        self, gateway: ReminderGateway, *, sweeps: Sweeps, resending: Resending, audit: AuditLog
    ) -> None:
        """Act through these.

        Args:
            gateway: Sessions and enrollments.
            sweeps: Starts sweeps.
            resending: Sends once more.
            audit: Where deeds are written down.
        """
        self._gateway = gateway
        self._sweeps = sweeps
        self._resending = resending
        self._audit = audit

    async def cancel_session(
        self, session_id: UUID, by: By, *, wait: timedelta | None = CHANGE_WAIT
    ) -> Done[ChangeReceipt]:
        """See `ReminderGateway.cancel_session`."""
        return await self._done(
            self._gateway.cancel_session(session_id, wait=wait),
            _changes,
            Event(
                action=Action.SESSION_CANCELLED,
                actor=by.actor,
                reason=by.reason,
                session_id=session_id,
            ),
        )

    async def restore_session(
        self, session_id: UUID, by: By, *, wait: timedelta | None = CHANGE_WAIT
    ) -> Done[ChangeReceipt]:
        """See `ReminderGateway.restore_session`."""
        return await self._done(
            self._gateway.restore_session(session_id, wait=wait),
            _changes,
            Event(
                action=Action.SESSION_RESTORED,
                actor=by.actor,
                reason=by.reason,
                session_id=session_id,
            ),
        )

    async def replan_session(
        self, session_id: UUID, by: By, *, wait: timedelta | None = CHANGE_WAIT
    ) -> Done[ChangeReceipt]:
        """See `ReminderGateway.session_changed`."""
        return await self._done(
            self._gateway.session_changed(session_id, wait=wait),
            _changes,
            Event(
                action=Action.SESSION_REPLANNED,
                actor=by.actor,
                reason=by.reason,
                session_id=session_id,
            ),
        )

    async def unenroll(self, session_id: UUID, user_id: UUID, by: By) -> Done[CancelReceipt]:
        """See `ReminderGateway.unenroll`."""
        return await self._done(
            self._gateway.unenroll(session_id, user_id),
            _counts,
            Event(
                action=Action.UNENROLLED,
                actor=by.actor,
                reason=by.reason,
                session_id=session_id,
                user_id=user_id,
            ),
        )

    async def sweep(self, by: By) -> Done[SweepStart]:
        """See `Sweeps.start`."""
        started = await self._sweeps.start()
        details = {
            "workflow_id": started.workflow_id,
            "run_id": started.run_id,
            "was_running": not started.started,
        }
        event = Event(
            action=Action.SWEEP_STARTED, actor=by.actor, reason=by.reason, details=details
        )
        return Done(started, await self._audit.record(event))

    async def redrive(
        self,
        by: By,
        *,
        session_id: UUID | None = None,
        cursor: str | None = None,
        limit: int = 200,
        patience: timedelta | None = None,
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> Done[RedriveReceipt]:
        """See `Resending.redrive`."""
        receipt = await self._resending.redrive(
            reason=by.reason or "",
            actor=by.actor,
            session_id=session_id,
            cursor=cursor,
            limit=limit,
            patience=patience,
            on_progress=on_progress,
        )
        event = _redriven(by, session_id, receipt)
        return Done(receipt, await self._audit.record(event))

    async def _done(
        self,
        work: Awaitable[_T],
        details: Callable[[_T], Mapping[str, Any]],
        event: Event,
    ) -> Done[_T]:
        """Do it, and write down what came of it.

        If Temporal is away it is done as far as the ledger goes, which is what counts: that is
        written down too, before the error goes on to the caller.
        """
        try:
            receipt = await work
        except TemporalUnavailableError:
            await self._audit.record(replace(event, details={"temporal": "away"}))
            raise
        event_id = await self._audit.record(replace(event, details=details(receipt)))
        return Done(receipt, event_id)


def _redriven(by: By, session_id: UUID | None, receipt: RedriveReceipt) -> Event:
    return Event(
        action=Action.FAILED_REDRIVEN,
        actor=by.actor,
        reason=by.reason,
        session_id=session_id,
        details={
            "resent": receipt.resent,
            **receipt.left_alone,
            "is_complete": receipt.next_cursor is None,
        },
    )


def _counts(receipt: CancelReceipt) -> dict[str, Any]:
    return {
        "cancelled": receipt.cancelled,
        "already_sent": receipt.already_sent,
        "in_flight": receipt.in_flight,
    }


def _changes(receipt: ChangeReceipt) -> dict[str, Any]:
    """Counts once they are known; until then the workflow that has them in the end."""
    run = {"workflow_id": receipt.workflow_id, "run_id": receipt.run_id}
    if not receipt.is_done:
        return run
    return {
        **run,
        "enrollments": receipt.enrollments,
        "replanned": receipt.replanned,
        "unconfirmed": receipt.unconfirmed,
        **_counts(receipt.reminders),
    }
