"""The design that is replaced: a job polls, and sends ten, and waits two seconds, and so on.

Four tries for each e-mail, then it is left for the next poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import httpx

from bench.peers import rows
from bench.peers.mail import client, ready, request

BATCH = 10
BETWEEN_BATCHES_SECONDS = 2.0
TRIES = 4
FIRST_BACKOFF_SECONDS = 1.0
POLL_SECONDS = "900"
"""Every 15 minutes, unless PEER_POLL_SECONDS says otherwise."""

enroll = rows.enroll


def work() -> None:
    """Poll until killed."""
    asyncio.run(_work(float(os.environ.get("PEER_POLL_SECONDS", POLL_SECONDS))))


async def _work(poll_seconds: float) -> None:
    connection = await rows.connected()
    await connection.execute(rows.SCHEMA)
    ready()
    with client() as resend:
        while True:
            due = await connection.fetch(
                "SELECT id, recipient FROM reminders"
                " WHERE sent_at IS NULL AND due_at <= now() ORDER BY id"
            )
            for start in range(0, len(due), BATCH):
                for row in due[start : start + BATCH]:
                    with contextlib.suppress(httpx.HTTPError):
                        _send(resend, row["recipient"])
                        await connection.execute(
                            "UPDATE reminders SET sent_at = now() WHERE id = $1", row["id"]
                        )
                time.sleep(BETWEEN_BATCHES_SECONDS)  # noqa: ASYNC251 - there is nothing else to do
            time.sleep(poll_seconds)  # noqa: ASYNC251


def _send(resend: httpx.Client, to: str) -> None:
    for attempt in range(1, TRIES + 1):
        try:
            resend.post(**request(to)).raise_for_status()
        except httpx.HTTPError:
            if attempt == TRIES:
                raise
            time.sleep(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1))
        else:
            return
