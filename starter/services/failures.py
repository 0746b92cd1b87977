"""What foreign errors mean to whoever asked: PostgreSQL's and Temporal's refusals in our words."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError
from temporalio.service import RPCError, RPCStatusCode

from reminders.db.failures import platforms_failure
from reminders.domain.errors import ConfigurationError, InvalidInputError, ReminderError

FOREIGN = (DBAPIError, RPCError)
"""Errors that may be expected; `understood` says."""

_UNSTORABLE = ("22000", "22003", "22021", "22P05")
"""A value that its column cannot hold: a number too large, text with NUL or half a character.

Whoever asks has their values looked at before; this is for the field that was forgotten."""

_LONGEST_REFUSAL = 200
"""How much of Temporal's own words is passed on, in characters."""


def understood(error: BaseException) -> ReminderError | None:
    """The error in the words of this project; `None` if it is a mistake in our program."""
    if isinstance(error, ReminderError):
        return error
    if isinstance(error, DBAPIError):
        if str(getattr(error.orig, "sqlstate", "")) in _UNSTORABLE:
            return InvalidInputError("has a value that cannot be stored", field="request")
        return platforms_failure(error)
    if isinstance(error, RPCError):
        words = str(error)[:_LONGEST_REFUSAL].rstrip(".")
        return ConfigurationError(
            f"Temporal refuses ({error.status.name}): {words}; {_remedy(error)}"
        )
    return None


def _remedy(error: RPCError) -> str:
    """What an operator has to do about Temporal's refusal."""
    if error.status is RPCStatusCode.NOT_FOUND and str(error).startswith("Namespace "):
        return "create it with `temporal operator namespace create`, or correct TEMPORAL_NAMESPACE"
    if error.status in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED):
        return "correct TEMPORAL_API_KEY or the certificate, or grant what they lack"
    return "see that TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE are what is meant"
