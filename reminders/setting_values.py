"""What the text of a variable means, and which is refused, for `reminders.settings`."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated

from pydantic import (
    BeforeValidator,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from reminders.domain.errors import ConfigurationError

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)", re.ASCII)
_LARGEST_PORT = 65_535
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
PLACEHOLDERS = ("changeme", "change-me", "secret", "password", "re_...", "re_xxxxxxxxx")
_GUESSED_FIRST = re.compile(
    r"change[\W_]*(?:me|this|it)|pass[\W_]*w[o0]rd|secret|admin(?:istrator)?|letmein|welcome|default"
    r"|example|placeholder|your|api|key|token|test|demo|reminders?|qwert[yz]|1234567\d*"
)
"""What stands where a secret should, and whoever guesses begins with; no part of one counts."""


def _duration(value: object, otherwise: ValidatorFunctionWrapHandler) -> timedelta:
    """`60m`, `2h`, `90s`; anything else is left to pydantic (seconds, ISO 8601)."""
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        if found is not None:
            return timedelta(seconds=float(found["number"]) * _SECONDS[found["unit"]])
        span: timedelta = otherwise(value)
    except (ValidationError, OverflowError):
        raise PydanticCustomError("duration", "is no duration; write 90s, 60m, 2h or 1d") from None
    return span


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Duration = Annotated[timedelta, WrapValidator(_duration)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_comma_separated)]


def host_and_port(name: str, text: str) -> tuple[str, int]:
    """The host, without the brackets of an IPv6 address, and the port."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > _LARGEST_PORT:
        raise ConfigurationError(f"{name} is {text!r}; write host:port, such as 127.0.0.1:8000")
    return host.strip("[]"), int(port)


def both_or_neither(**settings: object) -> None:
    """Refuse one of two settings that are of no use without the other, by their names.

    Raises:
        ValueError: If only one of them is set.
    """
    given = [name for name, value in settings.items() if value]
    missing = [name for name in settings if name not in given]
    if given and missing:
        raise ValueError(f"{given[0]} is set and {missing[0]} is not; set both, or neither")


def is_weak(secret: SecretStr, *, shortest: int, fewest: int) -> bool:
    """Whether a secret is too short, or made of too few characters, without what anybody tries.

    Args:
        secret: Set by a person.
        shortest: Characters at the least.
        fewest: Different ones: a random text has more, a typed one often has not.
    """
    text = secret.get_secret_value()
    left = _GUESSED_FIRST.sub("", text.lower())
    return len(text) < shortest or len(left) < len(text) / 2 or len(set(left)) < fewest


def is_webhook_secret(text: str) -> bool:
    """Whether a text has the form of a signing secret."""
    prefix, _, key = text.partition("_")
    try:
        return prefix == "whsec" and bool(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):  # ValueError: not even ASCII
        return False


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def in_words(error: ValidationError) -> str:
    """Every setting that is unusable by its variable's name, and why."""
    problems = []
    for problem in error.errors(include_url=False, include_input=False):
        name = "_".join(str(part) for part in problem["loc"]).upper()
        # What our own checks raise names its variable itself, and pydantic its class.
        words = problem["msg"].removeprefix("Value error, ")
        problems.append(f"{name}: {words}" if name else words)
    return "; ".join(problems)
