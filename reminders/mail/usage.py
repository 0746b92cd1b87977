"""What Resend says of its quotas."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from reminders.domain.quota import Quota, Usage

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
