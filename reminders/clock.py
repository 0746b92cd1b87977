"""The wall clock, for whoever is handed a `Clock`; workflows use `workflow.now()`.

Only `activities.failures` reads the time by itself: how long until a quota resets.
"""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)
