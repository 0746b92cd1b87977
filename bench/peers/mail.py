"""The work that every peer does: one e-mail a request, to the same stand-in for Resend."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

READY = "peer is ready"
"""What `work` prints as soon as reminders may be handed in."""

TIMEOUT_SECONDS = 10
AT_ONCE = 50
"""Requests that a peer may have under way; more than the provider ever answers in a second."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A reminder as a peer is handed it."""

    to: str
    due_at: datetime


def ready() -> None:
    """Tell who started us that reminders may be handed in."""
    print(READY, flush=True)


def client() -> httpx.Client:
    """A pool of connections to the stand-in."""
    return httpx.Client(**_options())


def async_client() -> httpx.AsyncClient:
    """The same for asyncio."""
    return httpx.AsyncClient(**_options())


def request(to: str) -> dict[str, Any]:
    """What is posted for one reminder, as keywords of `httpx.Client.post`.

    The idempotency key is the reminder's own, so that a repeated post is no second e-mail.
    """
    return {
        "url": "/emails",
        "json": message(to),
        "headers": {"Idempotency-Key": f"reminder/{to}"},
    }


def message(to: str) -> dict[str, Any]:
    """A short reminder."""
    return {
        "from": os.environ["EMAIL_FROM"],
        "to": [to],
        "subject": "Cardiology update starts in 30 minutes",
        "html": "<p>Cardiology update starts in 30 minutes.</p>" * 40,
        "text": "Cardiology update starts in 30 minutes.\n" * 20,
    }


def _options() -> Mapping[str, Any]:
    return {
        "base_url": os.environ["RESEND_API_URL"],
        "headers": {"Authorization": f"Bearer {os.environ['RESEND_API_KEY']}"},
        "limits": httpx.Limits(max_connections=AT_ONCE),
        "timeout": TIMEOUT_SECONDS,
        "trust_env": False,
    }
