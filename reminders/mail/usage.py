"""What Resend says of its quotas."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, NonNegativeInt, ValidationError

from reminders.ports import Quota, Usage


class _Window(BaseModel):
    used: NonNegativeInt
    limit: NonNegativeInt | None
    resets_at: AwareDatetime


class _Emails(BaseModel):
    daily: _Window
    monthly: _Window


class _Usage(BaseModel):
    emails: _Emails


def usage_of(answer: Mapping[str, Any]) -> Usage | None:
    """The quotas in an answer of `GET /usage`; `None` if it is none we understand."""
    try:
        emails = _Usage.model_validate(dict(answer)).emails
    except ValidationError:
        return None
    return Usage(daily=_quota(emails.daily), monthly=_quota(emails.monthly))


def _quota(window: _Window) -> Quota:
    resets_at: datetime = window.resets_at
    return Quota(used=window.used, limit=window.limit, resets_at=resets_at)
