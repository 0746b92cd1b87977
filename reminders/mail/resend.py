"""Hands e-mails to Resend, through Resend's SDK, over one pool of connections.

**One request, one body, one key.** The body is frozen before its first attempt and every attempt
posts the same bytes under the same `Idempotency-Key`, so the provider accepts it once. The SDK
would encode the body itself; our HTTP client, which the SDK calls, posts the frozen bytes instead.

**The SDK's globals.** It reads key, base URL and HTTP client from module globals. Only the last is
set, once, to a client that holds nothing itself: it finds the connection pool, base URL, key and
body of the call it serves in a context variable. Context variables are per task, so concurrent
posts, and mailers with different keys, cannot take each other's; setting `resend.api_key` before
each call would be right only for as long as the SDK awaits nothing before reading it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

import httpx
import resend
from resend.exceptions import NoContentError, ResendError

from reminders.domain.delivery_errors import (
    DeliveryError,
    MailNotConfiguredError,
    MailUnavailableError,
)
from reminders.domain.errors import ConfigurationError
from reminders.domain.model import Message, ProviderEvent
from reminders.domain.pace import Pace, Usage
from reminders.domain.ports import Clock, Receipt, Refused
from reminders.mail import webhooks
from reminders.mail.resend_errors import refusal, safe_message, speaks_of_sender
from reminders.mail.resend_wire import encoded, receipts_of, usage_of

logger = logging.getLogger(__name__)

_LONGEST_KEY = 256
"""Characters of an idempotency key (Resend, idempotency-keys)."""
_POOL = 16
"""Connections: for what one worker has under way at once, and a few that ask."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""No connection was made, so nothing can have been accepted."""


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to believe, read once a process: it takes as long as a request."""
    return httpx.create_ssl_context()


class ResendMailer:
    """Posts batches to Resend; implements `reminders.domain.ports.Mailer`."""

    def __init__(
        self,
        *,
        api_key: str,
        clock: Clock,
        api_url: str = "https://api.resend.com",
        connect_timeout: timedelta = timedelta(seconds=5),
        total_timeout: timedelta = timedelta(seconds=10),
        pace: Pace | None = None,
    ) -> None:
        """Open the pool, inside the running loop; `aclose()` or `async with` closes it.

        Args:
            api_key: Resend's; kept out of every message.
            clock: Dates the renewal of a quota.
            api_url: Without a path of its own unless a proxy needs one.
            connect_timeout: For a connection, and for waiting for one of the pool.
            total_timeout: For the whole answer, however slowly it drips.
            pace: Told what Resend takes, which every answer says.

        Raises:
            ConfigurationError: If the key is unusable in a header or the URL is none.
            RuntimeError: If no event loop is running.
        """
        asyncio.get_running_loop()
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ConfigurationError(
                "the Resend API key is empty or has characters that no key has"
            )
        if not _is_web_address(api_url):
            raise ConfigurationError(
                "the Resend API URL must start with https:// (or http:// for a stand-in)"
            )
        self._api_key = api_key
        self._api_url = api_url.rstrip("/")
        self._clock = clock
        self._total_seconds = total_timeout.total_seconds()
        connect_seconds = connect_timeout.total_seconds()
        self._http = httpx.AsyncClient(
            verify=_certificates(),
            timeout=httpx.Timeout(
                self._total_seconds, connect=connect_seconds, pool=connect_seconds
            ),
            limits=httpx.Limits(
                max_connections=_POOL,
                max_keepalive_connections=_POOL,
                keepalive_expiry=30,  # seconds; spans the gaps between batches of one session
            ),
            event_hooks={"response": [self._hear]},
        )
        self._pace = pace
        resend.default_async_http_client = _FROZEN_BODY_CLIENT

    async def __aenter__(self) -> Self:
        """The mailer itself."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pool."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pool; posts still under way fail."""
        await self._http.aclose()

    async def _hear(self, answer: httpx.Response) -> None:
        """Note how many requests Resend takes in a second."""
        limit = answer.headers.get("ratelimit-limit", "")[:9]
        if self._pace is None or not limit.isdecimal() or int(limit) == 0:
            return
        if self._pace.learn(int(limit)):
            logger.info("Resend takes %s requests a second", limit)

    def encode(self, messages: Sequence[Message]) -> bytes:
        """The exact request body for these e-mails: compact JSON in UTF-8, in this order.

        Equal messages give equal bytes.

        Raises:
            ValueError: If there are none, or more than 100.
        """
        return encoded(messages)

    async def post(self, body: bytes, *, idempotency_key: str) -> tuple[Receipt, ...]:
        """Post a body once; no retries.

        May run twice with the same body and key: Resend accepts it once within 24 hours, and
        answers the second time as it did the first.

        Args:
            body: From `encode`.
            idempotency_key: 1 to 256 printable ASCII characters.

        Returns:
            One receipt for each e-mail of the body, in its order.

        Raises:
            MailRateLimitedError: Too fast; nothing was accepted.
            MailUnavailableError: No proper answer; `outcome_unknown` says whether it may be
                accepted.
            MailQuotaExceededError: Nothing was accepted until `resets_at`.
            MailNotConfiguredError: Key, sender, domain or URL refused; nothing was accepted.
            MailBlockedError: Something in between refused the request.
            MailRejectedError: The whole request is bad.
            MailOutcomeUnknownError: The key was used with another body.
            ValueError: If body or key are none of ours; nothing was posted.
        """
        if not (1 <= len(idempotency_key) <= _LONGEST_KEY) or not (
            idempotency_key.isascii() and idempotency_key.isprintable()
        ):
            raise ValueError("an idempotency key has 1 to 256 printable ASCII characters")
        emails: list[resend.Emails.SendParams] = json.loads(body)
        if not isinstance(emails, list) or not emails:
            raise ValueError("the body is no batch of e-mails")
        call = _Call(self._http, self._api_url, self._api_key, body)
        token = _CALL.set(call)
        try:
            async with asyncio.timeout(self._total_seconds):
                answer = await resend.Batch.send_async(
                    emails, {"idempotency_key": idempotency_key, "batch_validation": "permissive"}
                )
            receipts = receipts_of(cast("object", answer), len(emails))
        except _TransportError as error:
            raise MailUnavailableError(str(error), outcome_unknown=error.may_be_sent) from None
        except TimeoutError:
            raise MailUnavailableError(
                f"Resend did not answer within {self._total_seconds:g} s", outcome_unknown=True
            ) from None
        except ResendError as error:
            # Never chained: the SDK's message may quote an address, and histories keep the chain.
            raise self._refusal(error, call) from None
        except (NoContentError, ValueError, RecursionError) as error:
            # JSON, but not an answer: it came after the request had arrived.
            raise MailUnavailableError(
                f"Resend's answer cannot be understood ({type(error).__name__})",
                outcome_unknown=True,
            ) from None
        finally:
            _CALL.reset(token)
        refused = [r.message for r in receipts if isinstance(r, Refused)]
        if len(refused) == len(receipts) and any(map(speaks_of_sender, refused)):
            # All have one sender: refused for it, none of them is to blame.
            raise MailNotConfiguredError(f"Resend refused every e-mail: {refused[0]}") from None
        return receipts

    async def warm(self, connections: int) -> None:
        """See `Mailer.warm`. Asks for nothing, and without the key: it counts against no limit."""
        asked = (self._http.head(f"{self._api_url}/") for _ in range(min(connections, _POOL)))
        await asyncio.gather(*asked, return_exceptions=True)

    async def usage(self) -> Usage | None:
        """Resend's quotas; `None` if it does not say, as to a key that may only send.

        Costs one request of the rate limit. Never raises for what Resend answers.
        """
        token = _CALL.set(_Call(self._http, self._api_url, self._api_key, b""))
        try:
            async with asyncio.timeout(self._total_seconds):
                answer = await resend.Usage.get_async()
        except (ResendError, TimeoutError, NoContentError, ValueError, RecursionError):
            return None
        finally:
            _CALL.reset(token)
        return usage_of(cast("object", answer))

    async def told(self, email_id: str, reminder_id: UUID) -> ProviderEvent | None:
        """What became of an e-mail; `None` if nothing did yet, or Resend does not know it.

        Costs one request of the rate limit.

        Raises:
            MailNotConfiguredError: If the key may not ask.
            DeliveryError: If there is no answer this time.
        """
        call = _Call(self._http, self._api_url, self._api_key, b"")
        token = _CALL.set(call)
        try:
            async with asyncio.timeout(self._total_seconds):
                answer = await resend.Emails.get_async(email_id)
        except ResendError as error:
            if call.status == HTTPStatus.NOT_FOUND:
                return None
            raise self._refusal(error, call) from None
        except (TimeoutError, NoContentError, ValueError, RecursionError) as error:
            raise MailUnavailableError(
                f"Resend did not tell what became of an e-mail ({type(error).__name__})",
                outcome_unknown=False,
            ) from None
        finally:
            _CALL.reset(token)
        now = self._clock.now()
        return webhooks.answered(answer, email_id=email_id, reminder_id=reminder_id, now=now)

    def _refusal(self, error: ResendError, call: _Call) -> DeliveryError:
        """What the SDK's error means.

        Its `code` is not the HTTP status when the answer was no JSON; ours is.
        """
        if call.status is None or call.status < HTTPStatus.MULTIPLE_CHOICES:
            # A success that cannot be read, or a failure inside the SDK: both may be accepted.
            message = safe_message(f"Resend's answer cannot be understood: {error.message}")
            return MailUnavailableError(message, outcome_unknown=True)
        name = str(error.error_type) if _is_resends(call.content) else ""
        now = self._clock.now()
        return refusal(call.status, name, str(error.message), call.headers, now=now)


@dataclass(slots=True)
class _Call:
    """One post, as the SDK's HTTP client needs to know it."""

    http: httpx.AsyncClient
    api_url: str
    api_key: str
    body: bytes
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""


_CALL: ContextVar[_Call] = ContextVar("resend_call")


class _TransportError(ResendError):
    """No answer came; derived from the SDK's error because that one passes the SDK untouched."""

    def __init__(self, cause: httpx.RequestError) -> None:
        """Keep what is known, without the cause's message."""
        message = f"Resend cannot be reached ({type(cause).__name__})"
        super().__init__(
            code=0, error_type="TransportError", message=message, suggested_action="retry"
        )
        self.may_be_sent = not isinstance(cause, _NEVER_SENT)


class _FrozenBodyClient(resend.AsyncHTTPClient):
    """The SDK's HTTP client: posts the bytes of the current `_Call`, not what the SDK encoded."""

    async def request(  # noqa: PLR0917 -- the SDK's signature
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: dict[str, object] | list[object] | None = None,  # noqa: ARG002 -- see class
        files: dict[str, Any] | None = None,  # noqa: ARG002
        data: dict[str, str] | None = None,  # noqa: ARG002
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Post the frozen body, with the SDK's headers and this call's key and base URL.

        Raises:
            LookupError: If something else in this process uses the SDK's async API.
        """
        call = _CALL.get()
        path = url.removeprefix(resend.api_url).lstrip("/")
        try:
            response = await call.http.request(
                method,
                f"{call.api_url}/{path}",
                content=call.body,
                headers={
                    **headers,
                    "Authorization": f"Bearer {call.api_key}",
                    "Content-Type": "application/json",
                },
            )
        except httpx.RequestError as error:
            raise _TransportError(error) from None
        call.status, call.headers = response.status_code, response.headers
        call.content = response.content
        if response.is_redirect:
            # The SDK would take a redirect for a success; following one would resend the key.
            raise ResendError(
                code=response.status_code,
                error_type="redirect",
                message="the API URL has moved",
                suggested_action="correct the URL",
            )
        return response.content, response.status_code, response.headers


_FROZEN_BODY_CLIENT = _FrozenBodyClient()


def _is_resends(content: bytes) -> bool:
    """Whether an error is in Resend's words: JSON with a name and an explanation."""
    try:
        problem = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(problem, dict)
        and isinstance(problem.get("message"), str)
        and isinstance(problem.get("name"), str)
        and bool(problem["name"].strip())
    )


def _is_web_address(text: str) -> bool:
    """Whether the text is a URL with a host that httpx can post to."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)
