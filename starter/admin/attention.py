"""What needs somebody: each with the page on which it is solved, the most urgent first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reminders.db.provider import QuotaReading
from reminders.db.reports import Backlog, Day
from reminders.domain.model import ReminderStatus
from reminders.domain.ports import Hold
from starter.health.diagnosis import Check, Diagnosis, Level

QUOTA_IS_LOW = 0.8
"""From which used part of a quota on somebody should know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Concern:
    """One thing that needs somebody."""

    text: str
    remedy: str | None = None
    link: str | None = None
    """Path below `/admin`."""
    link_text: str = ""
    is_urgent: bool = True


_SOLVED_BY = {
    "overdue": ("/reminders?status=scheduled", "See them"),
    "delivery": ("#delivery", "Resume"),
    "schedule": ("/runs", "Sweep now"),
}
"""Pages that help with a check that is red; the others are mended on the machine."""


def concerns(
    now: datetime,
    *,
    diagnosis: Diagnosis,
    backlog: Backlog | None,
    today: Day | None,
    quotas: Sequence[QuotaReading],
    hold: Hold | None,
) -> list[Concern]:
    """What needs somebody now.

    Args:
        now: Decides which quotas still run.
        diagnosis: All checks.
        backlog: Absent while the database is away, as the others.
        today: The day's figures.
        quotas: As the provider told them.
        hold: Why nothing is posted at present.
    """
    found = [_of(check) for check in diagnosis.checks if check.level is not Level.OK]
    if backlog is not None and backlog.redrivable:
        found.append(
            Concern(
                text=f"{_some(backlog.redrivable, 'failed reminder')} can still be sent:"
                " the session has not begun",
                link="/failed",
                link_text="See why",
            )
        )
    found += [
        Concern(
            text=f"{quota.used_by_now} of {quota.limit} e-mails of the {quota.name} quota are used",
            remedy=f"it is renewed at {quota.resets_at:%Y-%m-%d %H:%M} UTC",
            is_urgent=hold is not None,
        )
        for quota in quotas
        if quota.limit and quota.used_by_now >= QUOTA_IS_LOW * quota.limit and quota.resets_at > now
    ]
    if today is not None:
        if today.late:
            found.append(
                Concern(
                    text=f"{_some(today.late, 'reminder')} of today went out late",
                    link="/reminders?status=sent",
                    link_text="See them",
                    is_urgent=False,
                )
            )
        refused = sum(
            today.sent.get(status, 0)
            for status in (ReminderStatus.BOUNCED, ReminderStatus.COMPLAINED)
        )
        if refused:
            found.append(
                Concern(
                    text=f"{_some(refused, 'e-mail')} of today bounced or were reported as spam",
                    link="/reminders?status=bounced",
                    link_text="See them",
                    is_urgent=False,
                )
            )
    return found


def _of(check: Check) -> Concern:
    link, link_text = _SOLVED_BY.get(check.name, (None, ""))
    return Concern(
        text=check.detail[:1].upper() + check.detail[1:],
        remedy=check.remedy,
        link=link,
        link_text=link_text,
        is_urgent=not check.ok,
    )


def _some(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
