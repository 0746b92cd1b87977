"""How long accepted e-mails take to arrive, for Prometheus, as the provider's events tell it."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import CollectorRegistry, Histogram

_TOOK = (1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 14400, 86400)
"""Seconds; most take a few, and a server that asks for patience gets hours."""


class ArrivalMetrics:
    """Counts deliveries, for one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register, at zero."""
        self._took = Histogram(
            "reminders_delivery_seconds",
            "From the provider's acceptance of an e-mail to its delivery, as its events tell.",
            buckets=_TOOK,
            registry=registry,
        )

    def delivered(self, took: timedelta) -> None:
        """An e-mail was delivered so long after it had been accepted."""
        self._took.observe(max(took.total_seconds(), 0))
