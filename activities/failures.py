"""Turns our errors into Temporal's, in one place; the domain never imports `temporalio`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from reminders.errors import (
    MailNotConfiguredError,
    MailQuotaExceededError,
    ReminderError,
    RetryDeliveryError,
    ServiceUnavailableError,
)

logger = logging.getLogger(__name__)

_LONGEST_WAIT = timedelta(minutes=5)
"""Even while the provider's quota is used up we look again this often: it may have been raised."""
_OPERATOR_WAIT = timedelta(seconds=60)
"""While only an operator can help, every reminder asks this often whether one has."""

_EXPECTED = (
    RetryDeliveryError,
    MailQuotaExceededError,
    MailNotConfiguredError,
    ServiceUnavailableError,
)
"""What happens in a healthy system too: no stack trace, no failure metric."""


@contextmanager
def as_application_errors(
    *, final: tuple[type[ReminderError], ...] | None = None
) -> Iterator[None]:
    """Let errors leave an activity as Temporal's, without their causes.

    Histories are readable by many, and the message of a foreign error can quote anything, an
    address included: only the class name of an unexpected one crosses.

    Args:
        final: After these alone the activity is not tried again; absent leaves it to each error.
    """
    try:
        yield
    except ReminderError as error:
        retryable = error.retryable if final is None else not isinstance(error, final)
        raise application_error(error, retryable=retryable) from None
    except ApplicationError:
        raise
    except Exception as error:
        logger.exception("an activity failed unexpectedly")
        message = "unexpected error; the worker's log has the traceback"
        raise ApplicationError(message, type=type(error).__name__) from None


def application_error(error: ReminderError, *, retryable: bool | None = None) -> ApplicationError:
    """The error as Temporal is to see it.

    Its type is the class name: workflows and operators match on it, so class names are wire names.

    Args:
        error: What went wrong.
        retryable: Whether the activity is tried again; absent means as the error says.
    """
    expected = isinstance(error, _EXPECTED)
    return ApplicationError(
        str(error),
        type=type(error).__name__,
        non_retryable=not (error.retryable if retryable is None else retryable),
        next_retry_delay=_retry_delay(error),
        category=(
            ApplicationErrorCategory.BENIGN if expected else ApplicationErrorCategory.UNSPECIFIED
        ),
    )


def _retry_delay(error: ReminderError) -> timedelta | None:
    """What the error knows about the next attempt; `None` leaves it to the retry policy."""
    if isinstance(error, MailQuotaExceededError):
        until_reset = error.resets_at - datetime.now(UTC)
        return min(max(until_reset, timedelta(seconds=1)), _LONGEST_WAIT)
    if isinstance(error, MailNotConfiguredError):
        return _OPERATOR_WAIT
    if isinstance(error, RetryDeliveryError):
        return error.retry_after
    return None
