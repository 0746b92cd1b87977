"""The ASGI application: the API on its own paths, the inbox and `/_/` beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from devstack.provider.api import Api
from devstack.provider.exchange import (
    ApiError,
    DisconnectedError,
    DroppedError,
    error_answer,
    read_call,
    send_answer,
)
from devstack.provider.faults import Fault, Faults
from devstack.provider.inbox import Inbox
from devstack.provider.observation import Observation
from devstack.provider.options import ProviderOptions
from devstack.provider.posting import Post
from devstack.provider.store import Store
from devstack.provider.webhooks import Webhooks
from reminders.clock import SystemClock

_CLOCK = SystemClock()

_PAGES = ("/_/", "/inbox")
"""Paths of the stand-in itself; everything else is Resend's."""


class Provider:
    """The stand-in for Resend."""

    def __init__(
        self,
        options: ProviderOptions | None = None,
        *,
        file: Path | None = None,
        faults: Iterable[Fault] = (),
        now: Callable[[], datetime] = _CLOCK.now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        post: Post | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            options: How it behaves.
            file: Where it keeps what it accepted; in memory if absent.
            faults: In force from the start.
            now: The clock.
            sleep: How it waits, in seconds.
            post: How it posts webhooks.
        """
        options = options or ProviderOptions()
        self.store = Store(file)
        self.faults = Faults(faults, seed=options.seed)
        self.webhooks = Webhooks(
            self.store,
            self.faults,
            url=options.webhook_url,
            secret=options.webhook_secret,
            retries=options.webhook_retries,
            now=now,
            post=post,
        )
        self.api = Api(self.store, self.webhooks, self.faults, options, now=now, sleep=sleep)
        observation = Observation(self.store, self.api, self.webhooks, self.faults, now=now)
        self._pages = Starlette(
            routes=[*observation.routes(), *Inbox(self.store, now=now).routes()]
        )
        self._stopping = asyncio.Event()
        self._delivery: asyncio.Task[None] | None = None
        self.cut: Callable[[object], None] | None = None
        """Cuts the connection of a client address; the server that runs this knows how."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            path = scope["path"]
            if path == "/" or path.startswith(_PAGES):
                await self._pages(scope, receive, send)
            else:
                await self._serve(scope, receive, send)

    def stop(self) -> None:
        """Let go of requests that hang on purpose."""
        self._stopping.set()

    async def close(self) -> None:
        """Stop delivering webhooks and close the file."""
        self.stop()
        if self._delivery is not None:
            self._delivery.cancel()
            with suppress(asyncio.CancelledError):
                await self._delivery
        await self.webhooks.close()
        self.store.close()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self.api.answer(await read_call(scope, receive))
        except DisconnectedError:
            return
        except ApiError as error:
            answer = error_answer(error)
        except DroppedError as dropped:
            await self._drop(scope, receive, dropped)
            return
        await send_answer(send, answer)

    async def _drop(self, scope: Scope, receive: Receive, dropped: DroppedError) -> None:
        """Leave the client without an answer."""
        if not dropped.hang:
            if self.cut is None:
                # No server underneath that could do it: the caller has to see something.
                raise dropped
            self.cut(scope["client"])
        gone = asyncio.ensure_future(_disconnected(receive))
        stopping = asyncio.ensure_future(self._stopping.wait())
        _, pending = await asyncio.wait((gone, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if self._stopping.is_set() and self.cut is not None:
            self.cut(scope["client"])

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._delivery = asyncio.create_task(self.webhooks.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
