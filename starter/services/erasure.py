"""Erases a person: the database first, in one transaction, then their workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from reminders.db.erasure import Erased, ErasureStore
from reminders.domain.model import StatusReason
from starter.services.enrollments import FAN_OUT, EnrollmentWorkflows

REMAINS = (
    "Temporal keeps the histories of ended workflows for the namespace's retention; they hold ids only.",
    "The provider keeps what it sent, with addresses, as its own retention says; ask it to delete that.",
    "Backups and logs of PostgreSQL hold what they held, until they expire.",
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


class Erasure:
    """Erases people."""

    def __init__(self, *, store: ErasureStore, workflows: EnrollmentWorkflows) -> None:
        """Use these.

        Args:
            store: Erases from the database.
            workflows: Of the enrollments.
        """
        self._store = store
        self._workflows = workflows

    async def erase(
        self,
        user_id: UUID,
        *,
        actor: str,
        reason: str | None = None,
        dry_run: bool = False,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> ErasureReceipt:
        """Erase a person and end their workflows. Safe to repeat.

        Args:
            user_id: Whom.
            actor: Who does it, for the audit log.
            reason: Why, for the audit log.
            dry_run: Only count.
            on_progress: Called with how many enrollments, of how many, have been told.

        Raises:
            UserNotFoundError: If there is no such person, and never was.
            InvalidInputError: If the reason is too long.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was erased.
            TemporalUnavailableError: If Temporal is away; the database is erased and nothing is
                sent. Repeat the call, so that the workflows end.
        """
        erased = await self._store.erase(user_id, actor=actor, reason=reason, dry_run=dry_run)
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
        slots, told = asyncio.Semaphore(FAN_OUT), 0

        async def one(session_id: UUID) -> bool:
            nonlocal told
            async with slots:
                was_running = await self._workflows.cancel(
                    session_id, user_id, StatusReason.UNENROLLED
                )
            told += 1
            on_progress(told, len(sessions))
            return was_running

        return sum(await asyncio.gather(*(one(session_id) for session_id in sessions)))
