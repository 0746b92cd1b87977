"""Turns our errors into Temporal's, in one place; the domain never imports `temporalio`."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import monotonic

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from reminders.domain.delivery_errors import (
    MailBlockedError,
    MailNotConfiguredError,
    MailQuotaExceededError,
    RetryDeliveryError,
)
from reminders.domain.errors import ReminderError, ServiceUnavailableError

logger = logging.getLogger(__name__)

_LONGEST_WAIT = timedelta(minutes=5)
"""Even while the provider's quota is used up we look again this often: it may have been raised."""
_OPERATOR_WAITS = (timedelta(seconds=2), timedelta(seconds=60))
"""First it is asked soon whether another worker fares better, in the end once a minute whether an
operator has acted."""
_LONGEST_ASKED = timedelta(minutes=2)
"""Longer than anything of ours asks for."""
_PART = 0.1
"""Of the time in which it is still useful to try, none is waited longer than this."""
_SHORTEST = timedelta(seconds=1)
_POLICY = (timedelta(seconds=1), timedelta(seconds=30))
"""What the workflow's retry policy waits first, and at the most."""

_EXPECTED = (
    RetryDeliveryError,
    MailQuotaExceededError,
    MailNotConfiguredError,
    MailBlockedError,
    ServiceUnavailableError,
)
"""What happens in a healthy system too: no stack trace, no failure metric."""


@contextmanager
def as_application_errors(
    *,
    final: tuple[type[ReminderError], ...] | None = None,
    useful_until: datetime | None = None,
) -> Iterator[None]:
    """Let errors leave an activity as Temporal's, without their causes.

    Histories are readable by many, and the message of a foreign error can quote anything, an
    address included: only the class name of an unexpected one crosses.

    Args:
        final: After these alone the activity is not tried again; absent leaves it to each error.
        useful_until: After this no attempt helps; the next one comes well before.
    """
    began = monotonic()
    try:
        yield
    except ReminderError as error:
        info = activity.info()
        # An attempt may have begun minutes before its reminder was due.
        now = info.started_time + timedelta(seconds=monotonic() - began)
        raise application_error(
            error,
            now=now,
            attempt=info.attempt,
            useful_for=None if useful_until is None else useful_until - now,
            retryable=None if final is None else not isinstance(error, final),
        ) from None
    except ApplicationError:
        raise
    except Exception as error:
        logger.exception("an activity failed unexpectedly")
        message = "unexpected error; the worker's log has the traceback"
        raise ApplicationError(message, type=type(error).__name__) from None


def application_error(
    error: ReminderError,
    *,
    now: datetime,
    attempt: int = 1,
    useful_for: timedelta | None = None,
    retryable: bool | None = None,
) -> ApplicationError:
    """The error as Temporal is to see it.

    Its type is the class name: workflows and operators match on it, so class names are wire names.

    Args:
        error: What went wrong.
        now: By Temporal's clock, roughly.
        attempt: Of the activity, from 1.
        useful_for: How long an attempt helps, by Temporal's clock; absent means always.
        retryable: Whether the activity is tried again; absent means as the error says.
    """
    expected = isinstance(error, _EXPECTED)
    return ApplicationError(
        str(error),
        type=type(error).__name__,
        non_retryable=not (error.retryable if retryable is None else retryable),
        next_retry_delay=_retry_delay(error, now, attempt, useful_for),
        category=(
            ApplicationErrorCategory.BENIGN if expected else ApplicationErrorCategory.UNSPECIFIED
        ),
    )


def _retry_delay(
    error: ReminderError, now: datetime, attempt: int, useful_for: timedelta | None
) -> timedelta | None:
    """What is known about the next attempt; `None` leaves it to the retry policy.

    Bounded, whoever asks for it: by minutes, and by a part of the time that is left. What asks may
    be one odd answer, and one odd worker; the next attempt may meet another.
    """
    asked = _asked(error, now, attempt)
    if useful_for is None:
        return asked
    first, longest = _POLICY
    delay = asked or min(first * 2.0 ** min(attempt - 1, 10), longest)
    bound = max(useful_for * _PART, _SHORTEST)
    return bound if delay > bound else asked


def _asked(error: ReminderError, now: datetime, attempt: int) -> timedelta | None:
    if isinstance(error, MailQuotaExceededError):
        until_reset = error.resets_at - now
        return min(max(until_reset, _SHORTEST), _LONGEST_WAIT)
    if isinstance(error, (MailNotConfiguredError, MailBlockedError)):
        soonest, longest = _OPERATOR_WAITS
        # Spread, so that a crowd does not come back as one.
        backoff = min(soonest * 2.0 ** min(attempt - 1, 10), longest) * random.uniform(0.5, 1)  # noqa: S311 - no secret
        return min(max(backoff, error.retry_after or _SHORTEST), longest)
    if isinstance(error, RetryDeliveryError) and error.retry_after is not None:
        return min(error.retry_after, _LONGEST_ASKED)
    return None
