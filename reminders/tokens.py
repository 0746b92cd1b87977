"""Tokens in the links of e-mails: they name an enrollment, and nobody else can make them.

A token is the credential: whoever has the e-mail may stop its reminders, and needs no account. It
holds ids only, and says for which kind of link it was made. How long after its session it still opens
is asked where it is followed (`TOKEN_VALID_DAYS`), since sessions move. Rotating `TOKEN_SECRET` and
dropping the old secret ends them all.

```text
base64url( version: 1 byte | session: 16 | user: 16 | HMAC-SHA256 of purpose and these, first 16 )
```

Source: RFC 2104 §5 (a MAC truncated to half its length), RFC 4648 §5 (base64url, unpadded).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from reminders.domain.errors import LinkNotFoundError
from reminders.domain.ports import Enrollment

_VERSION = b"\x01"
_MAC_BYTES = 16
_BYTES = len(_VERSION) + 16 + 16 + _MAC_BYTES
LENGTH = (_BYTES * 8 + 5) // 6
"""Characters of every token."""


class Purpose(StrEnum):
    """What a link is for; a token of one kind opens no other."""

    STOP = "stop"
    CALENDAR = "calendar"


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Use these secrets.

        Args:
            secrets: At least one. The first signs; all of them are accepted, for a rotation.
        """
        self._keys = tuple(secret.encode() for secret in secrets)

    def make(self, purpose: Purpose, session_id: UUID, user_id: UUID) -> str:
        """The token of an enrollment; always the same one, so that a link stays what it was."""
        named = _VERSION + session_id.bytes + user_id.bytes
        token = named + _mac(self._keys[0], purpose, named)
        return base64.urlsafe_b64encode(token).rstrip(b"=").decode()

    def read(self, purpose: Purpose, token: str) -> Enrollment:
        """Whose link it is.

        Raises:
            LinkNotFoundError: If we did not make it, or not for this; does not say which.
        """
        raw = _decoded(token)
        named, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        # Every secret is tried, so that the time says nothing about which one signed.
        good = [hmac.compare_digest(mac, _mac(key, purpose, named)) for key in self._keys]
        if not any(good) or not named.startswith(_VERSION):
            raise LinkNotFoundError
        return Enrollment(UUID(bytes=named[1:17]), UUID(bytes=named[17:33]))


def _mac(key: bytes, purpose: Purpose, named: bytes) -> bytes:
    # No purpose is the beginning of another one followed by a version byte.
    return hmac.digest(key, purpose.encode() + b"\x00" + named, sha256)[:_MAC_BYTES]


def _decoded(token: str) -> bytes:
    """The bytes of a token; only the one spelling that we give out is accepted."""
    if len(token) != LENGTH:
        raise LinkNotFoundError
    try:
        raw = base64.b64decode(token + "=" * (-LENGTH % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):  # ValueError: not even ASCII
        raise LinkNotFoundError from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != token.encode():
        raise LinkNotFoundError
    return raw
