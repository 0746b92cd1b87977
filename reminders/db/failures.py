"""What failures of PostgreSQL, of poolers before it and of the driver mean: one table.

A failure is about the moment (`AGAIN`), about the server (`AWAY`), about something that an operator
has to mend (`OURS`), or about one value (`VALUE`). What is none of these is a mistake of our program.

| meaning | API | commands | worker and sweep |
| --- | --- | --- | --- |
| `AGAIN`, `AWAY` | 503, `Retry-After` | exit code 4 | tried again |
| `OURS` | 500 that says nothing, the remedy in the log | the remedy, exit code 1 | tried again |
| `VALUE` | as the caller's value or the platform's view deserves | the same | others go on |

Source:
    PostgreSQL, appendix A; the messages of PgBouncer, Supavisor, Neon's proxy and Odyssey.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from asyncpg import exceptions as driver
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from reminders.domain.errors import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    ReminderError,
)


class Meaning(StrEnum):
    """What is to be done about a failure."""

    AGAIN = "again"
    """It was rolled back so that others could go on, or spoke of a past: the same works at once."""
    AWAY = "away"
    """The server does not serve this at present; nobody of us has to act."""
    OURS = "ours"
    """Somebody has to act: a setting, a privilege, a schema, the platform's view."""
    VALUE = "value"
    """Some row, or what was asked for, holds what cannot be computed with; other rows can be read."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a kind of failure means."""

    meaning: Meaning
    words: str
    """What is the matter, for people."""
    remedy: str = "the same call may be repeated"
    spoils: bool = False
    """Whether this connection, and those that are as old, are not to be used again."""
    betrays_pooler: bool = False
    """Whether something kept for a session was gone: there is a pooler that nobody mentioned."""


_AGAIN, _AWAY, _OURS, _VALUE = Meaning.AGAIN, Meaning.AWAY, Meaning.OURS, Meaning.VALUE

_LOST = Failure(_AWAY, "PostgreSQL does not answer", spoils=True)
_FULL = Failure(_AWAY, "PostgreSQL, or a pooler before it, takes no more connections at present")
_NO_WRITES = Failure(_AWAY, "PostgreSQL takes no writes at present", spoils=True)
_OTHERS_FIRST = Failure(_AGAIN, "PostgreSQL let another transaction go first")
_CHANGED = Failure(_AGAIN, "the schema has changed meanwhile", spoils=True)
_FORGOTTEN = Failure(
    _AGAIN,
    "a pooler has given our connection to somebody else",
    spoils=True,
    betrays_pooler=True,
)
_BAD_STATE = Failure(_AGAIN, "a transaction had failed already", spoils=True)
_LOGIN = Failure(
    _OURS,
    "PostgreSQL refuses the user or password of DATABASE_URL",
    "correct the URL or pg_hba.conf",
)
_TLS = Failure(
    _OURS,
    "PostgreSQL's certificate is not trusted",
    "correct sslmode or sslrootcert in DATABASE_URL",
)
_NO_TLS = Failure(_OURS, "PostgreSQL has no TLS, and DATABASE_URL asks for it", "correct sslmode")
_NO_DATABASE = Failure(
    _OURS, "the database that DATABASE_URL names does not exist", "create it, or correct the URL"
)
_UPGRADE = "run `reminders db upgrade`"
_VIEW = Failure(
    _VALUE,
    "a view or function of the platform's fails",
    "mend it; `reminders db check` names the column",
)
_VIEW_FAILS = Failure(_OURS, _VIEW.words, _VIEW.remedy)

TABLE: Mapping[str, Failure] = {
    "08": _LOST,
    "0A": Failure(
        _OURS, "PostgreSQL cannot do what is asked", "see that it is version 15 or later"
    ),
    "21": _VIEW,
    "22": Failure(_VALUE, "a value cannot be computed with"),
    "23": Failure(_VALUE, "a value contradicts another"),
    "25": _VIEW_FAILS,
    "25006": _NO_WRITES,
    "25P02": _BAD_STATE,
    "25P03": _LOST,
    "25P04": Failure(_AWAY, "PostgreSQL ended a transaction that took too long", spoils=True),
    "26": _FORGOTTEN,
    "28": _LOGIN,
    "2F": _VIEW,
    "38": _VIEW,
    "39": _VIEW,
    "3D": _NO_DATABASE,
    "3F": Failure(_OURS, "the database lacks a schema", _UPGRADE),
    "40": _OTHERS_FIRST,
    "40003": _LOST,
    "42501": Failure(
        _OURS,
        "the user of DATABASE_URL lacks a privilege",
        "grant it: `reminders db check` says how",
    ),
    "42703": Failure(_OURS, "the database lacks a column of this release", _UPGRADE),
    "42883": Failure(_OURS, "the database lacks a function", _UPGRADE),
    "42P01": Failure(_OURS, "the database lacks a table of this release", _UPGRADE),
    "42P05": _FORGOTTEN,
    "53": _FULL,
    "53100": Failure(_AWAY, "PostgreSQL's disk is full"),
    "53200": Failure(_AWAY, "PostgreSQL is out of memory"),
    "54": _VIEW,
    "55": Failure(_AWAY, "PostgreSQL is not ready for this"),
    "55P03": _OTHERS_FIRST,
    "57": _LOST,
    "57014": Failure(_AWAY, "PostgreSQL gave up a statement that took too long"),
    "58": Failure(_AWAY, "PostgreSQL has trouble with its machine", spoils=True),
    "P0": _VIEW,
    "XX": Failure(_AWAY, "PostgreSQL, or a pooler before it, failed", spoils=True),
    "XX001": Failure(_OURS, "PostgreSQL's data is damaged", "restore it from a backup"),
    "XX002": Failure(_OURS, "an index of PostgreSQL's is damaged", "rebuild it: REINDEX"),
}
"""By SQLSTATE, or by its first two characters, the class; the longer one counts."""

_SPOKEN: tuple[tuple[str, Failure], ...] = (
    (
        r"unsupported startup parameter",
        Failure(
            _OURS,
            "a pooler refuses a parameter of DATABASE_URL",
            "leave it out, or add it to ignore_startup_parameters of PgBouncer",
        ),
    ),
    (r"no such database|database \S+ (is not|does not)", _NO_DATABASE),
    (
        r"no such user|not found|authentication (failed|error)|auth failed|(tls|ssl) required",
        _LOGIN,
    ),
    (r"prepared statement|bind message supplies|unnamed", _FORGOTTEN),
    (
        r"no more conn|max ?clients|too many|query_wait|check out|waiting to acquire|emaxconn|pool",
        Failure(_FULL.meaning, _FULL.words, spoils=True),
    ),
)
"""By what poolers say in words: they have few SQLSTATEs, `08P01` and `XX000` for almost everything."""
_POOLERS_OWN = ("08P01", "XX000", "58000")

_CLIENT: tuple[tuple[tuple[type[BaseException], ...], Failure], ...] = (
    ((driver.UnsupportedClientFeatureError, driver.UnsupportedServerFeatureError), _LOGIN),
    ((driver.OutdatedSchemaCacheError,), _CHANGED),
    (
        (driver.TargetServerAttributeNotMatched,),
        Failure(_AWAY, "no server of DATABASE_URL is what target_session_attrs asks for"),
    ),
    ((driver.InterfaceError, driver.InternalClientError, PendingRollbackError), _LOST),
    (
        (PoolTimeoutError,),
        Failure(_AWAY, "all connections of this process are in use (DATABASE_POOL_SIZE)"),
    ),
    ((ssl.SSLCertVerificationError,), _TLS),
    ((socket.gaierror,), Failure(_AWAY, "the host of DATABASE_URL is not known at present")),
    ((OSError,), _LOST),
)
"""By the class of what the driver, the pool or the system raises; the first that fits counts."""

_SILENT_CLASSES = ("21", "22", "23", "2F", "38", "39", "P0")
"""Whose messages may quote a row; of these nothing is passed on."""
_FUNCTION = re.compile(r"(?:PL/\w+|SQL) function [\w\".$]+")
_LONGEST_WORDS = 160
"""Of PostgreSQL's own message, in characters."""
_DEEPEST = 8


def failure_of(error: BaseException) -> Failure | None:
    """What an error means; `None` if it is not the database's, or a mistake of our program."""
    return next(filter(None, map(_meaning, _causes(error))), None)


def refusal(error: BaseException) -> ReminderError | None:
    """The error in the words of this project; `None` if it is about a value, or a mistake."""
    failure = failure_of(error)
    if failure is None or failure.meaning is _VALUE:
        return None
    return _told(failure, error)


def platforms_failure(error: BaseException) -> ReminderError | None:
    """That a view or function of the platform's fails for some row; `None` if it is not that."""
    return _told(_VIEW_FAILS, error) if failure_of(error) is _VIEW else None


def described(error: BaseException) -> str:
    """SQLSTATE, and PostgreSQL's own words if they name objects and quote no row; may be empty."""
    for cause in _causes(error):
        state = _state(cause)
        if not state:
            continue
        words = [f"SQLSTATE {state}"]
        if state[:2] not in _SILENT_CLASSES:
            words.append(" ".join(_message(cause).split())[:_LONGEST_WORDS].replace(";", ","))
        if found := _FUNCTION.search(str(getattr(cause, "context", None) or "")):
            words.append(found[0])
        return ", ".join(word for word in words if word)
    return ""


def is_about_a_value(error: BaseException) -> bool:
    """Whether a statement, or the driver that reads its answer, stumbled over a value in some row."""
    if isinstance(error, OverflowError):
        return True
    failure = failure_of(error)
    return failure is not None and failure.meaning is _VALUE


def _told(failure: Failure, error: BaseException) -> ReminderError:
    details = described(error)
    words = f"{failure.words} ({details})" if details else failure.words
    kind = DatabaseRefusedError if failure.meaning is _OURS else DatabaseUnavailableError
    return kind(f"{words}; {failure.remedy}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what libraries wrapped in it."""
    cause: BaseException | None = error
    for _ in range(_DEEPEST):
        if cause is None or isinstance(cause, ReminderError):
            return
        yield cause
        if isinstance(cause, DBAPIError) and cause.orig is not None:
            # The driver's own error knows more than the one that stands for it.
            cause = cause.orig.__cause__ or cause.orig
        else:
            cause = cause.__cause__


def _state(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _message(error: BaseException) -> str:
    """PostgreSQL's primary message, without what the libraries add."""
    return str(getattr(error, "message", None) or error).partition("\n")[0]


def _meaning(error: BaseException) -> Failure | None:
    """What one error of a chain means by itself."""
    if isinstance(error, DBAPIError):
        return None  # what it wraps says more
    if state := _state(error):
        return _of_state(state, error)
    return _of_client(error)


def _of_state(state: str, error: BaseException) -> Failure | None:
    if state == "0A000" and "cached plan" in _message(error):
        return _CHANGED
    if state in _POOLERS_OWN:
        said = _message(error)
        for words, failure in _SPOKEN:
            if re.search(words, said, re.IGNORECASE):
                return failure
    return TABLE.get(state) or TABLE.get(state[:2])


def _of_client(error: BaseException) -> Failure | None:
    """What our side of a connection says."""
    if isinstance(error, driver.ClientConfigurationError):
        said = " ".join(str(error).split())[:_LONGEST_WORDS]
        return Failure(_OURS, f"DATABASE_URL cannot be used: {said}", "correct it")
    reason = str(getattr(error, "reason", None)) if isinstance(error, ssl.SSLError) else ""
    if "ALERT" in reason:
        return Failure(
            _OURS, f"PostgreSQL refuses our TLS ({reason})", "correct sslcert, sslkey or sslmode"
        )
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return _NO_TLS
    return next((failure for kinds, failure in _CLIENT if isinstance(error, kinds)), None)
