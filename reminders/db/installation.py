"""Which installation this is, and what of the stored work is its own: see `sql.belongs_here`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select

from reminders.db.engine import Database
from reminders.db.tables import InstallationRow
from reminders.domain.ports import Destination


def here(destination: Destination) -> dict[str, Any]:
    """The parameters of `belongs_here`."""
    return {"delivery_mode": destination.mode, "sink": destination.sink}


MEMO = "installation"
"""Under this key every workflow that is started carries the id."""


class Installation:
    """The identity of what shares one database: made with its schema, and never changed.

    Workflows carry it in their memo, which distinguishes those of a copy from the original's.
    """

    def __init__(self, database: Database) -> None:
        """Ask this database, once."""
        self._database = database
        self._id: UUID | None = None

    async def id(self) -> UUID:
        """The id, which says nothing about anybody.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        if self._id is None:
            async with self._database.autocommit() as connection:
                self._id = (await connection.scalars(select(InstallationRow.id))).one()
        return self._id

    async def memo(self) -> dict[str, str]:
        """What a workflow that is started carries.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        return {MEMO: str(await self.id())}
