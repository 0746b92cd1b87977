"""What keeps the ledger in order and watches it needs, as capabilities; see `reminders.domain.ports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from reminders.domain.contracts import SweepKind
from reminders.domain.model import ReminderStatus
from reminders.domain.pace import Quota
from reminders.domain.ports import Enrollment, Hold


@dataclass(frozen=True, slots=True)
class Suspect:
    """An enrollment that may need a repair, and how soon."""

    session_id: UUID
    user_id: UUID
    urgent_at: datetime
    """When the first of its reminders concerned is due, aware; the most urgent come first."""

    @property
    def enrollment(self) -> Enrollment:
        """Whose."""
        return Enrollment(self.session_id, self.user_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPage:
    """Enrollments that may need a repair, the most urgent first, and where to go on."""

    suspects: Sequence[Enrollment]
    after: Suspect | None
    """The last one looked at; `None` when there are no further ones."""


class Reconciler(Protocol):
    """Brings ledger and workflows in line with what the platform's tables say. Sends nothing."""

    async def suspects(self, kind: SweepKind, *, after: Suspect | None, limit: int) -> SweepPage:
        """Look at a page of enrollments, the most urgent first."""

    async def repair(self, enrollment: Enrollment, kind: SweepKind) -> int | None:
        """Put one enrollment right; safe to repeat, and from several sweeps at once.

        Returns:
            How many reminders: planned, moved or closed, or waiting under a workflow started again.
            `None` if all was well by then: its workflow is working on it, or somebody was quicker.

        Raises:
            ServiceUnavailableError: If PostgreSQL or Temporal is away.
        """

    async def replan(self, session_id: UUID) -> None:
        """Have everybody planned anew who is enrolled in a session; it goes on by itself.

        Raises:
            TemporalUnavailableError: If Temporal is away.
        """

    async def in_doubt(self) -> int:
        """Reminders frozen for minutes in a request without an outcome; delivery resolves them."""


class Retention(Protocol):
    """Forgets what is only needed for a while."""

    async def forget(self) -> int:
        """Remove what is old enough, a bounded number at a time; safe to repeat.

        Returns:
            Rows removed.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerState:
    """How the ledger stands, in numbers."""

    overdue: int
    """Reminders that still wait a minute after they were due."""
    in_doubt: int
    """Reminders frozen for more than a minute in a request without an outcome."""
    stranded: int
    """Of these, however new: those in a request that is not posted, as it was made for another
    delivery mode, test address or installation."""
    destinations: int
    """How many kinds of recipients requests of the last ten minutes went to: attendees, or a tester."""
    hold: Hold | None
    """Set while the provider takes nothing."""
    quotas: Mapping[str, Quota]
    """By `daily` and `monthly`, as the provider last said; none if it does not say."""
    clock_skew: timedelta
    """PostgreSQL's clock minus this machine's: positive when ours is behind."""
    rows: Mapping[ReminderStatus, int]
    """Of reminders due within a day of now, before or after."""
    undelivered: int
    """E-mails of the last day, accepted more than 15 minutes ago and neither delivered nor ended."""
    events_missing: bool
    """Whether the provider should tell what becomes of e-mails, has accepted some, and tells nothing."""


class LedgerReader(Protocol):
    """Reads how the ledger stands."""

    async def state(self) -> LedgerState:
        """The numbers as they are now.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
