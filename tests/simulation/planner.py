"""Planning on the ledger in memory: what `EnrollmentPlanner` does, with the product's own rules.

What is wanted and what a revision does to the rows is decided by `reminders.domain.revise`; here is
only what the statements around it do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reminders.db import preferences
from reminders.db.planning import SETTLED
from reminders.db.plans import PlannedEnrollment, Situation
from reminders.domain.case import COOLING, Case
from reminders.domain.errors import EnrollmentNotFoundError, SessionNotFoundError
from reminders.domain.lead_in import APART
from reminders.domain.model import (
    EnrollmentStatus,
    Reminder,
    ReminderStatus,
    Session,
    StatusReason,
)
from reminders.domain.planning import revised
from reminders.domain.ports import Clock
from reminders.domain.revise import Revision, call_off, is_revived
from tests.simulation.store import Link, Row, Store


@dataclass(slots=True)
class ModelPlanner:
    """`EnrollmentPlanner` on a `Store`."""

    store: Store
    link: Link
    clock: Clock
    resend_threshold: timedelta = field(default=timedelta(hours=1), kw_only=True)
    notice_cooling: timedelta = field(default=COOLING, kw_only=True)
    enrolled: Callable[..., Any] | None = field(default=None, kw_only=True)
    """`Catalogue.enrolled`, for who pages through a session."""
    asked_at: datetime | None = field(default=None, kw_only=True)
    """When it was asked last whether there is a newer plan."""

    async def enroll(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        status: EnrollmentStatus = EnrollmentStatus.CONFIRMED,
        meant: Callable[[], None] | None = None,
    ) -> PlannedEnrollment:
        """See `EnrollmentPlanner.enroll`.

        With `meant`, somebody asks for it, which makes it true; called when it is committed,
        whether or not they ever hear of that.
        """

        def work() -> PlannedEnrollment:
            session = self._session(session_id)
            key = session_id, user_id
            was = self.store.enrollments.get(key)
            if not (status is EnrollmentStatus.PENDING and was is EnrollmentStatus.CONFIRMED):
                self.store.enrollments[key] = status
                if meant is not None:
                    self.store.set_enrollment(key, status)
                    meant()
            recorded = self._recorded(key)
            return self._plan(session, user_id, recorded, self._situation(key), enrolling=True)

        return await self.link.ask("enroll", work)

    async def replan(self, session_id: UUID, user_id: UUID) -> PlannedEnrollment:
        """See `EnrollmentPlanner.replan`."""

        def work() -> PlannedEnrollment:
            session, key = self._session(session_id), (session_id, user_id)
            situation = self._situation(key)
            if situation.enrollment is None:
                raise EnrollmentNotFoundError
            return self._plan(session, user_id, self._recorded(key), situation)

        return await self.link.ask("replan", work)

    async def replan_all(self, session_id: UUID, users: Sequence[UUID]) -> list[PlannedEnrollment]:
        """See `EnrollmentPlanner.replan_all`."""

        def work() -> list[PlannedEnrollment]:
            session = self._session(session_id)
            asked = [(user_id, self._situation((session_id, user_id))) for user_id in users]
            return [
                self._plan(session, user_id, self._recorded((session_id, user_id)), situation)
                for user_id, situation in asked
                if situation.enrollment is not None
            ]

        return await self.link.ask("replan page", work)

    async def reconcile(
        self, session_id: UUID, user_id: UUID, *, dry_run: bool = False, distrust: bool = False
    ) -> PlannedEnrollment:
        """See `EnrollmentPlanner.reconcile`."""
        assert not dry_run

        def work() -> PlannedEnrollment:
            session, key = self._session(session_id), (session_id, user_id)
            situation = self._situation(key)
            planned = self._plan(session, user_id, self._recorded(key), situation)
            if distrust and not planned.is_first:
                return replace(planned, version=situation.version, is_unconfirmed=True)
            return planned

        return await self.link.ask("reconcile", work)

    async def renew(self, planned: PlannedEnrollment) -> PlannedEnrollment:
        """See `EnrollmentPlanner.renew`."""

        def work() -> PlannedEnrollment:
            session, user_id = self._session(planned.session.id), planned.user_id
            key = session.id, user_id
            recorded, situation = self._recorded(key), self._situation(key)
            newest = max((r.plan_version for r in recorded), default=0)
            is_newest = max(newest, situation.unconfirmed or 0) <= planned.version
            case = self._case(session, user_id, recorded, situation)
            if is_newest and case.called_off is None:
                taken_along = call_off(recorded, StatusReason.WORKFLOW_CANCELLED)
                self._write(session, user_id, taken_along, situation)
                recorded = self._recorded(key)
            return self._plan(session, user_id, recorded, situation, enrolling=is_newest)

        return await self.link.ask("renew plan", work)

    async def confirm(self, planned: PlannedEnrollment, *, is_found: bool) -> bool:
        """See `EnrollmentPlanner.confirm`."""

        def work() -> bool:
            key = planned.session.id, planned.user_id
            self.asked_at = self.store.now()
            entry = self.store.unconfirmed.get(key)
            newest = max((r.plan_version for r in self._recorded(key)), default=0)
            newest = max(newest, entry[0] if entry else 0)
            is_known = entry is not None and entry[0] <= planned.version
            if entry and is_known and (is_found or entry[1] < self.clock.now() - SETTLED):
                del self.store.unconfirmed[key]
            return newest <= planned.version

        return await self.link.ask("confirm", work)

    async def confirm_all(self, followed: Sequence[PlannedEnrollment]) -> set[UUID]:
        """See `EnrollmentPlanner.confirm_all`."""

        def work() -> set[UUID]:
            self.asked_at = self.store.now()
            outdated = set()
            for planned in followed:
                key = planned.session.id, planned.user_id
                entry = self.store.unconfirmed.get(key)
                newest = max((r.plan_version for r in self._recorded(key)), default=0)
                if entry and entry[0] <= planned.version:
                    del self.store.unconfirmed[key]
                if max(newest, entry[0] if entry else 0) > planned.version:
                    outdated.add(planned.user_id)
            return outdated

        return await self.link.ask("confirm page", work)

    async def close_waiting(
        self,
        session_id: UUID,
        user_id: UUID,
        reason: StatusReason,
        *,
        planned_before: datetime | None = None,
    ) -> int:
        """See `EnrollmentPlanner.close_waiting`."""

        def work() -> int:
            key = session_id, user_id
            waiting = [
                row
                for row in self.store.of_enrollment.get(key, [])
                if row.status is ReminderStatus.SCHEDULED
                and (planned_before is None or (row.created_at or planned_before) < planned_before)
            ]
            for row in waiting:
                self.store.touch(row, ReminderStatus.CANCELLED, reason=reason)
            if waiting:
                self.store.plan_version += 1
                self._note_unconfirmed(key, self.store.plan_version)
            return len(waiting)

        return await self.link.ask("close_waiting", work)

    async def unenroll(self, session_id: UUID, user_id: UUID) -> tuple[PlannedEnrollment, int]:
        """See `EnrollmentPlanner.unenroll`; there is no audit log here."""

        def work() -> tuple[PlannedEnrollment, int]:
            session, key = self._session(session_id), (session_id, user_id)
            if key not in self.store.enrollments:
                raise EnrollmentNotFoundError
            self.store.set_enrollment(key, EnrollmentStatus.CANCELLED)
            called_off = StatusReason.UNENROLLED
            revision = call_off(self._recorded(key), called_off)
            situation = self._situation(key)
            return self._write(session, user_id, revision, situation, called_off=called_off), 0

        return await self.link.ask("unenroll", work)

    async def of_platform(self, name: str, work: Callable[[], None]) -> None:
        """The platform writes its own tables."""
        await self.link.ask(name, work)

    def _session(self, session_id: UUID) -> Session:
        session = self.store.sessions.get(session_id)
        if session is None:
            raise SessionNotFoundError
        return session

    def _recorded(self, key: tuple[UUID, UUID]) -> tuple[Reminder, ...]:
        rows = sorted(self.store.of_enrollment.get(key, []), key=lambda r: r.id)
        return tuple(row.reminder() for row in rows)

    def _situation(self, key: tuple[UUID, UUID]) -> Situation:
        store, (session_id, user_id) = self.store, key
        store.plan_version += 1
        stopping: dict[str, str] = {}
        for user, session, kind, reason in store.preferences:
            if user == user_id and session in (None, session_id):
                stopping[kind or ""] = max(reason, stopping.get(kind or "", ""))
        entry = store.unconfirmed.get(key)
        return Situation(
            enrollment=store.enrollments.get(key),
            stopping=stopping,
            enrolled=0,
            together=0,
            apart=APART,
            unconfirmed=entry[0] if entry else None,
            version=store.plan_version,
            is_quiet=(held := store.sessions.get(session_id)) is not None
            and store.quiet.get(session_id) == (held.starts_at, held.status),
        )

    def _plan(
        self,
        session: Session,
        user_id: UUID,
        recorded: tuple[Reminder, ...],
        situation: Situation,
        *,
        enrolling: bool = False,
    ) -> PlannedEnrollment:
        case = self._case(session, user_id, recorded, situation, enrolling=enrolling)
        revision = revised(case)
        return self._write(
            session,
            user_id,
            revision,
            situation,
            first=not recorded,
            revived=is_revived(revision, recorded),
            called_off=case.called_off,
        )

    def _case(
        self,
        session: Session,
        user_id: UUID,
        recorded: tuple[Reminder, ...],
        situation: Situation,
        *,
        enrolling: bool = False,
    ) -> Case:
        rules = tuple(self.store.rules.values())
        return Case(
            session=session,
            user_id=user_id,
            enrollment=situation.enrollment,
            recorded=recorded,
            now=self.clock.now(),
            rules=rules,
            stopped=preferences.stopped(situation.stopping, rules),
            threshold=self.resend_threshold,
            cooling=self.notice_cooling,
            enrolling=enrolling,
            is_quiet=situation.is_quiet,
        )

    def _write(
        self,
        session: Session,
        user_id: UUID,
        revision: Revision,
        situation: Situation,
        *,
        first: bool = False,
        revived: bool = False,
        called_off: StatusReason | None = None,
    ) -> PlannedEnrollment:
        store, key = self.store, (session.id, user_id)
        for new in revision.added:
            store.add(
                Row(
                    id=new.id,
                    session_id=new.session_id,
                    user_id=new.user_id,
                    reminder_type=new.reminder_type,
                    generation=new.generation,
                    due_at=new.due_at,
                    starts_at=new.starts_at,
                    status=new.status,
                    reason=new.reason,
                    plan_version=situation.version,
                    moved_from=new.moved_from,
                )
            )
        for changed in revision.changed:
            store.touch(
                store.rows[changed.id],
                changed.status,
                due_at=changed.due_at,
                starts_at=changed.starts_at,
                reason=changed.reason,
                requested_at=changed.requested_at,
                moved_from=changed.moved_from,
                plan_version=situation.version,
            )
        is_changed = not revision.is_empty
        if is_changed:
            store.plans.append((store.now(), key, situation.version))
        if is_changed and not first:
            self._note_unconfirmed(key, situation.version)
        known = max((r.plan_version for r in revision.unchanged), default=0)
        return PlannedEnrollment(
            session=session,
            user_id=user_id,
            enrollment=situation.enrollment,
            reminders=revision.reminders,
            version=(
                situation.version
                if is_changed
                else max(known, situation.unconfirmed or 0) or situation.version
            ),
            is_first=first,
            is_changed=is_changed,
            is_unconfirmed=not first and (is_changed or situation.unconfirmed is not None),
            is_revived=revived,
            cancelled=sum(r.status is ReminderStatus.CANCELLED for r in revision.changed),
            written=len(revision.added) + len(revision.changed),
            called_off=called_off,
            lead_in=store.lead_in if any(r.status.is_pending for r in revision.reminders) else None,
        )

    def _note_unconfirmed(self, key: tuple[UUID, UUID], version: int) -> None:
        before = self.store.unconfirmed.get(key, (0, None))[0]
        self.store.unconfirmed[key] = max(before, version), self.store.now()
