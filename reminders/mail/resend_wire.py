"""Resend's bodies: our e-mails out; its receipts, and what it says of its quotas, in.

Source:
    Resend's API reference (send-batch-emails) and its description of batch validation modes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from reminders.domain.model import Message
from reminders.domain.pace import Quota, Usage
from reminders.domain.ports import Accepted, Receipt, Refused
from reminders.mail.resend_errors import safe_message

MAX_BATCH = 100
"""E-mails in one request."""
REMINDER_TAG = "reminder_id"
"""Comes back in webhooks and names the ledger's row."""
INSTALLATION_TAG = "installation_id"
"""Says whose ledger: all endpoints of a team get the events of all its e-mails."""


def encoded(messages: Sequence[Message]) -> bytes:
    """The request body for these e-mails: compact JSON in UTF-8, in this order.

    Raises:
        ValueError: If there are none, or more than 100.
    """
    if not 1 <= len(messages) <= MAX_BATCH:
        raise ValueError(f"a batch has 1 to {MAX_BATCH} e-mails, not {len(messages)}")
    emails = [email_fields(message) for message in messages]
    return json.dumps(emails, ensure_ascii=False, separators=(",", ":")).encode()


def email_fields(message: Message) -> dict[str, object]:
    """One e-mail in Resend's terms; key order is part of the body and never changes."""
    email: dict[str, object] = {
        "from": message.sender,
        "to": [message.to],
        "subject": message.subject,
        "html": message.html,
        "text": message.text,
    }
    if message.reply_to is not None:
        email["reply_to"] = message.reply_to
    if message.headers:
        email["headers"] = dict(message.headers)
    tags = [{"name": REMINDER_TAG, "value": str(message.reminder_id)}]
    if message.installation is not None:
        tags.append({"name": INSTALLATION_TAG, "value": str(message.installation)})
    email["tags"] = tags
    return email


def receipts_of(answer: object, expected: int) -> tuple[Receipt, ...]:
    """One receipt per e-mail of the request.

    Permissive validation answers with the ids of the accepted e-mails only, in the request's order,
    and with the index of each refused one.

    Raises:
        ValueError: If the answer does not account for every e-mail exactly once.
    """
    if not isinstance(answer, dict):
        raise ValueError("no object")  # noqa: TRY004 -- the answer's fault, not the caller's
    accepted, errors = answer.get("data") or [], answer.get("errors") or []
    if not isinstance(accepted, list) or not isinstance(errors, list):
        raise ValueError("no lists")  # noqa: TRY004
    refused = dict(_refused(error) for error in errors)
    ids = iter(_email_id(email) for email in accepted)
    if len(accepted) + len(errors) != expected or not refused.keys() <= set(range(expected)):
        raise ValueError("another number of e-mails")
    if len(refused) != len(errors):
        raise ValueError("an e-mail refused twice")
    return tuple(
        refused[index] if index in refused else Accepted(next(ids)) for index in range(expected)
    )


def _refused(error: object) -> tuple[int, Refused]:
    """Index and receipt of one entry of `errors`."""
    if isinstance(error, dict) and type(index := error.get("index")) is int:
        return index, Refused(safe_message(str(error.get("message", "refused without a reason"))))
    raise ValueError("an error without an index")


def _email_id(email: object) -> str:
    """The id of one entry of `data`."""
    if isinstance(email, dict) and isinstance(email_id := email.get("id"), str) and email_id:
        return email_id
    raise ValueError("an e-mail without an id")


_Count = Annotated[int, Field(ge=0, lt=2**31)]
"""E-mails; as many as a column of the ledger takes."""


class _Window(BaseModel):
    used: _Count
    limit: _Count | None
    resets_at: AwareDatetime


class _Emails(BaseModel):
    daily: _Window
    monthly: _Window


class _Usage(BaseModel):
    emails: _Emails


def usage_of(answer: object) -> Usage | None:
    """The quotas in an answer of `GET /usage`; `None` if it is none we understand."""
    try:
        emails = _Usage.model_validate(answer).emails
    except ValidationError:
        return None
    return Usage(daily=_quota(emails.daily), monthly=_quota(emails.monthly))


def _quota(window: _Window) -> Quota:
    resets_at: datetime = window.resets_at
    return Quota(used=window.used, limit=window.limit, resets_at=resets_at)
