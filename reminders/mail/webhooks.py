"""Resend's webhooks: is it really Resend, and what does it say became of which e-mail?

Signed as Svix signs, over the raw body: verify first, parse afterwards. The SDK's own helper reads
the wall clock, knows one secret and takes any signature version, so this is done here.

Source:
    docs.svix.com/receiving/verifying-payloads/how-manual, and Resend's pages on webhook events.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Any
from uuid import UUID

from reminders.domain.errors import InvalidInputError, WebhookSignatureError
from reminders.domain.keys import ASKED_EVENT
from reminders.domain.model import (
    ProviderEvent,
    ReminderStatus,
    StatusReason,
    WebhookRefusal,
)
from reminders.mail.plain_text import shortened
from reminders.mail.resend_errors import safe_message
from reminders.mail.resend_wire import INSTALLATION_TAG, REMINDER_TAG

TOLERANCE = timedelta(minutes=5)
"""How far the signature's instant may be from ours (Svix): bounds how long a copy can be replayed."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret, only how every one begins
_VERSION = "v1,"
"""Svix's scheme of this signature, HMAC-SHA256; others in the same header are not for us."""
_LONGEST_DETAIL = 100
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_WORD = re.compile(r"[\w.-]{1,255}", re.ASCII)

_STATUSES = {
    "email.sent": ReminderStatus.SENT,
    # The receiving server asked for patience: accepted by the provider is all that is certain.
    "email.delivery_delayed": ReminderStatus.SENT,
    "email.delivered": ReminderStatus.DELIVERED,
    "email.bounced": ReminderStatus.BOUNCED,
    "email.complained": ReminderStatus.COMPLAINED,
    "email.suppressed": ReminderStatus.SUPPRESSED,
    "email.failed": ReminderStatus.FAILED,
}
"""Everything else is of no interest here. `opened` and `clicked` are left out on purpose: what
attendees do with their e-mail is not ours to keep."""
_QUOTA_REASONS = ("reached_daily_quota", "reached_monthly_quota")


def verify(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime
) -> ProviderEvent:
    """The event in a webhook's body, if one of the secrets signed it just now.

    Args:
        body: As it came in, byte for byte.
        headers: Of the request; names in lower case, or found whatever their case.
        secrets: `whsec_` and base64; several while rotating.
        now: The instant to judge by; aware.

    Raises:
        WebhookSignatureError: If it is not signed by any of them, or at another time.
        InvalidInputError: If it is signed and yet no event.
    """
    svix_id = headers.get("svix-id", "")
    timestamp = headers.get("svix-timestamp", "")
    if not _WORD.fullmatch(svix_id) or not _TIMESTAMP.fullmatch(timestamp):
        raise WebhookSignatureError("svix-id or svix-timestamp is missing or malformed")
    content = b".".join((svix_id.encode(), timestamp.encode(), body))
    signatures = headers.get("svix-signature", "")
    if not _is_signed(content, signatures, secrets):
        raise WebhookSignatureError(
            "no signature of it fits RESEND_WEBHOOK_SECRET",
            WebhookRefusal.SIGNATURE if _VERSION in signatures else None,
        )
    off = int(timestamp) - int(now.timestamp())
    if abs(off) > TOLERANCE.total_seconds():
        raise WebhookSignatureError(
            f"its timestamp is {off:+d} s from PostgreSQL's clock", WebhookRefusal.TIMESTAMP
        )
    return _event(svix_id, _parsed(body), sent_at=datetime.fromtimestamp(int(timestamp), UTC))


def answered(
    content: object, *, email_id: str, reminder_id: UUID, now: datetime
) -> ProviderEvent | None:
    """The event in an answer of `GET /emails/{id}`: what became of the e-mail last.

    It has no instant of its own: it is dated when we learned of it.

    Args:
        content: Parsed.
        email_id: That was asked for.
        reminder_id: The row it belongs to.
        now: The present instant.

    Returns:
        `None` if nothing became of it yet.
    """
    data = _object(content)
    last = _text(data.get("last_event"))
    # Nobody opens what was not delivered.
    type_ = "email.delivered" if last in ("opened", "clicked") else f"email.{last}"
    status = _STATUSES.get(type_)
    if status is None or type_ == "email.sent":
        return None
    return ProviderEvent(
        svix_id=f"{ASKED_EVENT}{email_id}:{type_}",
        type=type_,
        occurred_at=now,
        email_id=email_id,
        reminder_id=reminder_id,
        recipients=_recipients(data.get("to")),
        accepted_at=_instant(data.get("created_at")),
        status=status,
        reason=StatusReason.REJECTED if status is ReminderStatus.FAILED else None,
        stops=_stops(status, {}),
    )


def _is_signed(content: bytes, signatures: str, secrets: Sequence[str]) -> bool:
    """Whether one of the signatures is by one of the secrets, in constant time."""
    given = [
        signature.removeprefix(_VERSION).encode(errors="replace")
        for signature in signatures.split()
        if signature.startswith(_VERSION)
    ]
    wanted = [_signature(secret, content) for secret in secrets]
    matches = [hmac.compare_digest(one, other) for one in given for other in wanted]
    return any(matches)


def _signature(secret: str, content: bytes) -> bytes:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInputError("the body is not JSON", field="body") from None
    if not isinstance(content, dict) or not _word(content.get("type")):
        raise InvalidInputError("the body is no event with a type", field="type")
    return content


def _event(svix_id: str, content: Mapping[str, Any], *, sent_at: datetime) -> ProviderEvent:
    """The event, as far as it can be read: what is missing or odd is left out, never refused.

    The provider repeats for days what it sees refused, and then stops calling altogether.
    """
    type_ = content["type"]
    data = _object(content.get("data"))
    occurred_at = _instant(content.get("created_at")) or sent_at
    email_id = _word(data.get("email_id"))
    status = _STATUSES.get(type_) if email_id else None
    bounce = _object(data.get("bounce"))
    if status is ReminderStatus.BOUNCED and _text(bounce.get("subType")) == "Suppressed":
        status = ReminderStatus.SUPPRESSED
    return ProviderEvent(
        svix_id=svix_id,
        type=type_,
        occurred_at=occurred_at,
        email_id=email_id,
        reminder_id=_tagged(data.get("tags"), REMINDER_TAG),
        installation=_tagged(data.get("tags"), INSTALLATION_TAG),
        recipients=_recipients(data.get("to")),
        accepted_at=_instant(data.get("created_at")) or occurred_at,
        status=status,
        reason=_reason(data) if status is ReminderStatus.FAILED else None,
        stops=_stops(status, bounce),
        detail=_detail(data, bounce),
    )


def _stops(status: ReminderStatus | None, bounce: Mapping[str, Any]) -> StatusReason | None:
    """Why nothing more is to be sent to the recipient.

    A full mailbox (`Transient`) may be emptied, and whoever is on the provider's suppression list
    may be taken off it: both get the next reminder.
    """
    if status is ReminderStatus.COMPLAINED:
        return StatusReason.SPAM_COMPLAINT
    if status is ReminderStatus.BOUNCED and _text(bounce.get("type")) == "Permanent":
        return StatusReason.ADDRESS_BOUNCED
    return None


def _reason(data: Mapping[str, Any]) -> StatusReason:
    reason = _text(_object(data.get("failed")).get("reason"))
    return StatusReason.QUOTA if reason in _QUOTA_REASONS else StatusReason.REJECTED


def _detail(data: Mapping[str, Any], bounce: Mapping[str, Any]) -> str | None:
    """The provider's reason in its own terms; its sentences are left out, they quote addresses."""
    words = [_text(bounce.get("type")), _text(bounce.get("subType"))]
    words += [_text(_object(data.get("suppressed")).get("type"))]
    words += [_text(_object(data.get("failed")).get("reason"))]
    said = safe_message("/".join(word for word in words if word))
    return shortened(said, _LONGEST_DETAIL) or None


def _tagged(tags: object, name: str) -> UUID | None:
    """The id in a tag of ours; tags are an object in webhooks, and a list everywhere else."""
    if isinstance(tags, list):
        tags = {str(t.get("name")): t.get("value") for t in tags if isinstance(t, dict)}
    try:
        return UUID(_text(_object(tags).get(name)))
    except ValueError:
        return None


def _recipients(to: object) -> tuple[str, ...]:
    listed = to if isinstance(to, list) else [to]
    addresses = (parseaddr(entry)[1] for entry in listed if isinstance(entry, str))
    return tuple(address for address in addresses if address)


def _instant(value: object) -> datetime | None:
    """An aware instant in UTC; one without a zone is Resend's, and theirs are UTC."""
    try:
        instant = datetime.fromisoformat(_text(value))
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _word(value: object) -> str | None:
    """A name or an id: one that can be stored and logged as it is."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
