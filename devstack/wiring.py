"""What connects the parts of a local stack: ports, and a database of this release's schema."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from devstack.ports import free_ports, is_free
from devstack.process import EmbeddedServerError
from reminders.db import migrate
from reminders.db.engine import Database

PORTS_TRIED = 100
"""How far from an expected port a free one is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Where the parts listen; by default where people expect them."""

    api: int = 8000
    """Uvicorn's and everybody's."""
    temporal: int = 7233
    temporal_ui: int = 8233
    inbox: int = 8025
    """Where MailHog and its successors have theirs."""

    @classmethod
    def fixed(cls) -> Self:
        """The expected ones, or the next free one after each.

        Raises:
            EmbeddedServerError: If there is none far and wide.
        """
        expected = cls()
        return cls(
            api=_next_free(expected.api),
            temporal=_next_free(expected.temporal),
            temporal_ui=_next_free(expected.temporal_ui),
            inbox=_next_free(expected.inbox),
        )

    @classmethod
    def free(cls) -> Self:
        """Any that are free."""
        api, temporal, temporal_ui, inbox = free_ports(4)
        return cls(api=api, temporal=temporal, temporal_ui=temporal_ui, inbox=inbox)


def migrate_database(url: str) -> None:
    """Bring a database to the schema of this release.

    Args:
        url: Of the database.
    """

    async def upgrade() -> None:
        database = Database(url)
        try:
            await migrate.upgrade(database)
        finally:
            await database.aclose()

    # In a thread, because the caller may have an event loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, upgrade()).result()


def _next_free(port: int) -> int:
    """The port, or the first free one after it.

    Raises:
        EmbeddedServerError: If there is none far and wide.
    """
    for candidate in range(port, port + PORTS_TRIED):
        if is_free(candidate):
            return candidate
    message = f"the ports {port} to {port + PORTS_TRIED - 1} are all taken"
    raise EmbeddedServerError(message)
