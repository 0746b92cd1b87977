"""Reminders that an operator asks for: one, once more or now, or all that failed and still can go.

The ledger first, then the enrollment's workflow, which sends it as it sends any other. Nothing is
sent from here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from reminders import cursors
from reminders.db.audit import Action, AuditLog, By
from reminders.db.resends import ReminderRequests, Requested
from reminders.domain.errors import (
    InvalidInputError,
    NotFoundError,
    SendRefusedError,
    ServiceUnavailableError,
)
from reminders.domain.model import Reminder
from reminders.domain.ports import Clock, Enrollment
from reminders.domain.resending import OF_ONE, Refusal, failed_ones
from reminders.fan_out import fan_out
from starter.services.handover import Handover

logger = logging.getLogger(__name__)

UNREADABLE = "unreadable"
"""Beside the reasons of `Refusal`: something of it could not be read, or was refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RedriveReceipt:
    """What a redrive did, in reminders."""

    resent: int
    """Planned once more; or in a dry run, would be."""
    left_alone: Mapping[str, int]
    """Failed ones that are not sent once more, by the reason."""
    next_cursor: str | None
    """Where the next page begins; `None` after the last."""
    dry_run: bool = field(default=False, compare=False)
    """Whether it was only counted."""
    event_id: int | None = field(default=None, compare=False)
    """Its entry in the audit log; absent when it was only counted."""

    @property
    def found(self) -> int:
        """Failed reminders that were looked at."""
        return self.resent + sum(self.left_alone.values())


@dataclass(frozen=True, slots=True)
class Resending:
    """Sends reminders once more, or now, through their workflows."""

    handover: Handover
    requests: ReminderRequests = field(kw_only=True)
    audit: AuditLog = field(kw_only=True)
    clock: Clock = field(kw_only=True)

    async def resend(self, reminder_id: UUID, by: By) -> Requested:
        """Send one reminder once more. Safe to repeat: asked twice, it goes out once.

        Args:
            reminder_id: Its newest generation.
            by: Who, and why, for the audit log; the reason is required.

        Raises:
            InvalidInputError: If there is no reason.
            ReminderNotFoundError: If the ledger has no such row.
            SendRefusedError: If it may not be; the message says the remedy.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was done.
            TemporalUnavailableError: If Temporal is away; the plan is stored, repeat the call.
        """
        _need_reason(by)
        return await self._handed_over(await self.requests.resend(reminder_id, by=by))

    async def send_now(self, reminder_id: UUID, by: By) -> Requested:
        """Send a reminder that waits for its instant now; takes and raises what `resend` does.

        Safe to repeat: it goes out once.
        """
        _need_reason(by)
        return await self._handed_over(await self.requests.send_now(reminder_id, by=by))

    async def _handed_over(self, asked: Requested) -> Requested:
        """What was asked for, handed over to its workflow if there is something to send."""
        if asked.planned is not None:
            await self.handover.hand_over(asked.planned)
        return asked

    async def redrive(
        self,
        by: By,
        *,
        session_id: UUID | None = None,
        dry_run: bool = False,
        cursor: str | None = None,
        limit: int = 200,
        patience: timedelta | None = timedelta(),
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> RedriveReceipt:
        """Send once more what failed, of sessions that have not begun: page after page of enrollments.

        One e-mail for each person: of several failed reminders the latest, and none if a later one has
        gone out. What may have been accepted after all (`outcome_unknown`) is left alone.

        Args:
            by: Who, and why, for the audit log; the reason is required.
            session_id: Only of this session.
            dry_run: Only count.
            cursor: Where the page before ended.
            limit: Enrollments of a page at the most.
            patience: No page is begun after so long; by default one page is all, and `None` stands
                for all pages.
            on_progress: Called with how many more failed reminders have been looked at.

        Raises:
            InvalidInputError: If the cursor is none of ours, or there is no reason.
            DatabaseUnavailableError: If PostgreSQL is away; repeat the call.
            TemporalUnavailableError: If Temporal is away; what is planned by then is found by the
                sweep, for the rest repeat the call.
        """
        if not dry_run:
            _need_reason(by)
        began = self.clock.now()
        resent, left_alone = 0, Counter[str]()
        while True:
            page = await self._redrive_page(
                by, session_id, dry_run=dry_run, cursor=cursor, limit=limit
            )
            resent += page.resent
            left_alone.update(page.left_alone)
            on_progress(page.found)
            cursor = page.next_cursor
            is_over = patience is not None and self.clock.now() - began >= patience
            if cursor is None or is_over:
                break
        receipt = RedriveReceipt(
            resent=resent, left_alone=left_alone, next_cursor=cursor, dry_run=dry_run
        )
        if dry_run:
            return receipt
        details = {"resent": resent, **left_alone, "is_complete": cursor is None}
        event = by.did(Action.FAILED_REDRIVEN, session_id=session_id, details=details)
        return replace(receipt, event_id=await self.audit.record(event))

    async def _redrive_page(
        self,
        by: By,
        session_id: UUID | None,
        *,
        dry_run: bool,
        cursor: str | None,
        limit: int,
    ) -> RedriveReceipt:
        after = Enrollment(*cursors.decode(cursor, UUID, UUID)) if cursor else None
        page = await self.requests.failed(session_id, after=after, limit=limit)
        left: Counter[str] = Counter()

        async def one(recorded: Sequence[Reminder], refused: frozenset[UUID] = frozenset()) -> int:
            chosen, others = failed_ones(recorded, now=self.clock.now(), refused=refused)
            why = [other.value for other in others]
            if chosen is None:
                left.update(why)
                return 0
            try:
                resent = await self.requests.resend(chosen.id, by=by, dry_run=dry_run)
                if not dry_run:
                    await self._handed_over(resent)
            except SendRefusedError as error:
                left[error.why] += 1
                if error.why in OF_ONE:
                    return await one(recorded, refused | {chosen.id})
                left.update(why)
                return 0
            except NotFoundError:  # deleted since
                return 0
            except ServiceUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the others follow
                # The class name only: the message of a foreign error may quote anything.
                logger.warning(
                    "reminder %s could not be sent once more: %s", chosen.id, type(error).__name__
                )
                left.update([*why, UNREADABLE])
                return 0
            left.update(why)
            return int(resent.is_new)

        resent = sum(await fan_out(one, page.values()))
        last = next(reversed(list(page)), None)
        return RedriveReceipt(
            resent=resent,
            left_alone={why: left[why] for why in (*Refusal, UNREADABLE) if left[why]},
            next_cursor=(
                cursors.encode(last.session_id, last.user_id)
                if last and len(page) == limit
                else None
            ),
        )


def _need_reason(by: By) -> None:
    if by.reason is None or not by.reason.strip():
        msg = "reason is missing; say why, for the audit log"
        raise InvalidInputError(msg, field="reason")
