"""Encrypts what Temporal stores of our payloads, with keys that Temporal never sees.

AES-256-GCM, a fresh nonce for each payload. What was stored before there were keys is plain and is
read as it is; what was encrypted with an older key is read as long as that key is listed.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Protocol

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from reminders.errors import ConfigurationError

ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
KEY_BYTES = 32
_NONCE_BYTES = 12


class _Cipher(Protocol):
    """What we need of `cryptography`'s AESGCM, which is an optional dependency."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class EncryptingCodec(PayloadCodec):
    """Encrypts with the first key, and decrypts with whichever was used."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Know these keys.

        Args:
            keys: Of 32 bytes each, the present one first; at least one.

        Raises:
            ConfigurationError: If `cryptography` is not installed.
        """
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        except ImportError as error:
            msg = "TEMPORAL_PAYLOAD_KEYS needs the extra `encryption`: uv sync --extra encryption"
            raise ConfigurationError(msg) from error
        self._ciphers: dict[bytes, _Cipher] = {_key_id(key): AESGCM(key) for key in keys}
        self._present = next(iter(self._ciphers))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class.

        Raises:
            ConfigurationError: If a payload's key is not among ours. A workflow task that meets
                this is tried again until the key is there; nothing is lost.
        """
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce = os.urandom(_NONCE_BYTES)
        key_id = self._present
        data = self._ciphers[key_id].encrypt(nonce, payload.SerializeToString(), key_id)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: key_id}, data=nonce + data)

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = payload.metadata.get(KEY_ID, b"")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            msg = (
                f"a payload is encrypted with key {key_id.decode(errors='replace')}, which is not"
                " in TEMPORAL_PAYLOAD_KEYS"
            )
            raise ConfigurationError(msg)
        nonce, data = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        return Payload.FromString(cipher.decrypt(nonce, data, key_id))


def keys(texts: Iterable[str]) -> tuple[bytes, ...]:
    """The keys that base64 texts are.

    Raises:
        ValueError: If one is none; it is not repeated.
    """
    found = []
    for text in texts:
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):  # ValueError: not even ASCII
            key = b""
        if len(key) != KEY_BYTES:
            msg = "a key is not 32 bytes in base64; make one with: openssl rand -base64 32"
            raise ValueError(msg)
        found.append(key)
    return tuple(found)


def _key_id(key: bytes) -> bytes:
    """Names a key without telling anything of it."""
    return sha256(key).hexdigest()[:16].encode()
