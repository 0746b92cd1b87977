"""Reminders that an operator asks for: one, once more or now, or all that failed and still can go.

The ledger first, then the enrollment's workflow, which sends it as it sends any other. Nothing is
sent from here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from reminders.db.resends import FailedEnrollments, ReminderRequests, Requested
from reminders.domain.errors import InvalidInputError, NotFoundError, SendRefusedError
from reminders.domain.model import Reminder
from reminders.domain.ports import Clock, Enrollment
from reminders.domain.resending import Refusal, failed_ones
from starter.services.handover import Handover

AT_ONCE = 20
"""Enrollments that are worked on at the same time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RedriveReceipt:
    """What a redrive did, in reminders."""

    resent: int
    """Planned once more; or in a dry run, would be."""
    left_alone: Mapping[str, int]
    """Failed ones that are not sent once more, by the reason."""
    next_cursor: str | None
    """Where the next page begins; `None` after the last."""

    @property
    def found(self) -> int:
        """Failed reminders that were looked at."""
        return self.resent + sum(self.left_alone.values())


class Resending:
    """Sends reminders once more, or now, through their workflows."""

    def __init__(
        self,
        handover: Handover,
        *,
        requests: ReminderRequests,
        failed: FailedEnrollments,
        clock: Clock,
    ) -> None:
        """Write requests into the ledger, and hand them over.

        Args:
            handover: To the enrollments' workflows.
            requests: Writes them.
            failed: Finds what failed.
            clock: Judges what is due.
        """
        self._handover = handover
        self._requests = requests
        self._failed = failed
        self._clock = clock

    async def resend(self, reminder_id: UUID, *, reason: str, actor: str) -> Requested:
        """Send one reminder once more. Safe to repeat: asked twice, it goes out once.

        Args:
            reminder_id: Its newest generation.
            reason: Why, for the audit log.
            actor: Who, for the audit log.

        Raises:
            InvalidInputError: If there is no reason.
            ReminderNotFoundError: If the ledger has no such row.
            SendRefusedError: If it may not be; the message says the remedy.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was done.
            TemporalUnavailableError: If Temporal is away; the plan is stored, repeat the call.
        """
        _check(reason)
        return await self._handed_over(
            await self._requests.resend(reminder_id, reason=reason, actor=actor)
        )

    async def send_now(self, reminder_id: UUID, *, reason: str, actor: str) -> Requested:
        """Send a reminder that waits for its instant now. Safe to repeat: it goes out once.

        Args:
            reminder_id: Its newest generation.
            reason: Why, for the audit log.
            actor: Who, for the audit log.

        Raises:
            InvalidInputError: If there is no reason.
            ReminderNotFoundError: If the ledger has no such row.
            SendRefusedError: If it may not be; the message says the remedy.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was done.
            TemporalUnavailableError: If Temporal is away; the plan is stored, repeat the call.
        """
        _check(reason)
        return await self._handed_over(
            await self._requests.send_now(reminder_id, reason=reason, actor=actor)
        )

    async def _handed_over(self, asked: Requested) -> Requested:
        """What was asked for, with its workflow at it, if it is to send something."""
        if asked.planned is not None:
            await self._handover.hand_over(asked.planned)
        return asked

    async def redrive(
        self,
        *,
        reason: str,
        actor: str,
        session_id: UUID | None = None,
        dry_run: bool = False,
        cursor: str | None = None,
        limit: int = 200,
        patience: timedelta | None = timedelta(),
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> RedriveReceipt:
        """Send once more what failed, of sessions that have not begun: page after page of enrollments.

        One e-mail a person: of several failed reminders the latest, and none if a later one has
        gone out. What may have been accepted after all (`outcome_unknown`) is left alone.

        Args:
            reason: Why, for the audit log.
            actor: Who, for the audit log.
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
            _check(reason)
        began = self._clock.now()
        resent, left_alone = 0, Counter[str]()
        while True:
            page = await self._redrive_page(
                reason, actor, session_id, dry_run=dry_run, cursor=cursor, limit=limit
            )
            resent += page.resent
            left_alone.update(page.left_alone)
            on_progress(page.found)
            cursor = page.next_cursor
            is_over = patience is not None and self._clock.now() - began >= patience
            if cursor is None or is_over:
                return RedriveReceipt(resent=resent, left_alone=left_alone, next_cursor=cursor)

    async def _redrive_page(
        self,
        reason: str,
        actor: str,
        session_id: UUID | None,
        *,
        dry_run: bool,
        cursor: str | None,
        limit: int,
    ) -> RedriveReceipt:
        after = _decoded(cursor) if cursor else None
        page = await self._failed.page(session_id, after=after, limit=limit)
        slots = asyncio.Semaphore(AT_ONCE)
        left: Counter[str] = Counter()

        async def one(recorded: Sequence[Reminder]) -> int:
            chosen, others = failed_ones(recorded, now=self._clock.now())
            left.update(other.value for other in others)
            if chosen is None:
                return 0
            async with slots:
                try:
                    resent = await self._handed_over(
                        await self._requests.resend(
                            chosen.id, reason=reason, actor=actor, dry_run=dry_run
                        )
                    )
                except SendRefusedError as refused:
                    left[refused.why] += 1
                    return 0
                except NotFoundError:  # deleted since
                    return 0
                return int(resent.is_new)

        done = await asyncio.gather(*map(one, page.values()), return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
        last = next(reversed(list(page)), None)
        return RedriveReceipt(
            resent=sum(outcome for outcome in done if isinstance(outcome, int)),
            left_alone={why: left[why] for why in Refusal if left[why]},
            next_cursor=_encoded(last) if last and len(page) == limit else None,
        )


def _check(reason: str) -> None:
    if not reason.strip():
        msg = "reason is missing; say why, for the audit log"
        raise InvalidInputError(msg, field="reason")


def _encoded(enrollment: Enrollment) -> str:
    return f"{enrollment.session_id}:{enrollment.user_id}"


def _decoded(cursor: str) -> Enrollment:
    session_id, _, user_id = cursor.partition(":")
    try:
        return Enrollment(UUID(session_id), UUID(user_id))
    except ValueError as error:
        msg = "this is no cursor that was given out; leave it out to start from the beginning"
        raise InvalidInputError(msg, field="cursor") from error
