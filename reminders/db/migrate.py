"""Brings a database to the schema of this release. Alembic's migrations are its only source.

In existing mode three views over the platform's relations come on top: they follow from what these
look like, and are made anew each time.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from reminders.db import existing_platform
from reminders.db.engine import Database
from reminders.domain.errors import DatabaseUnavailableError

VERSION_TABLE = "session_reminders_version"
_LOCK = 0x5E5510
"""Advisory lock: of several processes that upgrade at once, one does and the others wait."""


_IMPATIENT = text("SET LOCAL lock_timeout = '3s'")
"""Behind somebody who reads for long, such as a dump, all who write would wait as long as we do."""


_TRIES = 20
_PAUSE = timedelta(seconds=3)
"""So that those who had to wait behind us come first."""


async def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate up to a revision; safe to run again, and by several processes at once.

    Raises:
        ConfigurationError: If an existing platform's relations cannot be read; nothing was done.
        DatabaseUnavailableError: If PostgreSQL is away, or somebody else has read what is to be
            changed for two minutes; nothing was done.
    """
    async with database.patient() as patient:
        for left in reversed(range(_TRIES)):
            try:
                await _upgrade(patient, revision)
            except DatabaseUnavailableError as error:
                if not left or not _had_to_wait(error):
                    raise
                await asyncio.sleep(_PAUSE.total_seconds())
            else:
                return


def _had_to_wait(error: BaseException | None) -> bool:
    """Whether a lock was not to be had in time."""
    while error is not None and getattr(error, "sqlstate", None) != "55P03":
        error = error.__cause__ or error.__context__
    return error is not None


async def _upgrade(database: Database, revision: str) -> None:
    host_schema = database.host_schema
    async with database.transaction() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        await connection.execute(_IMPATIENT)
        columns = await existing_platform.prepare(connection, host_schema) if host_schema else {}
        await connection.run_sync(_run, command.upgrade, revision, host_schema)
        if host_schema:
            await existing_platform.make_views(connection, host_schema, columns)


async def downgrade(database: Database, revision: str) -> None:
    """Migrate down to a revision; data of what goes is lost."""
    async with database.transaction() as connection:
        await connection.execute(_IMPATIENT)
        await connection.run_sync(_run, command.downgrade, revision, database.host_schema)


async def current(database: Database) -> str | None:
    """The database's revision; `None` if it was never migrated."""
    async with database.transaction() as connection:
        return await connection.run_sync(_current)


def head() -> str:
    """The revision that this release needs."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        msg = "the package contains no migrations"
        raise RuntimeError(msg)
    return newest


def lacks(revision: str | None) -> bool:
    """Whether a database at this revision lacks something that this release needs.

    A revision that is not known here comes from a later release: the schema is migrated before
    the processes are replaced, and the old ones go on meanwhile.
    """
    if revision is None:
        return True
    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    return revision in known and revision != scripts.get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("reminders.db") / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _run(connection: Connection, verb: object, revision: str, host_schema: str | None) -> None:
    config = _config()
    config.attributes["connection"] = connection
    config.attributes["host_schema"] = host_schema
    verb(config, revision)  # type: ignore[operator]  # alembic.command has no common type


def _current(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()
