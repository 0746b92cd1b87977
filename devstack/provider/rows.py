"""What goes into the store and what comes out of it; instants are microseconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devstack.provider.validation import Mail


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRequest:
    """A request about to be accepted."""

    endpoint: str
    """`POST /emails` or `POST /emails/batch`."""
    idempotency_key: str | None
    fingerprint: bytes
    accepted_at: int
    recipients: int
    answer: bytes
    body: bytes


@dataclass(slots=True)
class NewEmail:
    """An e-mail about to be accepted."""

    id: str
    mail: Mail
    last_event: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A webhook event about to be queued."""

    message_id: str
    email_id: str
    type: str
    created_at: int
    due_at: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an idempotency key answered."""

    fingerprint: bytes
    answer: bytes
    emails: int


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that gets no more mail."""

    address: str
    origin: str
    """`bounce`, `complaint` or `manual`."""
    created_at: int


@dataclass(frozen=True, slots=True)
class StoredEmail:
    """An accepted e-mail without its parts."""

    seq: int
    id: str
    request_id: int
    position: int
    last_event: str
    endpoint: str
    idempotency_key: str | None
    accepted_at: int
    envelope: dict[str, Any]
    """`from`, `to`, `cc`, `bcc`, `reply_to`, `subject`, `headers`, `tags` (a list)."""
