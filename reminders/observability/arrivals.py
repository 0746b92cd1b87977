"""How long accepted e-mails take to arrive, for Prometheus, as the provider's events tell it."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram

from reminders.domain.model import WebhookRefusal

_TOOK = (1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 14400, 86400)
"""Seconds; most take a few, and a server that asks for patience gets hours."""
_UNSIGNED = "unsigned"
"""What bears no signature of the provider's kind: anybody may call."""


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
        self._refused = Counter(
            "reminders_webhooks_refused",
            "Webhooks that were not taken in, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in (*WebhookRefusal, _UNSIGNED):
            self._refused.labels(reason=reason)

    def refused(self, why: WebhookRefusal | None) -> None:
        """A webhook was not taken in; absent is one that the provider cannot have sent."""
        self._refused.labels(reason=why or _UNSIGNED).inc()

    def delivered(self, took: timedelta) -> None:
        """An e-mail was delivered so long after it had been accepted."""
        self._took.observe(max(took.total_seconds(), 0))
