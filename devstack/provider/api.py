"""The API: who may call, how often, what goes wrong on purpose, and the routes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from devstack.provider.exchange import (
    Answer,
    ApiError,
    Call,
    DroppedError,
    error_answer,
)
from devstack.provider.faults import Fault, Faults
from devstack.provider.instants import micros
from devstack.provider.limits import Quotas, RateWindow
from devstack.provider.options import ProviderOptions
from devstack.provider.reading import one_email, usage
from devstack.provider.sending import BATCH_PATH, Sending
from devstack.provider.store import Store
from devstack.provider.traffic import Traffic
from devstack.provider.webhooks import Webhooks

_NO_USER_AGENT = Answer(
    403, b"error code: 1010", b"text/plain; charset=UTF-8", name="error code: 1010"
)
"""What the edge answers to a request without a User-Agent; it is not Resend's JSON."""

_log = logging.getLogger(__name__)


class Api:
    """Answers API requests."""

    def __init__(
        self,
        store: Store,
        webhooks: Webhooks,
        faults: Faults,
        options: ProviderOptions,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Take the parts it puts together."""
        self.quotas = Quotas(
            options.daily_quota, options.monthly_quota, accepted_since=store.recipients_since
        )
        self.traffic = Traffic()
        self._store = store
        self._faults = faults
        self._options = options
        self._full = frozenset(options.api_keys)
        self._restricted = frozenset(options.sending_keys)
        self._window = RateWindow(options.rate)
        self._sending = Sending(store, self.quotas, webhooks, options, now=now)
        self._now = now
        self._sleep = sleep

    async def answer(self, call: Call) -> Answer:
        """The answer to a request, noted in the traffic.

        Raises:
            DroppedError: If an injected fault keeps the answer back.
        """
        now = self._now()
        at = micros(now)
        try:
            reply = await self._answer(call, now)
        except DroppedError as dropped:
            self.traffic.note(call, dropped, at=at, microseconds=micros(self._now()) - at)
            raise
        self.traffic.note(call, reply, at=at, microseconds=micros(self._now()) - at)
        return reply

    async def _answer(self, call: Call, now: datetime) -> Answer:
        if not call.header(b"user-agent"):
            return _NO_USER_AGENT
        try:
            restricted = self._authenticate(call)
            self._admit(now)
            # Before anything can wait: the headers tell of this request's own second.
            headers = self._window.headers(now)
            answer = await self._befallen(call, restricted=restricted)
        except ApiError as error:
            answer = error_answer(error)
            headers = self._window.headers(now)
        except DroppedError:
            raise
        except Exception:  # noqa: BLE001 - a bug in here must look like one of Resend's
            _log.exception("the stand-in failed at %s %s", call.method, call.path)
            answer = error_answer(ApiError(500, "application_error", "An unexpected error."))
            headers = self._window.headers(now)
        answer.headers += headers
        answer.headers += self.quotas.headers(now)
        return answer

    def _authenticate(self, call: Call) -> bool:
        """Whether the key may only send.

        Raises:
            ApiError: 401 without a key, 403 with a wrong one.
        """
        scheme, _, key = (call.header(b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ApiError(401, "missing_api_key", "Missing API Key")
        if key in self._restricted:
            return True
        anything_goes = not self._full and not self._restricted and key.startswith("re_")
        if key not in self._full and not anything_goes:
            raise ApiError(403, "invalid_api_key", "API key is invalid")
        return False

    def _admit(self, now: datetime) -> None:
        """Count the request; refuse it when this second has had all of its own.

        Raises:
            ApiError: 429.
        """
        if not self._window.take(now):
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"Too many requests. You can only make {self._options.rate} requests per second.",
                headers=((b"retry-after", b"1"),),
            )

    async def _befallen(self, call: Call, *, restricted: bool) -> Answer:
        """Route the request through what the faults in force do to it."""
        misfortune = self._faults.draw(call.method, call.path, call.body)
        delay = self._options.latency
        if misfortune is None or misfortune.fault is None:
            if misfortune is not None:
                delay += misfortune.delay
            return await self._route(call, delay, restricted=restricted)
        fault = misfortune.fault
        delay += misfortune.delay
        if fault.kind == "drop_before_accept":
            await self._wait(delay)
            raise DroppedError(hang=fault.hang)
        if fault.kind == "drop_after_accept":
            await self._route(call, delay, restricted=restricted)
            raise DroppedError(hang=fault.hang)
        return await self._fail(call, fault, delay, restricted=restricted)

    async def _fail(
        self, call: Call, fault: Fault, delay: timedelta, *, restricted: bool
    ) -> Answer:
        if not fault.accept:
            await self._wait(delay)
            return fault.answer()
        accepted = await self._route(call, delay, restricted=restricted)
        answer = fault.answer()
        answer.emails = accepted.emails
        return answer

    async def _route(self, call: Call, delay: timedelta, *, restricted: bool) -> Answer:
        path, method = call.path, call.method
        if method == "POST" and path in ("/emails", BATCH_PATH):
            return await self._sending.send(call, lambda: self._wait(delay))
        await self._wait(delay)
        if path == "/usage" and method == "GET":
            # Open to every key (account-usage-api).
            return usage(self.quotas, self._options.rate, self._now())
        if restricted:
            raise ApiError(
                401, "restricted_api_key", "This API key is restricted to only send emails"
            )
        email_id = path.removeprefix("/emails/")
        is_one = email_id != path and "/" not in email_id
        known = path in ("/emails", "/usage") or is_one
        if known and not (is_one and method == "GET"):
            raise ApiError(
                405, "method_not_allowed", "Method is not allowed for the requested path."
            )
        if not known:
            raise ApiError(404, "not_found", "The requested endpoint does not exist.")
        return one_email(self._store, email_id)

    async def _wait(self, delay: timedelta) -> None:
        if delay:
            await self._sleep(delay.total_seconds())
