"""The table of the two peers that poll one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import asyncpg

from bench.peers.mail import Mail

SCHEMA = """
CREATE TABLE reminders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recipient text NOT NULL,
    due_at timestamptz NOT NULL,
    sent_at timestamptz,
    leased_until timestamptz);
CREATE INDEX ON reminders (due_at) WHERE sent_at IS NULL;
"""


async def connected() -> Any:  # noqa: ANN401 - asyncpg has no annotations
    """A connection to the peer's own database."""
    return await asyncpg.connect(os.environ["DATABASE_URL"])


def enroll(mails: Sequence[Mail]) -> None:
    """Write the reminders down."""

    async def insert() -> None:
        connection = await connected()
        await connection.executemany(
            "INSERT INTO reminders (recipient, due_at) VALUES ($1, $2)",
            [(mail.to, mail.due_at) for mail in mails],
        )
        await connection.close()

    asyncio.run(insert())
