"""The ASGI application: the API with its keys, limits and faults; the inbox and `/_/` beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from devstack.provider.emails import BATCH_PATH, Emails
from devstack.provider.exchange import (
    Answer,
    ApiError,
    Call,
    DisconnectedError,
    DroppedError,
    ProviderOptions,
    error_answer,
    read_call,
    send_answer,
)
from devstack.provider.faults import Faults
from devstack.provider.inbox import Inbox
from devstack.provider.limits import Quotas, RateWindow, Traffic
from devstack.provider.observation import Observation
from devstack.provider.store import Store
from devstack.provider.webhooks import Post, Webhooks
from reminders.clock import SystemClock

_NO_USER_AGENT = Answer(
    403, b"error code: 1010", b"text/plain; charset=UTF-8", name="error code: 1010"
)
"""What the edge answers to a request without a User-Agent; it is not Resend's JSON."""

_log = logging.getLogger(__name__)

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
        now: Callable[[], datetime] = _CLOCK.now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        post: Post | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            options: How it behaves.
            file: Where it keeps what it accepted; in memory if absent.
            now: The clock.
            sleep: How it waits, in seconds.
            post: How it posts webhooks.
        """
        options = options or ProviderOptions()
        self.store = Store(file)
        faults, traffic = Faults(), Traffic()
        quotas = Quotas(options.daily_quota, accepted_since=self.store.recipients_since)
        self.webhooks = Webhooks(self.store, faults, options, now=now, post=post)
        emails = Emails(self.store, quotas, self.webhooks, options, now)
        self._api = Api(emails, faults, options, RateWindow(options.rate), traffic, now, sleep)
        observation = Observation(self.store, quotas, traffic, self.webhooks, faults)
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
            answer = await self._api.answer(await read_call(scope, receive))
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


@dataclass(frozen=True, slots=True)
class Api:
    """Answers API requests."""

    emails: Emails
    faults: Faults
    options: ProviderOptions
    window: RateWindow
    traffic: Traffic
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]

    async def answer(self, call: Call) -> Answer:
        """The answer to a request, noted in the traffic.

        Raises:
            DroppedError: If an injected fault keeps the answer back.
        """
        now = self.now()
        try:
            reply = await self._answer(call, now)
        except DroppedError as dropped:
            self.traffic.note(call, dropped, began_at=now, ended_at=self.now())
            raise
        self.traffic.note(call, reply, began_at=now, ended_at=self.now())
        return reply

    async def _answer(self, call: Call, now: datetime) -> Answer:
        if not call.header(b"user-agent"):
            return _NO_USER_AGENT
        try:
            self._authenticate(call)
            self._admit(now)
            # Before anything can wait: the headers are about this request's own second.
            headers = self.window.headers(now)
            answer = await self._befallen(call)
        except ApiError as error:
            answer = error_answer(error)
            headers = self.window.headers(now)
        except DroppedError:
            raise
        except Exception:  # noqa: BLE001 - a bug in here must look like one of Resend's
            _log.exception("the stand-in failed at %s %s", call.method, call.path)
            answer = error_answer(ApiError(500, "application_error", "An unexpected error."))
            headers = self.window.headers(now)
        answer.headers += headers
        answer.headers += self.emails.quotas.headers(now)
        return answer

    def _authenticate(self, call: Call) -> None:
        """Refuse a request whose key is not the team's.

        Raises:
            ApiError: 401 without a key, 403 with a wrong one.
        """
        scheme, _, key = (call.header(b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ApiError(401, "missing_api_key", "Missing API Key")
        known = self.options.api_keys
        if not (key in known if known else key.startswith("re_")):
            raise ApiError(403, "invalid_api_key", "API key is invalid")

    def _admit(self, now: datetime) -> None:
        """Count the request; refuse it when this second has had all of its own.

        Raises:
            ApiError: 429.
        """
        if not self.window.take(now):
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"Too many requests. You can only make {self.options.rate} requests per second.",
                headers=((b"retry-after", b"1"),),
            )

    async def _befallen(self, call: Call) -> Answer:
        """Route the request through what the faults in force do to it."""
        delay, fault = self.faults.draw(call.path, call.body)
        delay += self.options.latency
        if fault is None:
            return await self._route(call, delay)
        accepted = Answer(200, b"")
        if fault.accept or fault.kind == "drop_after_accept":
            accepted = await self._route(call, delay)
        else:
            await self._wait(delay)
        if fault.kind != "status":
            raise DroppedError(hang=fault.hang)
        answer = fault.answer()
        answer.emails = accepted.emails
        return answer

    async def _route(self, call: Call, delay: timedelta) -> Answer:
        path, method = call.path, call.method
        if method == "POST" and path in ("/emails", BATCH_PATH):
            return await self.emails.send(call, lambda: self._wait(delay))
        await self._wait(delay)
        if path == "/usage" and method == "GET":
            return self.emails.usage()
        email_id = path.removeprefix("/emails/")
        is_one = email_id != path and "/" not in email_id
        if is_one and method == "GET":
            return self.emails.read(email_id)
        if is_one or path in ("/emails", "/usage"):
            raise ApiError(
                405, "method_not_allowed", "Method is not allowed for the requested path."
            )
        raise ApiError(404, "not_found", "The requested endpoint does not exist.")

    async def _wait(self, delay: timedelta) -> None:
        if delay:
            await self.sleep(delay.total_seconds())
