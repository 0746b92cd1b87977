"""API keys as `API_KEYS` has them: the hash of a key and its name, or an old-fashioned plain one.

A key that `make` made has 256 random bits. One pass of SHA-256 is the right hash for such a key:
there is nothing to guess, so a slow hash would only slow every request down.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "rk_"
"""Of every key made here, so that scanners of repositories can tell one."""

_HASHED = re.compile(
    r"(?P<scope>ro:)?(?:(?P<name>[a-z][a-z0-9-]{0,31})=)?sha256:(?P<digest>[0-9a-f]{64})", re.ASCII
)
_RANDOM_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """One key that is good."""

    digest: bytes
    """SHA-256 of the key."""
    name: str | None = None
    """Who uses it, for the audit log."""
    is_read_only: bool = False
    """Whether it may only ask, and change nothing."""


def parse(entry: str) -> ApiKey:
    """One entry of `API_KEYS`.

    Args:
        entry: `sha256:<hex>`, `name=sha256:<hex>`, `ro:name=sha256:<hex>`, or the key itself.

    Raises:
        ValueError: If it begins as a hashed one and is none; the entry is not repeated.
    """
    found = _HASHED.fullmatch(entry)
    if found is not None:
        return ApiKey(
            digest=bytes.fromhex(found["digest"]),
            name=found["name"],
            is_read_only=found["scope"] is not None,
        )
    if "sha256:" in entry or entry.startswith("ro:"):
        msg = (
            "an entry is no key: write name=sha256:<64 hex digits>, with ro: in front of a"
            " read-only one; `reminders api-key NAME` makes one"
        )
        raise ValueError(msg)
    return ApiKey(digest=digest(entry))


def is_plain(entry: str) -> bool:
    """Whether an entry of `API_KEYS` is the key itself."""
    return _HASHED.fullmatch(entry) is None


def make(name: str | None = None, *, read_only: bool = False) -> tuple[str, str]:
    """A new key, which nobody can know but who reads it here, and its entry in `API_KEYS`.

    Args:
        name: Who uses it: lower-case letters, digits and hyphens, at most 32.
        read_only: Whether it may change nothing.

    Raises:
        ValueError: If the name is none.
    """
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    entry = "".join(
        ("ro:" if read_only else "", f"{name}=" if name else "", f"sha256:{digest(key).hex()}")
    )
    if _HASHED.fullmatch(entry) is None:
        msg = "a name has lower-case letters, digits and hyphens, begins with a letter, and at most 32"
        raise ValueError(msg)
    return key, entry


def known(credentials: str, keys: Sequence[ApiKey]) -> ApiKey | None:
    """The key that these credentials are.

    Compares with every key, in a time that tells nothing about any of them.
    """
    asked = digest(credentials)
    matches = [key for key in keys if hmac.compare_digest(asked, key.digest)]
    return matches[0] if matches else None


def digest(key: str) -> bytes:
    """All keys at one length, which is what a constant-time comparison needs."""
    return sha256(key.encode(errors="surrogatepass")).digest()
