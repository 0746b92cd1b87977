"""What a worker makes sure of before it polls, and what it refuses to start without."""

from __future__ import annotations

import logging

from temporalio.client import Client  # noqa: TID251 - asks what is there, starts no workflow
from temporalio.service import RPCError, RPCStatusCode

from reminders import temporal
from reminders.db import migrate
from reminders.db.engine import Database
from reminders.domain.errors import ConfigurationError, DatabaseUnavailableError
from reminders.settings import Settings
from starter.assembly import Parts
from starter.services.sweeps import ensure_sweep_schedule

logger = logging.getLogger(__name__)


async def prepare(parts: Parts) -> None:
    """See that a worker can work: database, search attributes, Schedule. Safe to repeat.

    Args:
        parts: Assembled, with a client that is connected.

    Raises:
        ConfigurationError: If something is missing that this worker may not put in place; says the
            remedy.
        TemporalUnavailableError: If Temporal does not answer.
    """
    await refuse_old_schema(parts.database)
    await ensure_search_attributes(parts.client)
    await ensure_schedule(parts.settings, parts.client)


async def ensure_schedule(config: Settings, client: Client) -> None:
    """Create the sweep's Schedule, where a worker may; else `reminders temporal setup` does."""
    try:
        done = await ensure_sweep_schedule(
            client, config.sweep_cron, task_queue=config.temporal_task_queue
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.PERMISSION_DENIED:
            raise
        logger.warning("the sweep's Schedule is left as it is: this worker may not change it")
    else:
        logger.info("the sweep's Schedule: %s", done)


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
