"""`GET /emails`, `GET /emails/{id}` and `GET /usage`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from reminders.embedded.provider.exchange import Answer, ApiError, Call, json_answer
from reminders.embedded.provider.instants import (
    day_start,
    micros,
    next_month_start,
    rfc3339,
    sql_style,
)
from reminders.embedded.provider.limits import Quotas
from reminders.embedded.provider.rows import StoredEmail
from reminders.embedded.provider.store import Store
from reminders.embedded.provider.webhooks import message_id

MAX_PAGE = 100
DEFAULT_PAGE = 20


def one_email(store: Store, email_id: str) -> Answer:
    """An e-mail with its parts."""
    email = store.email(email_id)
    if email is None:
        raise ApiError(404, "not_found", "Email not found")
    parts = store.parts(email)
    return json_answer(
        {
            "object": "email",
            **_row(email),
            "message_id": message_id(email.id),
            "html": parts.get("html"),
            "text": parts.get("text"),
            "tags": email.envelope["tags"],
        }
    )


def list_emails(store: Store, call: Call) -> Answer:
    """A page of e-mails, newest first, without their parts."""
    limit = _limit(call)
    after, before = call.query.get("after"), call.query.get("before")
    if after is not None and before is not None:
        raise ApiError(422, "validation_error", "Use either `after` or `before`, not both.")
    if before is not None:
        # The page that ends just before the cursor, so the nearest newer ones.
        rows = store.emails_after(_cursor(store, before), limit + 1)
        page = rows[:limit][::-1]
    else:
        rows = store.emails_before(None if after is None else _cursor(store, after), limit + 1)
        page = rows[:limit]
    return json_answer(
        {"object": "list", "has_more": len(rows) > limit, "data": [_row(email) for email in page]}
    )


def usage(quotas: Quotas, rate: int, now: datetime) -> Answer:
    """What is used of the team's limits."""
    today, this_month = quotas.used(now)
    tomorrow = rfc3339(micros(day_start(now) + timedelta(days=1)))
    next_month = rfc3339(micros(next_month_start(now)))
    return json_answer(
        {
            "object": "usage",
            "emails": {
                "daily": _quota(today, quotas.daily, tomorrow),
                "monthly": _quota(this_month, quotas.monthly, next_month),
            },
            "contacts": {"used": 0, "limit": 1000},
            "segments": {"used": 0, "limit": 3},
            "broadcasts": {"used": 0, "limit": None},
            "ai_credits": {"used": 0, "limit": 0, "next_increase_at": None},
            "automation_runs": {"used": 0, "limit": 0, "resets_at": next_month},
            "domains": {"used": 1, "limit": None},
            # There is no word for "unlimited" in the real answer.
            "rate_limit": {"limit": rate or 1_000_000, "duration": "1000ms"},
        }
    )


def _quota(used: int, limit: int | None, resets_at: str) -> dict[str, object]:
    return {"used": used, "limit": limit, "sent": used, "received": 0, "resets_at": resets_at}


def _row(email: StoredEmail) -> dict[str, Any]:
    envelope = email.envelope
    return {
        "id": email.id,
        "to": envelope["to"],
        "from": envelope["from"],
        "created_at": sql_style(email.accepted_at),
        "subject": envelope["subject"],
        "bcc": envelope["bcc"] or None,
        "cc": envelope["cc"] or None,
        "reply_to": envelope["reply_to"] or None,
        "last_event": email.last_event,
        "scheduled_at": None,
    }


def _limit(call: Call) -> int:
    text = call.query.get("limit", str(DEFAULT_PAGE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_PAGE):
        raise ApiError(422, "validation_error", f"`limit` must be between 1 and {MAX_PAGE}.")
    return int(text)


def _cursor(store: Store, email_id: str) -> int:
    email = store.email(email_id)
    if email is None:
        raise ApiError(404, "not_found", "Email not found")
    return email.seq
