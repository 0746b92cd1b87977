"""The small HTTP server of a worker: `/metrics` for Prometheus, `/healthz` for orchestrators."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reminders.domain.errors import ConfigurationError
from reminders.observability.listening import listen
from reminders.observability.scrape import Scrape

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 2


@asynccontextmanager
async def serving(
    host: str, port: int, *, scrape: Scrape, alive: Callable[[], bool]
) -> AsyncIterator[int]:
    """Serve until the end of the block.

    Args:
        host: To listen on.
        port: 0 is any free one.
        scrape: Answers `/metrics`.
        alive: Whether the worker does its work; else `/healthz` is a 503.

    Yields:
        The port.

    Raises:
        ConfigurationError: If the address cannot be listened on.
    """

    async def metrics(_request: Request) -> Response:
        return await scrape.response()

    async def healthz(_request: Request) -> Response:
        if alive():
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "the worker has stopped"}, status_code=503)

    try:
        listener = listen(host, port)
    except OSError as error:
        msg = (
            f"METRICS_ADDRESS {host}:{port} cannot be listened on: {error.strerror};"
            " give each worker of a machine its own port, or 0 for any"
        )
        raise ConfigurationError(msg) from error
    app = Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz)])
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    with listener:
        bound: int = listener.getsockname()[1]
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        logger.info("metrics on http://%s:%d/metrics", f"[{host}]" if ":" in host else host, bound)
        try:
            yield bound
        finally:
            server.should_exit = True
            await serve


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
