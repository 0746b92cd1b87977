"""What Resend's answers mean, in the words of `reminders.domain.errors`.

**Who is meant by a refusal.** Only Resend's own words can say that it is *us*: our key, sender,
domain or URL, so that no other request would fare better. Its other words are about the request at
hand. A refusal that is not in Resend's words comes from something in between, which may look at
what is in a request, and is never held against the others.

Source:
    The error table of Resend's API reference (api-reference/errors) and its rate-limit page; names
    of errors the page no longer lists are judged by their HTTP status.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from reminders.domain.delivery_errors import (
    DeliveryError,
    MailBlockedError,
    MailNotConfiguredError,
    MailOutcomeUnknownError,
    MailQuotaExceededError,
    MailRateLimitedError,
    MailRejectedError,
    MailUnavailableError,
)
from reminders.mail.plain_text import one_line

LONGEST_WAIT = timedelta(minutes=1)
"""A longer `retry-after` than this is not believed, except for a quota."""
LONGEST_MESSAGE = 300
"""Code points; messages ride in histories."""

_A_SECOND = timedelta(seconds=1)
"""Resend's rate limit is counted in windows of one second."""
_QUOTA_WAITS = (timedelta(minutes=1), timedelta(days=31))
"""Bounds of a quota's `retry-after`: on every answer that header also speaks of the rate limit."""

_ABOUT_US = {
    (HTTPStatus.FORBIDDEN, "validation_error"),  # sender or domain; a bad field is a 400 or 422
    # This adapter knows one path and one verb: if Resend does not, the base URL is wrong.
    (HTTPStatus.NOT_FOUND, "not_found"),
    (HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed"),
}
_NAMES_US = re.compile(r"(?:^|_)(?:key|permission|account|from|sender|domain)(?:_|$)")
_KEY_OF_THE_REQUEST = "invalid_idempotency_key"
_SPEAKS_OF_SENDER = re.compile(
    r"[^`'\"@]*(?:`from`|\b(?:invalid|missing) from\b)"
    r"|The \S{1,255} domain is not verified\b|You can only send testing emails\b",
    re.IGNORECASE,
)
"""By the first field that is named, or how it begins; what follows may quote the request."""
_OF_THE_REQUEST = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""With another status, and a name that is not known, it may be either."""
_OF_THE_MOMENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
"""Refusals by a proxy, which say nothing about the request."""

_QUOTAS = ("daily_quota_exceeded", "monthly_quota_exceeded")
_PRIVATE = re.compile(r"[^\s<>\"(),;:\[\]@]{1,64}@[\w.-]{1,255}|\b(?:re|whsec)_\w+")
"""E-mail addresses and keys."""


def refusal(
    status: int, name: str, message: str, headers: Mapping[str, str], *, now: datetime
) -> DeliveryError:
    """The error for an answer that is not a success.

    Args:
        status: HTTP status, 300 to 599.
        name: Resend's name of the error; empty for an answer that is not Resend's JSON.
        message: Resend's explanation, or what the answer was instead.
        headers: Of the answer, in any case.
        now: The present instant; aware.
    """
    who = f"Resend answered {status} {name}" if name else f"{status}, not in Resend's words"
    said = safe_message(f"{who}: {message}")
    wait = retry_after(headers, now=now)
    error: DeliveryError
    if status == HTTPStatus.TOO_MANY_REQUESTS and name in _QUOTAS:
        error = MailQuotaExceededError(said, resets_at=_resets_at(name, wait, now=now))
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        error = MailRateLimitedError(said, retry_after=_bounded(wait or _reset(headers)))
    elif status == HTTPStatus.CONFLICT and name == "invalid_idempotent_request":
        error = MailOutcomeUnknownError(said)
    elif status == HTTPStatus.CONFLICT:
        # Another request under this key is still running, or has just ended.
        error = MailUnavailableError(said, outcome_unknown=True, retry_after=_bounded(wait))
    elif status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _OF_THE_MOMENT:
        error = _final(status, name, message)(said)
    else:
        later = None if wait is None else _bounded(wait)
        error = MailUnavailableError(said, outcome_unknown=True, retry_after=later)
    return error


def speaks_of_sender(message: str) -> bool:
    """Whether the provider's words about an e-mail are about its sender, which all have in common."""
    return _SPEAKS_OF_SENDER.match(message) is not None


def _final(status: int, name: str, message: str) -> type[DeliveryError]:
    """Whether it is us, the request, or something in between."""
    if not name or status < HTTPStatus.BAD_REQUEST:
        return MailBlockedError
    names_us = name != _KEY_OF_THE_REQUEST and _NAMES_US.search(name) is not None
    if (
        names_us
        or status == HTTPStatus.UNAUTHORIZED
        or (status, name) in _ABOUT_US
        or speaks_of_sender(message)
    ):
        return MailNotConfiguredError
    return MailRejectedError if status in _OF_THE_REQUEST else MailBlockedError


def retry_after(headers: Mapping[str, str], *, now: datetime) -> timedelta | None:
    """How long `retry-after` asks to wait: seconds or an HTTP date; never negative.

    Source:
        RFC 9110 §10.2.3.
    """
    value = _header(headers, "retry-after")
    if (seconds := _seconds(value)) is not None:
        return seconds
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:  # "-0000": UTC without saying where
        at = at.replace(tzinfo=UTC)
    return max(at - now, timedelta())


def safe_message(text: str) -> str:
    """The provider's words on one line, bounded, without addresses and keys."""
    return one_line(_PRIVATE.sub("***", text[: 10 * LONGEST_MESSAGE]), LONGEST_MESSAGE)


def _resets_at(name: str, wait: timedelta | None, *, now: datetime) -> datetime:
    """When a quota is renewed: as told, else at the next midnight or month in UTC."""
    if wait is not None:
        shortest, longest = _QUOTA_WAITS
        return now + min(max(wait, shortest), longest)
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if name == "daily_quota_exceeded":
        return today + timedelta(days=1)
    return (today.replace(day=1) + timedelta(days=32)).replace(day=1)


def _reset(headers: Mapping[str, str]) -> timedelta | None:
    """The end of the rate limit's window, from `ratelimit-reset`."""
    return _seconds(_header(headers, "ratelimit-reset"))


def _bounded(wait: timedelta | None) -> timedelta:
    """At least a second, at most a minute."""
    return min(max(wait or _A_SECOND, _A_SECOND), LONGEST_WAIT)


def _seconds(value: str) -> timedelta | None:
    """A number of seconds, if it is one; bounded by a year, so that it fits."""
    try:
        number = float(value)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return timedelta(seconds=min(max(number, 0), 366 * 86_400))


def _header(headers: Mapping[str, str], name: str) -> str:
    """A header's value, whatever the case of its name; empty if it is absent."""
    return next((value for key, value in headers.items() if key.lower() == name), "").strip()
