"""Instants as the stand-in stores and prints them: whole microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z; exact, which a float would not be."""
    return (at - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """The aware UTC instant of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def rfc3339(us: int) -> str:
    """As webhooks and the observation routes write it: `2026-12-01T15:00:00.000001Z`."""
    return instant(us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def sql_style(us: int) -> str:
    """As the API's `created_at` has it: `2026-12-01 15:00:00.000001+00`, not quite ISO 8601."""
    return instant(us).isoformat(sep=" ", timespec="microseconds").removesuffix(":00")


def day_start(now: datetime) -> datetime:
    """Midnight UTC, when the daily quota was renewed."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def month_start(now: datetime) -> datetime:
    """The first of the month, midnight UTC, when the monthly quota was renewed."""
    return day_start(now).replace(day=1)


def next_month_start(now: datetime) -> datetime:
    """When the monthly quota is renewed."""
    return month_start(month_start(now) + timedelta(days=32))
