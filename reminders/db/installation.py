"""Which installation this is, and what of the stored work is its own: see `sql.belongs_here`.

An installation's id is a row, so a copy of its database has it as well. Beside it stands which
database the row was in when a process first looked: server and object id, which a replica that
takes over shares, and a restored dump, or a copy on the same server, does not. A copy of a server's
files cannot be told from the original; docs/operations.md says what to do there.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy import text

from reminders.db.engine import Database
from reminders.domain.errors import (
    AnotherInstallationError,
    DatabaseRefusedError,
    DatabaseUnavailableError,
)
from reminders.domain.ports import Destination

logger = logging.getLogger(__name__)


def here(destination: Destination) -> dict[str, Any]:
    """The parameters of `belongs_here`."""
    return {"delivery_mode": destination.mode, "sink": destination.sink}


MEMO = "installation"
"""Under this key every workflow that is started carries the id."""

_UNKNOWN = "?"
"""Stands for the server where its identifier may not be read."""
_LOOK = text("""
SELECT i.id, i.database AS noted, d.oid::text AS oid,
       current_setting('transaction_read_only') = 'on' AS takes_no_writes,
       coalesce(has_function_privilege(
           to_regprocedure('pg_catalog.pg_control_system()')::oid, 'EXECUTE'), false) AS tells
  FROM reminder_installation i, pg_catalog.pg_database d
 WHERE d.datname = current_database()
""")
_SERVER = text("SELECT system_identifier::text FROM pg_catalog.pg_control_system()")
_NOTE = text("UPDATE reminder_installation SET database = :found WHERE database IS NULL")
_MOVED = text("UPDATE reminder_installation SET database = :found RETURNING id")
_NEW = text("""
UPDATE reminder_installation SET database = :found, id = gen_random_uuid() RETURNING id
""")


class Installation:
    """The identity of what shares one database: made with its schema, and changed on purpose only.

    Workflows carry it in their memo, which distinguishes those of a copy from the original's.
    """

    def __init__(self, database: Database) -> None:
        """Ask this database, once."""
        self._database = database
        self._id: UUID | None = None

    async def id(self) -> UUID:
        """The id, which says nothing about anybody.

        Raises:
            AnotherInstallationError: If the database is not the one that it was; says the remedies.
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        if self._id is None:
            known, noted, found = await self._look()
            if noted is not None and not _same(noted, found):
                msg = (
                    f"installation {known} was in another database than this one; if it was moved"
                    " or restored and the other is gone, run `reminders installation moved`; if"
                    " this is a copy, run `reminders installation new`"
                )
                raise AnotherInstallationError(msg)
            self._id = known
        return self._id

    async def moved(self) -> UUID:
        """Take this database for the installation's own from now on; its id, which stays."""
        return await self._settled(_MOVED)

    async def renewed(self) -> UUID:
        """Make this an installation of its own; its new id.

        What the old one has frozen is never posted from here.
        """
        return await self._settled(_NEW)

    async def _settled(self, statement: Any) -> UUID:  # noqa: ANN401 - text
        _, _, found = await self._look()
        self._id = await self._write(statement, found)
        return self._id

    async def _write(self, statement: Any, found: str) -> Any:  # noqa: ANN401 - text; UUID or none
        async with self._database.transaction() as connection:
            written = await connection.execute(statement, {"found": found})
            return written.scalar_one() if written.returns_rows else None

    async def _look(self) -> tuple[UUID, str | None, str]:
        """The id, in which database it was first seen, which is noted now, and in which it is."""
        row = await self._database.row(_LOOK)
        if row is None:
            msg = "reminder_installation is empty; run `reminders db upgrade` on an empty database"
            raise AnotherInstallationError(msg)
        server = None
        if row["tells"]:
            with suppress(DatabaseRefusedError):
                server = await self._database.scalar(_SERVER)
        found = f"{server or _UNKNOWN}/{row['oid']}"
        if row["noted"] is None and not row["takes_no_writes"]:
            # Whoever may not write it down, or not now, leaves that to others.
            with suppress(DatabaseRefusedError, DatabaseUnavailableError):
                await self._write(_NOTE, found)
        return row["id"], row["noted"], found


def _same(noted: str, found: str) -> bool:
    """Whether two descriptions are of one database, as far as both say."""
    pairs = zip(noted.split("/"), found.split("/"), strict=False)
    return all(one == other or _UNKNOWN in (one, other) for one, other in pairs)
