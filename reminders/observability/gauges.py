"""How things stand, for Prometheus: read when somebody scrapes, not kept up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from reminders.domain.model import ReminderStatus, StatusReason
from reminders.domain.upkeep import LedgerReader, LedgerState

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
