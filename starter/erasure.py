"""Erases a person: the database first, in one transaction, then their workflows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

from reminders.db.erasure import Erased, ErasureStore
from reminders.model import StatusReason
from starter.enrollments import FAN_OUT, EnrollmentWorkflows

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

    async def erase(self, user_id: UUID, *, actor: str, dry_run: bool = False) -> ErasureReceipt:
        """Erase a person and end their workflows. Safe to repeat.

        Raises:
            UserNotFoundError: If there is no such person, and never was.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was erased.
            TemporalUnavailableError: If Temporal is away; the database is erased and nothing is
                sent. Repeat the call, so that the workflows end.
        """
        erased = await self._store.erase(user_id, actor=actor, dry_run=dry_run)
        workflows = len(erased.sessions)
        if not dry_run:
            workflows = await self._cancel(user_id, erased.sessions)
        in_flight = (IN_FLIGHT,) if erased.in_flight else ()
        return ErasureReceipt(erased=erased, workflows=workflows, remains=(*in_flight, *REMAINS))

    async def _cancel(self, user_id: UUID, sessions: tuple[UUID, ...]) -> int:
        """Ask the person's workflows to end; how many there were."""
        slots = asyncio.Semaphore(FAN_OUT)

        async def one(session_id: UUID) -> bool:
            async with slots:
                return await self._workflows.cancel_enrollment(
                    session_id, user_id, StatusReason.UNENROLLED
                )

        return sum(await asyncio.gather(*(one(session_id) for session_id in sessions)))
