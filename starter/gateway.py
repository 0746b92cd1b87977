"""`ReminderGateway`: what one can ask for, the same for routes, commands, pages and Python hosts.

The order is always the same: first the ledger, in one transaction, then Temporal. If the second
step is lost, the ledger says what is missing, and the same call repeated completes it, or the
sweep: see `starter.services.handover`. Who did it and why is in the audit log, once, whoever asks.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from reminders.db.audit import HOST, AuditLog, By
from reminders.db.ledger import ReminderQueries
from reminders.db.notices import NoticeQueries
from reminders.db.restoration import foreseen
from reminders.db.sessions import Catalogue, SessionChange
from reminders.domain.errors import (
    DatabaseUnavailableError,
    EnrollmentNotFoundError,
    ReminderError,
    TemporalUnavailableError,
)
from reminders.domain.keys import (
    session_reminder_workflow_id,
)
from reminders.domain.model import Enrollee, EnrollmentStatus, Notice, ReminderStatus, Session
from starter.services.handover import Handover, enroll_many
from starter.services.receipts import CancelReceipt, ChangeReceipt, Enrolled, Story
from starter.services.session_changes import SessionChanges

logger = logging.getLogger(__name__)

CHANGE_WAIT = timedelta(seconds=3)
"""How long a session's change is waited for: most are done by then, and callers do not wait long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReminderGateway:
    """What a platform asks of this system, for its API, our CLI and Python hosts alike.

    `starter.assembly` puts it together. Any call may raise `DatabaseUnavailableError`, if PostgreSQL is
    away, or `TemporalUnavailableError`, if Temporal is. What it has written by then holds, so that
    nothing is sent that is not wanted any more; the same call repeated completes it.
    """

    handover: Handover
    changes: SessionChanges
    catalogue: Catalogue
    queries: ReminderQueries
    audit: AuditLog
    notices: NoticeQueries

    async def enroll(
        self,
        session_id: UUID,
        user_id: UUID,
        enrollment_id: UUID | None = None,
        *,
        status: EnrollmentStatus = EnrollmentStatus.CONFIRMED,
        join_url: str | None = None,
        by: By = HOST,
        by_hand: bool = False,
    ) -> Enrolled:
        """Enroll a person: plan their reminders and start their workflow. Safe to repeat.

        A repeated call returns the same run; a finished one is not sent again; after a
        cancellation the reminders that still lie ahead are planned anew. No worker needs to run.

        Args:
            session_id: In what.
            user_id: Whom.
            enrollment_id: The platform's own id.
            status: `pending` while the platform awaits a confirmation: nothing is sent until the
                same call says `confirmed`. A confirmed enrollment stays confirmed.
            join_url: Their own link; see `Enrollee`.
            by: Who, and why, for the audit log.
            by_hand: Whether a person asks for it, rather than their platform.

        Raises:
            SessionNotFoundError: If there is no such session.
            UserNotFoundError: If there is no such user.
            EnrollmentNotFoundError: If an existing platform has not enrolled them itself.
        """
        planned = await self.handover.planner.enroll(
            session_id,
            user_id,
            enrollment_id,
            status=status,
            join_url=join_url,
            by=by,
            by_hand=by_hand,
        )
        handed = await self.handover.hand_over(planned, enrolling=True)
        return Enrolled.of(handed.planned, handed.run_id)

    async def enroll_many(
        self,
        session_id: UUID,
        people: Sequence[Enrollee],
        by: By = HOST,
        *,
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> list[Enrolled | ReminderError]:
        """Enroll many people in one session, at a fraction of what as many calls cost. Safe to repeat.

        Args:
            session_id: In what.
            people: Any number. Who is among them twice is enrolled once, as by calls in this order.
            by: Who, and why, for the audit log.
            on_progress: Called with how many more are done.

        Returns:
            An answer for each, in this order: the error is the one that `enroll` would raise.

        Raises:
            SessionNotFoundError: If there is no such session.
            DatabaseUnavailableError: If PostgreSQL is away. Some may be enrolled; repeat the call.
        """
        answers = await enroll_many(self.handover, session_id, people, by, on_progress=on_progress)
        return [answers[person.user_id] for person in people]

    async def unenroll(self, session_id: UUID, user_id: UUID, by: By = HOST) -> CancelReceipt:
        """End an enrollment and cancel its workflow. Safe to repeat.

        Args:
            session_id: Of what.
            user_id: Whose.
            by: Who, and why, for the audit log.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person never was enrolled.
        """
        planned, event_id = await self.handover.planner.unenroll(session_id, user_id, by)
        async with self._noted_if_away(event_id):
            await self.handover.hand_over(planned)
        return replace(CancelReceipt.of(planned), event_id=event_id)

    async def put_session(
        self,
        session: Session,
        *,
        keep_status: bool = False,
        by: By = HOST,
        tell_nobody: bool = False,
        wait: timedelta | None = CHANGE_WAIT,
    ) -> tuple[SessionChange, ChangeReceipt]:
        """Store a session; if its start or status changed, plan all its enrollments anew.

        The same call repeated changes nothing and concerns nobody, unless the first failed half-way:
        then it completes it.

        Args:
            session: Whole.
            keep_status: Whether one that is stored keeps its status, such as an operator's cancel.
            by: Who, for the audit log.
            tell_nobody: Whether there are no notices of it.
            wait: See `session_changed`.

        Raises:
            PlatformOwnedError: If sessions are an existing platform's.
        """
        change = await self.catalogue.put_session(
            session, keep_status=keep_status, by=by, tell_nobody=tell_nobody
        )
        if change.untold is None:
            return change, ChangeReceipt()
        under_way = await self.changes.start(session.id)
        try:
            await self.catalogue.passed_on(change)
        except DatabaseUnavailableError:
            logger.warning(
                "%s runs; the same call repeated would start it once more", under_way.workflow_id
            )
        return change, under_way if wait is None else await self.changes.counted(
            under_way, wait=wait
        )

    async def session_changed(
        self,
        session_id: UUID,
        by: By = HOST,
        *,
        tell_nobody: bool = False,
        wait: timedelta | None = CHANGE_WAIT,
    ) -> ChangeReceipt:
        """Plan all enrollments of a session anew, and have their workflows follow. Safe to repeat.

        A `SessionChangeWorkflow` does it. One that runs already goes round once more, so the
        newest change wins. No worker needs to run for the change to be accepted: the session's
        row, stored before, is what every later enrollment and every delivery reads.

        Args:
            session_id: Which.
            by: Who, and why, for the audit log.
            tell_nobody: Whether nobody is to be told how the session is now.
            wait: How long to wait for the counts; `None` does not wait.

        Returns:
            Counts, or the ids of the workflow that is not done yet.

        Raises:
            SessionNotFoundError: If there is no such session.
        """
        event_id = await self.catalogue.changed(session_id, by, tell_nobody=tell_nobody)
        return await self._fan_out(session_id, wait, event_id)

    async def replan(
        self, session_id: UUID, *, wait: timedelta | None = CHANGE_WAIT
    ) -> ChangeReceipt:
        """See `session_changed`; for changes that have an entry of their own in the audit log."""
        await self.catalogue.session(session_id)
        return await self._fan_out(session_id, wait)

    async def cancel_session(
        self,
        session_id: UUID,
        by: By = HOST,
        *,
        dry_run: bool = False,
        tell_nobody: bool = False,
        wait: timedelta | None = CHANGE_WAIT,
    ) -> ChangeReceipt:
        """Cancel a session with all its pending reminders. Safe to repeat.

        Whoever enrolls from then on is not reminded either.

        Args:
            session_id: Which.
            by: Who, and why, for the audit log.
            dry_run: Only count.
            tell_nobody: Whether there are no notices of it.
            wait: See `session_changed`.

        Returns:
            Counts, or the ids of the workflow that is not done yet.

        Raises:
            SessionNotFoundError: If there is no such session.
        """
        if dry_run:
            return ChangeReceipt(reminders=await self.expected(session_id))
        event_id = await self.catalogue.cancel_session(session_id, by, tell_nobody=tell_nobody)
        return await self._fan_out(session_id, wait, event_id)

    async def restore_session(
        self,
        session_id: UUID,
        by: By = HOST,
        *,
        dry_run: bool = False,
        tell_nobody: bool = False,
        wait: timedelta | None = CHANGE_WAIT,
    ) -> ChangeReceipt:
        """Restore a cancelled session: take `cancel_session` back. Safe to repeat.

        What still lies ahead is planned anew for everybody who is enrolled; nothing is sent late.

        Args:
            session_id: Which.
            by: Who, and why, for the audit log.
            dry_run: Only count; `replanned` then has those for whom something waits again.
            tell_nobody: Whether those who were told that it is cancelled are not told of this.
            wait: See `session_changed`.

        Raises:
            SessionNotFoundError: If there is no such session.
        """
        if dry_run:
            found = await foreseen(self.catalogue, self.handover.planner, session_id)
            return ChangeReceipt.foreseen(found)
        event_id = await self.catalogue.restore_session(session_id, by, tell_nobody=tell_nobody)
        return await self._fan_out(session_id, wait, event_id)

    async def expected(self, session_id: UUID, user_id: UUID | None = None) -> CancelReceipt:
        """What a cancel would do.

        Args:
            session_id: Whose.
            user_id: Only this person's; absent means everybody who is enrolled.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person never was enrolled.
        """
        await self.catalogue.session(session_id)
        if user_id is not None:
            status = await self.catalogue.enrollment_status(session_id, user_id)
            if status is None:
                raise EnrollmentNotFoundError(session_id, user_id)
        tally = await self.queries.tally(session_id, user_id)
        told = 0
        if user_id is None:
            told = (await self.notices.expected(session_id))[Notice.CANCELLED]
        return CancelReceipt(
            cancelled=tally.get(ReminderStatus.SCHEDULED, 0),
            already_sent=sum(n for status, n in tally.items() if status.is_accepted),
            in_flight=tally.get(ReminderStatus.SENDING, 0),
            told=told,
        )

    async def why(self, session_id: UUID, user_id: UUID) -> Story:
        """What was, will be or was not sent to a person about a session, and why.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person never was enrolled.
        """
        session = await self.catalogue.session(session_id)
        status = await self.catalogue.enrollment_status(session_id, user_id)
        reminders = await self.queries.of_enrollment(session_id, user_id)
        if status is None:
            if not reminders or await self.catalogue.is_erased(user_id):
                raise EnrollmentNotFoundError(session_id, user_id)
            status = EnrollmentStatus.CANCELLED  # the platform has deleted its row; ours stay
        workflow_id = session_reminder_workflow_id(session_id, user_id)
        workflow_status, run_id = await self.handover.workflows.describe(workflow_id)
        return Story(
            session=session,
            user_id=user_id,
            enrollment_status=status,
            workflow_id=workflow_id,
            workflow_status=workflow_status,
            run_id=run_id or next((r.run_id for r in reversed(reminders) if r.run_id), None),
            reminders=reminders,
        )

    async def _fan_out(
        self, session_id: UUID, wait: timedelta | None, event_id: int | None = None
    ) -> ChangeReceipt:
        """Bring a session's change to every enrollment, and wait a little for the counts.

        Args:
            session_id: Whose.
            wait: See `session_changed`.
            event_id: The change's entry in the audit log, to which the counts are added.
        """
        async with self._noted_if_away(event_id):
            under_way = await self.changes.start(session_id)
        receipt = under_way if wait is None else await self.changes.counted(under_way, wait=wait)
        if event_id is None:
            return receipt
        try:
            await self.audit.add(event_id, receipt.details)
        except DatabaseUnavailableError:
            logger.warning("audit entry %s lacks what came of it", event_id)
        return replace(receipt, event_id=event_id)

    @asynccontextmanager
    async def _noted_if_away(self, event_id: int | None) -> AsyncIterator[None]:
        """Add to an audit entry that Temporal was away: it is done as far as the ledger goes."""
        try:
            yield
        except TemporalUnavailableError:
            if event_id is not None:
                with suppress(DatabaseUnavailableError):
                    await self.audit.add(event_id, {"temporal": "away"})
            raise
