"""Erases a person: the database first, in one transaction, then their workflows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from reminders.db.audit import By
from reminders.db.erasure import Erased, ErasureStore
from reminders.domain.model import StatusReason
from reminders.fan_out import fan_out
from starter.services.enrollments import EnrollmentWorkflows

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
    """Erases people."""

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
