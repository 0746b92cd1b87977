"""What the stand-in can be told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

RETRY_SCHEDULE = tuple(timedelta(seconds=s) for s in (0.2, 1, 2, 5, 10, 30, 60))
"""Waits between attempts at a webhook: as many as Resend's (5 s to 10 h), but compressed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderOptions:
    """How the stand-in behaves; the defaults are Resend's where it has any."""

    rate: int = 10
    """Requests a second for the whole team; 0 means unlimited."""
    latency: timedelta = timedelta(milliseconds=20)
    """How long each API request takes at least."""
    daily_quota: int | None = None
    """Recipients a UTC day; `None` is a paid plan, which has no daily quota."""
    monthly_quota: int | None = None
    """Recipients a UTC month."""
    api_keys: tuple[str, ...] = ()
    """Keys with full access; with none at all, every key that starts with `re_` is accepted."""
    sending_keys: tuple[str, ...] = ()
    """Keys that may only send."""
    allow_example: bool = False
    """Accept `@example.com` and `@test.com`, which Resend refuses."""
    webhook_url: str | None = None
    """Where events are posted; `None` keeps them."""
    webhook_secret: str | None = None
    """`whsec_` and base64; signs the events."""
    webhook_retries: tuple[timedelta, ...] = RETRY_SCHEDULE
    """Waits before the second, third, ... attempt; then the event is given up."""
    seed: int | None = None
    """Makes the faults' probabilities repeatable."""
