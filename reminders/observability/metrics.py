"""What a process counts and how things stand, for Prometheus: names, labels and buckets.

How things stand is read when somebody scrapes, not kept up to date.

No label holds anything of a person or a session: all come from closed vocabularies, and each of
their values is there from the start, so that an alert on the first failure sees it rise from zero.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily

from reminders.domain.delivery_errors import (
    DeliveryError,
    MailBlockedError,
    MailNotConfiguredError,
    MailOutcomeUnknownError,
    MailQuotaExceededError,
    MailRateLimitedError,
    MailRejectedError,
    MailUnavailableError,
)
from reminders.domain.model import ReminderStatus, StatusReason, WebhookRefusal
from reminders.domain.upkeep import LedgerReader, LedgerState

_LAG = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds; a reminder is due to the second and overdue after a minute."""
_SIZES = (1, 2, 5, 10, 20, 50, 75, 99, 100)
"""E-mails in one request; 100 is the provider's limit."""
_LATENCY = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10)
"""Seconds; a request is given up after ten."""

_KINDS: dict[type[DeliveryError], str] = {
    MailRateLimitedError: "rate_limited",
    MailUnavailableError: "unavailable",
    MailQuotaExceededError: "quota",
    MailNotConfiguredError: "misconfigured",
    MailBlockedError: "blocked",
    MailRejectedError: "rejected",
    MailOutcomeUnknownError: "outcome_unknown",
}
"""What the provider's refusals are called in the label `kind`."""
_OTHER = "other"


def a_registry() -> CollectorRegistry:
    """For what one process counts; without creation times, which would double every series."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # not annotated by its library
    return CollectorRegistry()


class DeliveryMetrics:
    """`DeliveryObserver` that counts, for one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._due = Counter(
            "reminders_due", "Reminders taken on because they were due.", registry=registry
        )
        self._sent = Counter(
            "reminders_sent", "Reminders that the provider accepted.", registry=registry
        )
        self._ended = {
            status: Counter(
                f"reminders_{status}",
                f"Reminders that ended as {status}, by reason.",
                ["reason"],
                registry=registry,
            )
            for status in (ReminderStatus.FAILED, ReminderStatus.SKIPPED, ReminderStatus.CANCELLED)
        }
        self._lag = Histogram(
            "reminders_lag_seconds",
            "From a reminder's due instant until the provider had accepted it.",
            buckets=_LAG,
            registry=registry,
        )
        self._batch_size = Histogram(
            "reminders_batch_size",
            "E-mails in one request to the provider.",
            buckets=_SIZES,
            registry=registry,
        )
        self._latency = Histogram(
            "reminders_provider_request_seconds",
            "How long a request to the provider took, whatever it answered.",
            buckets=_LATENCY,
            registry=registry,
        )
        self._errors = Counter(
            "reminders_provider_errors",
            "Requests that the provider refused or did not answer, by kind.",
            ["kind"],
            registry=registry,
        )
        self._refused = Gauge(
            "reminders_sender_refused",
            "1 while the provider refuses this worker's key or sender.",
            registry=registry,
        )
        for counter in self._ended.values():
            for reason in StatusReason:
                counter.labels(reason=reason.value)
        for kind in (*_KINDS.values(), _OTHER):
            self._errors.labels(kind=kind)

    def gathered(self, count: int) -> None:
        """See `DeliveryObserver.gathered`."""
        self._due.inc(count)

    def frozen(self, count: int) -> None:
        """See `DeliveryObserver.frozen`."""
        self._batch_size.observe(count)

    @contextmanager
    def requesting(self) -> Iterator[None]:
        """See `DeliveryObserver.requesting`."""
        started = monotonic()
        try:
            yield
            self._refused.set(0)
        except Exception as error:
            if isinstance(error, MailNotConfiguredError):
                self._refused.set(1)
            kind = next((name for cls, name in _KINDS.items() if isinstance(error, cls)), _OTHER)
            self._errors.labels(kind=kind).inc()
            raise
        finally:
            self._latency.observe(monotonic() - started)

    def accepted(self, lag: timedelta) -> None:
        """See `DeliveryObserver.accepted`."""
        self._lag.observe(max(lag.total_seconds(), 0))

    def ended(self, status: ReminderStatus, reason: StatusReason | None, count: int = 1) -> None:
        """See `DeliveryObserver.ended`."""
        if status.is_accepted:
            self._sent.inc(count)
        elif (counter := self._ended.get(status)) is not None:
            counter.labels(reason=reason.value if reason else _OTHER).inc(count)


_TOOK = (1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 14400, 86400)
"""Seconds; most take a few, and a server that asks for patience gets hours."""
_UNSIGNED = "unsigned"
"""What bears no signature of the provider's kind: anybody may call."""


class ArrivalMetrics:
    """Counts deliveries, for one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
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


HOLDS = (StatusReason.QUOTA, StatusReason.MISCONFIGURED)
"""Why delivery can be held."""


async def ledger(reader: LedgerReader) -> Sequence[Metric]:
    """How the ledger stands, the same from every process: take the maximum, not the sum.

    Raises:
        DatabaseUnavailableError: If PostgreSQL is away.
    """
    return list(_ledger(await reader.state()))


def _ledger(state: LedgerState) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "reminders_overdue",
        "Reminders that still wait a minute after they were due.",
        value=state.overdue,
    )
    yield GaugeMetricFamily(
        "reminders_in_doubt",
        "Reminders frozen for more than a minute in a request without an outcome.",
        value=state.in_doubt,
    )
    yield GaugeMetricFamily(
        "reminders_stranded",
        "Reminders in requests that are not posted from here: frozen under another delivery mode.",
        value=state.stranded,
    )
    yield GaugeMetricFamily(
        "reminders_undelivered",
        "E-mails of the last day, accepted 15 minutes ago or more, that have not arrived.",
        value=state.undelivered,
    )
    yield GaugeMetricFamily(
        "reminders_events_missing",
        "1 while e-mails are accepted and no webhook tells what becomes of them.",
        value=float(state.events_missing),
    )
    held = GaugeMetricFamily(
        "reminders_delivery_held",
        "1 while the provider takes nothing, by reason.",
        labels=["reason"],
    )
    for reason in HOLDS:
        held.add_metric(
            [reason.value], float(state.hold is not None and state.hold.reason is reason)
        )
    yield held
    used = GaugeMetricFamily(
        "reminders_quota_used", "E-mails used of the provider's quota.", labels=["quota"]
    )
    limit = GaugeMetricFamily(
        "reminders_quota_limit",
        "E-mails in the provider's quota; absent if unlimited.",
        labels=["quota"],
    )
    left = GaugeMetricFamily(
        "reminders_quota_left",
        "E-mails left of the provider's quota; absent if unlimited.",
        labels=["quota"],
    )
    for name, quota in state.quotas.items():
        used.add_metric([name], quota.used)
        if quota.limit is not None and quota.remaining is not None:
            limit.add_metric([name], quota.limit)
            left.add_metric([name], quota.remaining)
    yield from (used, limit, left)
    yield GaugeMetricFamily(
        "reminders_clock_skew_seconds",
        "PostgreSQL's clock minus this process's.",
        value=state.clock_skew.total_seconds(),
    )
    rows = GaugeMetricFamily(
        "reminders_ledger_rows",
        "Reminders due within a day of now, before or after, by status.",
        labels=["email_status"],
    )
    for status in ReminderStatus:
        rows.add_metric([status.value], state.rows.get(status, 0))
    yield rows


async def last_sweep(
    last_completed_at: Callable[[], Awaitable[datetime | None]],
) -> Sequence[Metric]:
    """When the last sweep was done; nothing if none ever was.

    Raises:
        TemporalUnavailableError: If Temporal is away.
    """
    completed_at = await last_completed_at()
    if completed_at is None:
        return []
    return [
        GaugeMetricFamily(
            "reminders_last_sweep_timestamp_seconds",
            "When the last sweep completed, in seconds since 1970.",
            value=completed_at.timestamp(),
        )
    ]
