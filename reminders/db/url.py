"""`DATABASE_URL` as hosts hand it out: every parameter has libpq's meaning, or is refused by name.

The driver knows most of what libpq knows. What it does not know is translated here, or has no
effect because it is about something that is not there, or is refused in a line that says what to
write instead: a parameter that is ignored in silence may be the one that protects the connection.

Source:
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from reminders.db.url_parameters import (
    ACCEPTED,
    ENVIRONMENT,
    PASSED_ON,
    POOLED,
    REFUSED,
    SCHEMA,
    SETTINGS,
    TRANSLATED,
    WITHOUT_EFFECT,
)
from reminders.domain.errors import InvalidInputError

CONNECT_SECONDS = 5
"""For a connection, unless `connect_timeout` says otherwise."""
_LONGEST_CONNECT_SECONDS = 60
"""libpq would wait for ever when `connect_timeout` is 0; nothing of ours does."""
APPLICATION = "session-reminders"
"""What `pg_stat_activity` calls us, unless `application_name` says otherwise."""

_SCHEME = re.compile(r"(postgresql|postgres)(\+[a-z0-9_]+)?$")
"""Whatever driver it names, ours is taken."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:,]*)(:\d{0,5})?")
_SETTING = re.compile(r"(?:-c\s*|--)([A-Za-z_][A-Za-z0-9_.]*)=((?:\\.|[^\s\\])*)\s*")

_TLS = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TLS_ALIASES = {
    "true": "require",
    "1": "require",
    "no-verify": "require",
    "false": "disable",
    "0": "disable",
}
_TARGETS = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
_KEEPALIVE = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """How a server is reached."""

    dsn: str = field(repr=False)
    """What the driver understands of the URL."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `asyncpg.connect`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of our sessions, by their names; set by a statement, as poolers refuse them at the start."""
    schema: str | None = None
    """The search path that was asked for, in owned mode."""
    is_pooled: bool = False
    """Whether it is said to be behind a pooler that keeps nothing beyond a transaction."""
    keepalive: Mapping[str, int] = field(default_factory=dict)
    """libpq's parameters of the socket, by their names."""


def read(url: str, environment: Mapping[str, str] | None = None) -> Server:
    """What a `DATABASE_URL` says.

    Args:
        url: `postgresql://`; a driver after a plus sign is ignored.
        environment: Its `PG...` variables fill in what the URL leaves out; absent means that of
            this process, which the driver reads as well.

    Raises:
        InvalidInputError: If it is no such URL, or asks for what we cannot do; names the parameter,
            and none of its secrets.
    """
    environment = os.environ if environment is None else environment  # noqa: TID251 - as libpq
    # As a password may hold it; libpq knows no fragments.
    parts = urlsplit(url.strip().strip("\"'").replace("#", "%23"))
    _is_postgresql(parts.scheme)
    given = dict(parse_qsl(parts.query))
    for variable, name in ENVIRONMENT.items():
        if value := environment.get(variable):
            given.setdefault(name, value)
    given = {
        name.lower() if name.lower() in (*SCHEMA, *POOLED, *SETTINGS) else name: value
        for name, value in given.items()
    }
    for name, value in given.items():
        _understood(name, value)
    settings, startup = _session(given)
    schema = next((given[name] for name in SCHEMA if name in given), None)
    _encrypted(given)
    netloc = _netloc(parts.netloc)
    options: dict[str, Any] = {
        "timeout": _timeout(given),
        "server_settings": {
            "application_name": given.get("application_name")
            or given.get("fallback_application_name", APPLICATION),
            **startup,
        },
    }
    _see_service(given, environment)
    if "servicefile" in given:
        options["servicefile"] = given["servicefile"]
    if given.get("sslrootcert") == "system":
        options["ssl"] = _of_the_system(given)
    asked = {
        n: v for n, v in given.items() if n in PASSED_ON and not ("ssl" in options and n in _FILES)
    }
    if "ssl" in options:
        asked.pop("sslmode", None)
    return Server(
        dsn=f"postgresql://{netloc}{parts.path}" + (f"?{urlencode(asked)}" if asked else ""),
        options=options,
        settings=settings,
        schema=settings.pop("search_path", None) or schema,
        is_pooled=any(given[n].lower() in POOLED[n] for n in POOLED if n in given),
        keepalive=_keepalive(given),
    )


def _is_postgresql(scheme: str) -> None:
    if not scheme:
        raise InvalidInputError(
            "DATABASE_URL is no URL; write postgresql://user:password@host:5432/database",
            field="DATABASE_URL",
        )
    if not _SCHEME.match(scheme):
        raise InvalidInputError(
            f"DATABASE_URL starts with {scheme}://; only PostgreSQL is supported",
            field="DATABASE_URL",
        )


def _refused(name: str, why: str) -> InvalidInputError:
    """The error about a parameter; its value may be a secret, or the path to one."""
    variable = next((v for v, parameter in ENVIRONMENT.items() if parameter == name), None)
    where = f" (or {variable})" if variable else ""
    return InvalidInputError(
        f"the parameter {name} of DATABASE_URL{where} {why}", field="DATABASE_URL"
    )


def _understood(name: str, value: str) -> None:
    """See that a parameter is known, and what it asks for can be had."""
    if name in REFUSED:
        raise _refused(name, f"cannot be honoured; {REFUSED[name]}")
    if name in ACCEPTED:
        if value.lower() not in ACCEPTED[name]:
            met = " or ".join(ACCEPTED[name])
            raise _refused(name, f"cannot be honoured; leave it out{met and f', or write {met}'}")
        return
    known = (PASSED_ON, TRANSLATED, POOLED, SCHEMA, SETTINGS, WITHOUT_EFFECT)
    if not any(name in some for some in known):
        raise _refused(
            name,
            "is not known; leave it out, or write a setting of the server as"
            f" options=-c%20{name}=...",
        )
    if name == "target_session_attrs" and value not in _TARGETS:
        raise _refused(name, f"is none of {', '.join(_TARGETS)}; write one of them")


def _netloc(netloc: str) -> str:
    """User, password and hosts, encoded so that nobody takes one for the other."""
    who, at, hosts = netloc.rpartition("@")
    if not all(
        _HOST.fullmatch(unquote(host)) or "%2f" in host.lower() for host in hosts.split(",")
    ):
        raise InvalidInputError(
            "DATABASE_URL has a host or port that is none; write"
            " postgresql://user:password@host:5432/database, and a password's own @ : / as"
            " %40 %3A %2F",
            field="DATABASE_URL",
        )
    user, colon, password = who.partition(":")
    encoded = quote(unquote(user), safe="") + colon + quote(unquote(password), safe="")
    return f"{encoded}{at}{hosts}"


def _number(given: Mapping[str, str], name: str) -> int | None:
    """A parameter that is a whole number; `None` if it is left out."""
    value = given.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"-?\d{1,9}", value.strip()):
        raise _refused(name, "is no whole number")
    return int(value)


def _timeout(given: Mapping[str, str]) -> int:
    """Seconds for a connection."""
    seconds = _number(given, "connect_timeout")
    if seconds is None:
        return CONNECT_SECONDS
    return min(seconds, _LONGEST_CONNECT_SECONDS) if seconds > 0 else _LONGEST_CONNECT_SECONDS


def _keepalive(given: Mapping[str, str]) -> dict[str, int]:
    """What the socket is to be told; as with libpq, 0 leaves it to the system."""
    if _number(given, "keepalives") == 0:
        return {}
    numbers = {name: _number(given, name) for name in _KEEPALIVE}
    return {"keepalives": 1, **{name: n for name, n in numbers.items() if n}}


def _session(given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Settings of our sessions, and what has to be said at the start of a connection.

    `options` mostly sets something, and then a statement does as well, with which poolers put up.
    Some hosts route by it (`endpoint=...`): that is passed on as it is.
    """
    settings = {name: given[name] for name in SETTINGS if name in given}
    options = given.get("options", "").strip()
    found = _SETTING.findall(options)
    if _SETTING.sub("", options):
        return settings, {"options": options}
    settings |= {name.lower(): re.sub(r"\\(.)", r"\1", value) for name, value in found}
    return settings, {}


def _encrypted(given: dict[str, str]) -> None:
    """Complete what is said about TLS, as libpq would, or refuse it."""
    if "sslmode" not in given and (alias := given.get("ssl")) is not None:
        given["sslmode"] = _TLS_ALIASES.get(alias.lower(), alias)
    if "sslmode" not in given and given.get("requiressl") == "1":
        given["sslmode"] = "require"
    if given.get("sslmode") == "no-verify":
        given["sslmode"] = "require"
    if given.get("sslmode", "prefer") not in _TLS:
        raise _refused("sslmode", f"is none of {', '.join(_TLS)}; write one of them")
    _bound(given)
    if given.get("sslrootcert") == "system" and (
        given.setdefault("sslmode", "verify-full") != "verify-full"
    ):
        raise _refused("sslrootcert", "is system, which needs sslmode=verify-full")
    if (
        given.get("sslmode") in ("verify-ca", "verify-full")
        and "sslrootcert" not in given
        and not (Path.home() / ".postgresql" / "root.crt").exists()
    ):
        raise _refused(
            "sslmode",
            "needs a root certificate; add sslrootcert=system for those of the operating system,"
            " or the path of the host's own",
        )
    for name in _FILES:
        path = given.get(name)
        if path and path != "system" and not os.access(path, os.R_OK):
            raise _refused(
                name, "names no file that can be read here; mount it, or correct the path"
            )


def _bound(given: dict[str, str]) -> None:
    """Have what `channel_binding=require` is for: nobody in between.

    The driver cannot bind a password to the channel. A certificate that is verified shows the same.
    """
    binding = given.get("channel_binding", "prefer")
    if binding not in ("disable", "prefer", "require"):
        raise _refused("channel_binding", "is none of disable, prefer, require; write one of them")
    if binding == "require":
        if given.get("sslmode") == "disable":
            raise _refused("channel_binding", "contradicts sslmode=disable; leave one of them out")
        given["sslmode"] = "verify-full"
        given.setdefault("sslrootcert", "system")


def _of_the_system(given: Mapping[str, str]) -> ssl.SSLContext:
    """TLS that trusts whom the operating system trusts, and sees that it is the host's name."""
    context = ssl.create_default_context()
    if "sslcert" in given:
        try:
            context.load_cert_chain(
                given["sslcert"], given.get("sslkey"), password=given.get("sslpassword", "")
            )
        except ssl.SSLError as error:
            raise _refused("sslcert", "is no certificate with its key, in PEM") from error
    if ssl.HAS_ALPN:
        context.set_alpn_protocols(["postgresql"])
    return context


def _see_service(given: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """See that there is the service: the driver would go on to this machine without a word."""
    if "service" not in given:
        return
    home = environment.get("HOME", str(Path.home()))
    path = given.get("servicefile") or f"{home}/.pg_service.conf"
    services = ConfigParser()
    services.read(path)
    if given["service"] not in services:
        raise _refused("service", f"is not in {path}; add it there, or write PGSERVICEFILE")
