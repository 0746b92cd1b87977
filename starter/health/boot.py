"""What a worker makes sure of before it polls, and what it refuses to start without."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta

from temporalio.client import Client  # noqa: TID251 - asks what is there, starts no workflow
from temporalio.service import RPCError, RPCStatusCode

from reminders import temporal
from reminders.db import migrate
from reminders.db.engine import Database
from reminders.domain.errors import ConfigurationError, DatabaseUnavailableError
from starter.assembly import Parts

logger = logging.getLogger(__name__)


_ASKED_AGAIN = timedelta(seconds=3)
"""How long a worker waits before it asks a database that is away once more."""


async def prepare(parts: Parts) -> None:
    """See that a worker can work: database, search attributes, Schedule. Safe to repeat.

    Args:
        parts: Assembled, with a client that is connected.

    Raises:
        ConfigurationError: If something is missing that this worker may not put in place, or the
            namespace is another installation's; says the remedy.
        DatabaseUnavailableError: If PostgreSQL is away: who this is cannot be known.
        TemporalUnavailableError: If Temporal does not answer.
    """
    await refuse_old_schema(parts.database)
    await ensure_search_attributes(parts.client)
    await claim(parts)


async def claim(parts: Parts) -> None:
    """Make the namespace ours by the sweep's Schedule; refuse to work in another installation's.

    A worker that may not change Schedules leaves them to `reminders temporal setup`.

    Raises:
        AnotherInstallationError: If the namespace, or the database, is another's.
        DatabaseUnavailableError: If PostgreSQL is away.
        TemporalUnavailableError: If Temporal does not answer.
    """
    config = parts.settings
    try:
        done = await parts.namespace.claim(config.sweep_cron, task_queue=config.temporal_task_queue)
    except RPCError as error:
        if error.status is not RPCStatusCode.PERMISSION_DENIED:
            raise
        await parts.namespace.memo()
        logger.warning("the sweep's Schedule is left as it is: this worker may not change it")
    else:
        logger.info("the sweep's Schedule: %s", done)


async def claim_when_known(parts: Parts, stop: asyncio.Event) -> None:
    """Claim the namespace as soon as PostgreSQL says who this is, or not at all if told to stop.

    Nothing can be delivered without PostgreSQL, so a worker that waits here costs nothing.

    Raises:
        AnotherInstallationError: If the namespace, or the database, is another's.
        ConfigurationError: If the schema lacks something.
        TemporalUnavailableError: If Temporal does not answer.
    """
    while True:
        try:
            await claim(parts)
        except DatabaseUnavailableError:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _ASKED_AGAIN.total_seconds())
        else:
            return
        if stop.is_set():
            return
        await refuse_old_schema(parts.database)


async def ensure_search_attributes(client: Client) -> None:
    """Register what is missing; refuse to start where that is not allowed and something is.

    Without its search attributes no workflow could be started.

    Raises:
        ConfigurationError: Names the missing ones and the remedy.
    """
    try:
        await temporal.ensure_search_attributes(client)
    except RPCError as error:
        if error.status is not RPCStatusCode.PERMISSION_DENIED:
            raise
        try:
            missing = await temporal.missing_search_attributes(client)
        except RPCError:
            logger.warning("search attributes are not known: this worker may not list them")
            return
        if missing:
            msg = (
                f"namespace {client.namespace} lacks the search attributes {', '.join(missing)},"
                " and this worker may not register them: run `reminders temporal setup` once as"
                " somebody who may"
            )
            raise ConfigurationError(msg) from error


async def refuse_old_schema(database: Database) -> None:
    """Refuse to start on a schema that lacks something; one that is away or newer is no reason.

    Raises:
        ConfigurationError: Names the revision and the remedy.
    """
    try:
        revision = await migrate.current(database)
    except DatabaseUnavailableError:
        logger.warning("PostgreSQL does not answer yet: what is due waits for it")
        return
    if migrate.lacks(revision):
        msg = (
            f"the schema is at {revision or 'nothing'}, this release needs {migrate.head()}:"
            " run `reminders db upgrade`"
        )
        raise ConfigurationError(msg)
