"""What people want to be reminded of, and their erasure: stored, then handed over to the workflows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from reminders.db.audit import ATTENDEE, HOST, By
from reminders.db.erasure import Erased, ErasureStore
from reminders.db.planning import EnrollmentPlanner
from reminders.db.plans import PlannedEnrollment
from reminders.db.preference_store import Change, Changed, Choices, PreferenceStore, Reader
from reminders.db.sessions import Catalogue
from reminders.domain.errors import NotFoundError
from reminders.domain.model import Attendee, OptOut, ReminderStatus, StatusReason
from reminders.domain.ports import Enrollment
from reminders.fan_out import fan_out
from starter.services.enrollments import EnrollmentWorkflows
from starter.services.handover import Handover

logger = logging.getLogger(__name__)

FOLLOWING = timedelta(seconds=3)
"""How long a stop waits for the workflows to follow; the ledger holds without them."""
EVERYTHING = OptOut()


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """Reads and changes preferences. The ledger first, then Temporal, as everywhere."""

    store: PreferenceStore
    catalogue: Catalogue
    planner: EnrollmentPlanner
    handover: Handover

    async def put_user(self, attendee: Attendee) -> bool:
        """Store a person, whole; true if they are new. Safe to repeat.

        What was skipped because of an address that they have left is planned anew at once: the
        next sweep may be too late for it.

        Raises:
            PlatformOwnedError: If users are an existing platform's.
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        stored = await self.catalogue.store_user(attendee)
        if stored.is_unblocked:
            changed = await self.store.change(attendee.user_id, lambda before: before, by=HOST)
            await self._follow_or_leave(attendee.user_id, changed)
        return stored.is_new

    async def of(self, user_id: UUID) -> Choices:
        """What a person chose; raises as `PreferenceStore.of`."""
        return await self.store.of(user_id)

    async def reader(self, enrollment: Enrollment) -> Reader | None:
        """Who follows a link of an e-mail; `None` if they are gone or erased."""
        return await self.store.reader(enrollment.session_id, enrollment.user_id)

    async def put(self, user_id: UUID, opt_outs: Collection[OptOut], *, by: By) -> Changed:
        """Replace what a person is not to be reminded of. Safe to repeat.

        Raises:
            UserNotFoundError: If there is no such person, or they were erased.
            InvalidInputError: If a session or a type does not exist, or the reason is too long.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was changed.
            TemporalUnavailableError: If Temporal is away; nothing goes out that is not wanted.
                Repeat the call, so that workflows wake for what is wanted again.
        """
        wanted = frozenset(opt_outs)
        return await self._change(user_id, lambda _: wanted, by=by)

    async def add(self, user_id: UUID, scope: OptOut, *, by: By) -> Changed:
        """Let a person not be reminded of something; raises as `put`."""
        return await self._change(user_id, lambda before: before | {scope}, by=by)

    async def remove(self, user_id: UUID, scope: OptOut, *, by: By) -> Changed:
        """Take one of a person's choices back; raises as `put`."""
        return await self._change(user_id, lambda before: before - {scope}, by=by)

    async def unblock(self, user_id: UUID, *, by: By) -> Changed:
        """Remind a person again although their address bounced or complained; raises as `put`.

        It is blocked once more if that happens again.
        """
        return await self._change(user_id, lambda before: before, by=by, lift_block=True)

    async def stop(self, enrollment: Enrollment, *, everything: bool) -> None:
        """Stop a person's reminders, of one session or of all, as they ask themselves.

        Returns once nothing can be sent any more that is not with the provider already. That
        takes PostgreSQL only: workflows that do not follow at once do so at the next sweep.

        Raises:
            UserNotFoundError: If the person is gone or erased.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was changed.
        """
        scope = EVERYTHING if everything else OptOut(session_id=enrollment.session_id)
        session_id = None if everything else enrollment.session_id
        changed = await self.store.change(
            enrollment.user_id,
            lambda before: before | {scope},
            by=ATTENDEE,
            session_id=session_id,
        )
        await self._follow_or_leave(enrollment.user_id, changed)

    async def resume(self, enrollment: Enrollment) -> Changed:
        """Let a person be reminded again: of this session, and of all if they had stopped all.

        What still lies ahead is planned anew. Raises as `put`.
        """
        taken_back = {EVERYTHING, OptOut(session_id=enrollment.session_id)}
        return await self._change(
            enrollment.user_id, lambda before: before - taken_back, by=ATTENDEE
        )

    async def _change(
        self, user_id: UUID, change: Change, *, by: By, lift_block: bool = False
    ) -> Changed:
        changed = await self.store.change(user_id, change, by=by, lift_block=lift_block)
        plans = await self._follow(user_id, changed)
        waiting = (r.status is ReminderStatus.SCHEDULED for plan in plans for r in plan.reminders)
        return replace(changed, scheduled=sum(waiting))

    async def _follow_or_leave(self, user_id: UUID, changed: Changed) -> None:
        """As `_follow`, but for a moment only: the sweep does what is left."""
        try:
            async with asyncio.timeout(FOLLOWING.total_seconds()):
                await self._follow(user_id, changed)
        except Exception as error:  # noqa: BLE001 - it is stored, and counts
            logger.warning(
                "preferences are stored; the next sweep hands them over to workflows: %s",
                type(error).__name__,
            )

    async def _follow(self, user_id: UUID, changed: Changed) -> list[PlannedEnrollment]:
        """Plan the person's enrollments anew, and have their workflows follow."""

        async def one(session_id: UUID) -> PlannedEnrollment | None:
            try:
                planned = await self.planner.reconcile(session_id, user_id)
                return (await self.handover.hand_over(planned)).planned
            except NotFoundError:  # deleted since
                return None

        plans = await fan_out(one, changed.sessions)
        return [plan for plan in plans if plan is not None]


REMAINS = (
    "Temporal keeps the histories of ended workflows for the namespace's retention; they hold ids only.",
    "The provider keeps what it sent, with addresses, as its own retention says; ask it to delete that.",
    "Backups and logs of PostgreSQL keep what they have, until they expire.",
)
"""What erasing here cannot reach."""
IN_FLIGHT = (
    "Requests that the provider has not answered yet hold an address; each is purged with its answer,"
    " a day later at the latest. Erase once more then, for what the answer left behind."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErasureReceipt:
    """What was erased, or would be."""

    erased: Erased
    workflows: int
    """Workflows that were asked to end; when only counting, those that may still run."""
    remains: tuple[str, ...]
    """What erasing here cannot reach, in sentences."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """Erases people: the database first, in one transaction, then their workflows."""

    store: ErasureStore
    workflows: EnrollmentWorkflows

    async def erase(
        self,
        user_id: UUID,
        *,
        by: By,
        dry_run: bool = False,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> ErasureReceipt:
        """Erase a person and end their workflows. Safe to repeat.

        Args:
            user_id: Whom.
            by: Who, and why, for the audit log.
            dry_run: Only count.
            on_progress: Called with how many workflows, of how many, have been asked to end.

        Raises:
            UserNotFoundError: If there is no such person, and never was.
            InvalidInputError: If the reason is too long.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was erased.
            TemporalUnavailableError: If Temporal is away; the database is erased and nothing is
                sent. Repeat the call, so that the workflows end.
        """
        erased = await self.store.erase(user_id, by=by, dry_run=dry_run)
        workflows = len(erased.sessions)
        if not dry_run:
            workflows = await self._cancel(user_id, erased.sessions, on_progress)
        in_flight = (IN_FLIGHT,) if erased.in_flight else ()
        return ErasureReceipt(erased=erased, workflows=workflows, remains=(*in_flight, *REMAINS))

    async def _cancel(
        self,
        user_id: UUID,
        sessions: tuple[UUID, ...],
        on_progress: Callable[[int, int], None],
    ) -> int:
        """Ask the person's workflows to end; how many there were."""
        asked = 0

        async def one(session_id: UUID) -> bool:
            nonlocal asked
            was_running = await self.workflows.cancel(session_id, user_id, StatusReason.UNENROLLED)
            asked += 1
            on_progress(asked, len(sessions))
            return was_running

        return sum(await fan_out(one, sessions))
