"""The API as an application: put together here, for uvicorn, tests and hosts."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import Depends, FastAPI

from reminders import settings as environment
from reminders.db import url as database_url
from reminders.domain.errors import ConfigurationError, DatabaseRefusedError
from reminders.observability import logs, metrics, tracing
from reminders.observability.metrics import ArrivalMetrics, a_registry
from reminders.observability.scrape import Scrape, Source
from reminders.settings import Settings
from reminders.temporal import SDK_EXIT_SECONDS
from starter.admin import router as admin
from starter.api import (
    auth,
    enrollments,
    mails,
    openapi,
    operation,
    people,
    reminders,
    reports,
    rules,
    serving,
    sessions,
    webhook,
)
from starter.api import errors as problems
from starter.api.middleware import (
    BodyLimit,
    HeadLikeGet,
    Measure,
    OneBudget,
    OwnPagesOnly,
    SecurityHeaders,
    WellFormedHost,
)
from starter.api.reading import route_path, well_formed
from starter.assembly import Parts, assembled
from starter.attendee import router as attendee
from starter.attendee.pages import Pages
from starter.health import boot, examiner, probes
from starter.services.mails import Mails, branding

logger = logging.getLogger(__name__)

_LARGEST_BODY = 64 * 1024
"""Bytes; the longest session with notes fits several times."""
_ROUTERS = (
    sessions.router,
    people.router,
    enrollments.router,
    reminders.router,
    rules.router,
    mails.router,
    reports.router,
    operation.router,
    operation.delivery,
    probes.router,
    webhook.router,
    attendee.router,
)
_INTRODUCTION = """\
Put a session and a user, enroll the user, and everything else follows by itself: each reminder goes out on time, once,
and a move, a cancel or an opt-out reaches whatever still waits.

1. `PUT /v1/sessions/{session_id}` and `PUT /v1/users/{user_id}` store what reminders say and to whom.
2. `POST /v1/enrollments` plans the reminders and answers with them.
3. The same `PUT` with another `start_time` or `status` changes them for everybody; `DELETE /v1/enrollments/...` ends one.
4. `GET /v1/enrollments/...` says of each reminder what became of it, and why.

Every call is safe to repeat: after a 503 or a time-out, do so; nothing is done twice. Ids are UUIDs, and yours. Instants have a UTC offset.
Errors are problem documents (RFC 9457): `type` is stable, `detail` says what to do. With `API_KEYS` set, every call
below `/v1` needs `Authorization: Bearer` and one of them.
"""
_TAGS = {
    "sessions": "What takes place, and when.",
    "users": "Whom to remind, where, and of what not.",
    "enrollments": "Who takes part in what: this starts and ends reminders.",
    "reminders": "What was sent, what will be, and what to send again.",
    "reminder configurations": "The rules: how long before the start, and with which subject.",
    "e-mails": "What an e-mail looks like, before anybody gets it.",
    "operators": "Lists and searches, as the admin pages have them.",
    "sweeps": "What puts right whatever was not told to us, and what ran.",
    "delivery": "Whether e-mails go out at the moment.",
    "probes": "For what watches over the processes.",
    "webhooks": "For the provider.",
    "attendees": "What links in e-mails open.",
}
"""In the order of `/docs`: that of their use."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; starts whether or not PostgreSQL and Temporal are up.

    Args:
        settings: Of this process; read from the environment when left out, so that
            `uvicorn --factory starter.app:create_app` works.

    Raises:
        ConfigurationError: If a setting is missing or cannot be used.
        InvalidInputError: If `DATABASE_URL` cannot be used.
    """
    settings = settings or environment.load()
    database_url.read(settings.require_database_url())
    # Here, and not where it is served: others serve it by `uvicorn --factory`.
    logging.getLogger("uvicorn.access").addFilter(attendee.REDACT)
    traced = tracing.start(settings.otel_exporter_otlp_endpoint, service="reminders-api")
    registry = a_registry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if traced is not None:
                stack.push_async_callback(traced.aclose)
            plugins = [traced.plugin()] if traced else []
            parts = await stack.enter_async_context(assembled(settings, plugins=plugins))
            app.state.parts = parts
            app.state.gateway = parts.gateway
            app.state.scrape = Scrape(registry, _sources(parts))
            yield

    app = FastAPI(
        title="Session reminders",
        summary="Reminds every enrolled person of every session, on time and once.",
        description=_INTRODUCTION,
        openapi_tags=[{"name": tag, "description": what} for tag, what in _TAGS.items()],
        version=version("session-reminders"),
        lifespan=lifespan,
        docs_url=None,  # ours needs no other host
        redoc_url=None,
        redirect_slashes=False,
        openapi_url=None,  # ours is a route like the others
        dependencies=[Depends(well_formed)],
        telemetry={
            "tracer_provider": traced.provider if traced else None,
            "tracing": traced is not None,
            # Paths elsewhere hold tokens; and what FastAPI logs and measures holds more than ids.
            "exclude": lambda scope: not route_path(scope).startswith("/v1/"),
            "operation_spans": False,
            "logs": False,
            "metrics": False,
            "auto_configure": False,
        },
    )
    app.state.settings = settings
    app.state.arrivals = ArrivalMetrics(registry)
    app.state.pages = Pages(
        settings.email_locale, brand=branding(settings), templates=settings.email_templates_dir
    )
    app.state.mails = Mails(settings)
    problems.install(app)
    auth.install(app, settings)
    app.add_middleware(
        BodyLimit,
        largest=_LARGEST_BODY,
        elsewhere={
            webhook.PATH: webhook.LARGEST_BODY,
            enrollments.MANY_PATH: enrollments.LARGEST_BODY,
        },
    )
    if not settings.api_keys:
        # A signature, or the token in the path, says there who may.
        app.add_middleware(OwnPagesOnly, but=(webhook.PATH, attendee.STOP))
    app.add_middleware(WellFormedHost)
    app.add_middleware(OneBudget)
    app.add_middleware(HeadLikeGet)
    app.add_middleware(Measure, registry=registry)
    app.add_middleware(SecurityHeaders)
    for router in _ROUTERS:
        app.router.routes += router.routes
    admin.install(app, settings)
    openapi.install(app)
    return app


def _sources(parts: Parts) -> dict[str, Source]:
    """How things stand, for a scrape."""
    return {
        "ledger": partial(metrics.ledger, parts.ledger),
        "sweeps": partial(metrics.last_sweep, parts.sweeps.last_completed_at),
        "checks": partial(examiner.measured, parts.examiner),
    }


def run(settings: Settings) -> None:
    """Serve the API on `API_ADDRESS` until it is asked to stop.

    Raises:
        ConfigurationError: If a setting is missing or cannot be used, the address is taken, or the
            schema lacks something.
        InvalidInputError: If `DATABASE_URL` cannot be used.
    """
    host, port = settings.listen_on()
    logs.configure(settings.log_format, settings.log_level)
    app = create_app(settings)
    listener = serving.listener("API_ADDRESS", host, port)
    logger.info("API on %s, documentation at /docs", serving.url(listener))
    with listener:
        server = serving.Server(app, settings.forwarded_allow_ips)
        asyncio.run(_serve(settings, server, listener))


async def _serve(settings: Settings, server: serving.Server, listener: socket.socket) -> None:
    # What cannot be used: one line now, instead of a traceback from the lifespan.
    async with assembled(settings) as parts:
        try:
            await boot.refuse_old_schema(parts.database)
        except DatabaseRefusedError as error:
            logger.warning("the schema could not be looked at: %s", error)
    await server.serve(sockets=[listener])
    await asyncio.sleep(SDK_EXIT_SECONDS)
    if not server.started:
        msg = "the API could not start; the log says why"
        raise ConfigurationError(msg)
