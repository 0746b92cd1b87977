"""Plans enrollments: reads session, rules and ledger, and writes the plan, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import audit, locks, plans, preferences, unconfirmed
from reminders.db.audit import HOST, Action, By
from reminders.db.engine import Database
from reminders.db.plans import Draft, PlannedEnrollment, Situation
from reminders.db.platform import platform_of
from reminders.db.rules import effective_rules
from reminders.db.tables import ReminderRow
from reminders.domain.case import COOLING, Case
from reminders.domain.errors import EnrollmentNotFoundError, ReminderError
from reminders.domain.lead_in import crowd_cooling
from reminders.domain.model import (
    Enrollee,
    EnrollmentStatus,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    StatusReason,
)
from reminders.domain.planning import revised
from reminders.domain.ports import Clock, Enrollment
from reminders.domain.revise import call_off, is_revived

SETTLED = timedelta(minutes=1)
"""No call that plans lasts so long: what it left undone by then, it does not do any more."""


@dataclass(frozen=True, slots=True)
class EnrollmentPlanner:
    """Writes plans into the ledger.

    A call writes all of it or nothing: nothing if it raises `DatabaseUnavailableError`, as each may.
    """

    database: Database
    clock: Clock
    """Decides what is past due."""
    resend_threshold: timedelta = field(default=timedelta(hours=1), kw_only=True)
    """How far a session must move so that a reminder already sent is sent once more."""
    notice_cooling: timedelta = field(default=COOLING, kw_only=True)
    """How long a move is waited with before it is told; a crowd's is longer."""

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
    ) -> PlannedEnrollment:
        """Enroll a person, or confirm that they are, and plan their reminders.

        May run any number of times: the second plan finds the rows of the first. After a
        cancellation, what was cancelled and still lies ahead is planned as a new generation.

        Args:
            session_id: In what.
            user_id: Whom.
            enrollment_id: The platform's own id.
            status: `pending` plans nothing yet, and never takes a confirmation back: the call may
                be the repetition of an earlier one.
            join_url: Their own link; see `Enrollee`.
            by: Who, and why, for the audit log. It records who is enrolled once more, confirmed, or
                enrolled by hand; all others are in the tables themselves.
            by_hand: Whether a person asks for it, rather than their platform.

        Raises:
            SessionNotFoundError: If there is no such session.
            UserNotFoundError: If there is no such user, or they were erased.
            EnrollmentNotFoundError: If an existing platform has not enrolled them itself.
        """
        person = Enrollee(
            user_id=user_id, enrollment_id=enrollment_id, status=status, join_url=join_url
        )
        planned = (await self.enroll_all(session_id, [person], by, by_hand=by_hand))[user_id]
        if isinstance(planned, ReminderError):
            raise planned
        return planned

    async def enroll_all(
        self,
        session_id: UUID,
        people: Sequence[Enrollee],
        by: By = HOST,
        *,
        by_hand: bool = False,
    ) -> dict[UUID, PlannedEnrollment | ReminderError]:
        """As `enroll`, for many people, each once: one transaction, and no more statements.

        Returns:
            The plan of each, or why there is none: what `enroll` raises about a single person.

        Raises:
            SessionNotFoundError: If there is no such session.
        """
        statuses = {person.user_id: person.status for person in people}
        async with self.database.transaction() as connection:
            await locks.planning(connection, session_id, *statuses)
            session = await plans.session(connection, session_id)
            refused = await platform_of(self.database).enroll(connection, session_id, people)
            users = [user_id for user_id in statuses if user_id not in refused]
            drafts = await self.drafts(connection, session, users, enrolling=True)
            written = await plans.write(connection, session, drafts)
            events = [
                by.did(
                    Action.ENROLLED,
                    session_id=session_id,
                    user_id=planned.user_id,
                    details={"status": statuses[planned.user_id]},
                )
                for planned in written
                if planned.is_changed and (by_hand or not planned.is_first)
            ]
            await audit.record_all(connection, events)
        return {**refused, **{planned.user_id: planned for planned in written}}

    async def replan(self, session_id: UUID, user_id: UUID) -> PlannedEnrollment:
        """Plan an existing enrollment anew, after its session or a rule changed.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person is not enrolled.
        """
        planned = await self.replan_all(session_id, [user_id])
        if not planned:
            raise EnrollmentNotFoundError(session_id, user_id)
        return planned[0]

    async def replan_all(
        self, session_id: UUID, users: Sequence[UUID]
    ) -> Sequence[PlannedEnrollment]:
        """As `replan`, for many people: one transaction, and no more statements.

        Whoever is not enrolled any more is left out.
        """
        async with self.database.transaction() as connection:
            await locks.planning(connection, session_id, *users)
            session = await plans.session(connection, session_id)
            drafts = await self.drafts(connection, session, users)
            enrolled = [draft for draft in drafts if draft.situation.enrollment is not None]
            return await plans.write(connection, session, enrolled)

    async def reconcile(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        dry_run: bool = False,
        distrust: bool = False,
    ) -> PlannedEnrollment:
        """Plan as `replan` does; an enrollment that the platform has deleted is called off.

        Args:
            session_id: Of the session.
            user_id: Of the person.
            dry_run: Only say what it would do.
            distrust: Whether the workflow is to confirm the plan even if it has done so before:
                it is not where it should be.

        Raises:
            SessionNotFoundError: If there is no such session; see `close_waiting`.
        """
        async with self.database.transaction() as connection:
            session = await self._serialised(connection, session_id, user_id)
            [draft] = await self.drafts(connection, session, [user_id])
            [planned] = await plans.write(connection, session, [draft])
            if dry_run:
                await connection.rollback()
            if distrust and not planned.is_first:
                return replace(planned, version=draft.situation.version, is_unconfirmed=True)
            return planned

    async def renew(self, planned: PlannedEnrollment) -> PlannedEnrollment:
        """Plan anew for somebody who has enrolled although their workflow is on its way out.

        It would take along what waits. So that is called off here as the workflow does it, and
        followed by a new generation, of which the workflow knows nothing. Whether they take part
        is read, and not written: they may have been unenrolled since. What somebody else has
        planned since is left as it is.

        Args:
            planned: What they enrolled with.

        Raises:
            SessionNotFoundError: If there is no such session any more.
        """
        async with self.database.transaction() as connection:
            user_id = planned.user_id
            session = await self._serialised(connection, planned.session.id, user_id)
            recorded = await plans.recorded(connection, session.id, user_id)
            situation = await plans.situation(connection, session.id, user_id)
            newest = max((r.plan_version for r in recorded), default=0)
            is_newest = max(newest, situation.unconfirmed or 0) <= planned.version
            case = self._case(session, user_id, recorded, situation)
            if is_newest and case.called_off is None:
                taken_along = call_off(recorded, StatusReason.WORKFLOW_CANCELLED)
                draft = Draft(user_id=user_id, revision=taken_along, situation=situation)
                await plans.write(connection, session, [draft])
                recorded = await plans.recorded(connection, session.id, user_id)
            rules = await effective_rules(connection, session.id)
            draft = self._draft(session, user_id, recorded, situation, rules, enrolling=is_newest)
            [planned] = await plans.write(connection, session, [draft])
            return planned

    async def cooling(self, session_id: UUID) -> timedelta:
        """How long a move of a session is waited with before it is told to those who are enrolled."""
        async with self.database.autocommit() as connection:
            enrolled, apart = await plans.crowd(connection, session_id)
        return crowd_cooling(self.notice_cooling, enrolled, apart=apart)

    async def confirm(self, planned: PlannedEnrollment, *, is_found: bool) -> bool:
        """Note that an enrollment's workflow follows a plan; safe to repeat.

        Args:
            planned: The plan.
            is_found: Whether there was a workflow to follow it.

        Returns:
            Whether it is the newest. If not, the workflow may have been started, changed or
            cancelled by a plan that was outdated.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away; the sweep will ask once more.
        """
        async with self.database.autocommit() as connection:
            newest = await unconfirmed.confirm(
                connection,
                Enrollment(planned.session.id, planned.user_id),
                planned.version,
                is_found=is_found,
                settled=self.clock.now() - SETTLED,
            )
        return newest <= planned.version

    async def confirm_all(self, followed: Sequence[PlannedEnrollment]) -> set[UUID]:
        """As `confirm`, for one session's plans that runs follow; who has a newer one by now."""
        versions = {planned.user_id: planned.version for planned in followed}
        async with self.database.autocommit() as connection:
            return await unconfirmed.confirm_all(connection, followed[0].session.id, versions)

    async def close_waiting(
        self,
        session_id: UUID,
        user_id: UUID,
        reason: StatusReason,
        *,
        planned_before: datetime | None = None,
    ) -> int:
        """Cancel what still waits, whatever session and rules say; safe to repeat.

        Args:
            session_id: Of the session; it may be gone.
            user_id: Of the person.
            reason: Why.
            planned_before: Leave alone what was planned from this instant on.

        Returns:
            How many reminders were cancelled.
        """
        close = update(ReminderRow).where(
            ReminderRow.session_id == session_id,
            ReminderRow.user_id == user_id,
            ReminderRow.email_status == ReminderStatus.SCHEDULED,
        )
        if planned_before is not None:
            close = close.where(ReminderRow.created_at < planned_before)
        async with self.database.transaction() as connection:
            await locks.planning(connection, session_id, user_id)
            await plans.recorded(connection, session_id, user_id)  # locks them in their order
            closed = await connection.execute(
                close.values(
                    email_status=ReminderStatus.CANCELLED,
                    status_reason=reason,
                    updated_at=func.now(),
                )
            )
            if closed.rowcount:
                await unconfirmed.add_all(connection, [(session_id, user_id)])
        return closed.rowcount

    async def forget_unconfirmed(self, session_id: UUID, user_id: UUID) -> None:
        """Note that nothing is left of an enrollment whose workflow would have to follow."""
        async with self.database.autocommit() as connection:
            await unconfirmed.forget(connection, session_id, user_id)

    async def unenroll(
        self, session_id: UUID, user_id: UUID, by: By = HOST
    ) -> tuple[PlannedEnrollment, int]:
        """End an enrollment and call off what is still waiting; safe to repeat.

        Returns:
            What is left of the plan, and the id of its entry in the audit log.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person never was enrolled.
        """
        async with self.database.transaction() as connection:
            session = await self._serialised(connection, session_id, user_id)
            await platform_of(self.database).end(connection, session_id, user_id)
            recorded = await plans.recorded(connection, session_id, user_id)
            situation = await plans.situation(connection, session_id, user_id)
            called_off = StatusReason.UNENROLLED
            draft = Draft(
                user_id=user_id,
                revision=call_off(recorded, called_off),
                situation=situation,
                called_off=called_off,
            )
            [planned] = await plans.write(connection, session, [draft])
            event = by.did(
                Action.UNENROLLED,
                session_id=session_id,
                user_id=user_id,
                details={
                    "cancelled": planned.cancelled,
                    "already_sent": planned.already_sent,
                    "in_flight": planned.in_flight,
                },
            )
            return planned, await audit.record(connection, event)

    async def drafts(
        self,
        connection: AsyncConnection,
        session: Session,
        users: Sequence[UUID],
        *,
        enrolling: bool = False,
    ) -> list[Draft]:
        """Plans of these people, not written yet; asked inside the locks, which wait for a stop."""
        rows = await plans.recorded_by(connection, session.id, users)
        now = await plans.situations(connection, session.id, users)
        rules = await effective_rules(connection, session.id)
        return [self._draft(session, u, rows[u], now[u], rules, enrolling=enrolling) for u in users]

    async def _serialised(
        self, connection: AsyncConnection, session_id: UUID, user_id: UUID
    ) -> Session:
        """The session, while nobody else plans this enrollment."""
        await locks.planning(connection, session_id, user_id)
        return await plans.session(connection, session_id)

    def _case(
        self,
        session: Session,
        user_id: UUID,
        recorded: tuple[Reminder, ...],
        situation: Situation,
    ) -> Case:
        return Case(
            session=session,
            user_id=user_id,
            enrollment=situation.enrollment,
            recorded=recorded,
            now=self.clock.now(),
            threshold=self.resend_threshold,
            cooling=crowd_cooling(self.notice_cooling, situation.enrolled, apart=situation.apart),
            is_quiet=situation.is_quiet,
        )

    def _draft(
        self,
        session: Session,
        user_id: UUID,
        recorded: tuple[Reminder, ...],
        situation: Situation,
        rules: tuple[ReminderRule, ...],
        *,
        enrolling: bool,
    ) -> Draft:
        case = replace(
            self._case(session, user_id, recorded, situation),
            rules=rules,
            stopped=preferences.stopped(situation.stopping, rules),
            enrolling=enrolling,
        )
        revision = revised(case)
        return Draft(
            user_id=user_id,
            revision=revision,
            situation=situation,
            is_first=not recorded,
            is_newest=enrolling and not recorded,
            is_revived=is_revived(revision, recorded),
            called_off=case.called_off,
        )
