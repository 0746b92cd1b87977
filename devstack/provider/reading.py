"""`GET /emails/{id}` and `GET /usage`."""

from __future__ import annotations

from datetime import datetime, timedelta

from devstack.provider.exchange import Answer, ApiError, json_answer
from devstack.provider.instants import (
    day_start,
    micros,
    next_month_start,
    rfc3339,
    sql_style,
)
from devstack.provider.limits import Quotas
from devstack.provider.store import Store
from devstack.provider.webhooks import message_id


def one_email(store: Store, email_id: str) -> Answer:
    """An e-mail with its parts."""
    email = store.email(email_id)
    if email is None:
        raise ApiError(404, "not_found", "Email not found")
    parts = store.parts(email)
    envelope = email.envelope
    return json_answer(
        {
            "object": "email",
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
            "message_id": message_id(email.id),
            "html": parts.get("html"),
            "text": parts.get("text"),
            "tags": envelope["tags"],
        }
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
