"""Reminder rules, and what a change of one does or would do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from pydantic import Field

from reminders.domain.model import ReminderRule, StatusReason
from reminders.domain.rules import (
    Counts,
    Fate,
    Range,
    RuleDiff,
)
from starter.api.answers.base import Out
from starter.api.answers.sessions import ChangesOut
from starter.services.rules import RuleReceipt

MOST_SESSIONS = 50
"""Sessions of a diff that are told one by one."""


class RuleOut(Out):
    """A rule: a kind of reminder that every enrollment gets."""

    reminder_type: str = Field(examples=["24h"])
    session_id: UUID | None
    """The only session it is for; null means every session without one of its own."""
    minutes_before: int = Field(examples=[1440])
    is_enabled: bool
    email_subject_template: str = Field(examples=["Reminder: {session_title} starts tomorrow"])
    display_name: str = Field(examples=["1 Day Before"])
    sort_order: int

    @classmethod
    def of(cls, rule: ReminderRule) -> Self:
        """The rule as JSON."""
        return cls(
            reminder_type=rule.reminder_type,
            session_id=rule.session_id,
            minutes_before=rule.lead // timedelta(minutes=1),
            is_enabled=rule.is_enabled,
            email_subject_template=rule.subject_template,
            display_name=rule.display_name,
            sort_order=rule.sort_order,
        )


class RuleListOut(Out):
    """Rules, in their order."""

    items: list[RuleOut]


class TellingOut(Out):
    """Sessions that are being told. What is stored holds already: no old instant can fire."""

    sessions: int
    """Sessions with enrollments that lie ahead."""
    told: int
    """Of these, those whose `SessionChangeWorkflow` is at it; `GET /v1/runs` has its counts. The
    others follow, at the latest by the next sweep."""


class RuleChangeOut(Out):
    """A change of a rule, stored, and what it did to those who are enrolled."""

    configuration: RuleOut | None
    """The rule that counts now; null when there is none of this type any more."""
    changes: ChangesOut | None
    """Of all sessions together. Null while `under_way`."""
    under_way: TellingOut | None
    """Null when everybody has been told."""

    @classmethod
    def of(cls, receipt: RuleReceipt) -> Self:
        """The answer as JSON."""
        after, counts = receipt.change.after, receipt.counts
        return cls(
            configuration=RuleOut.of(after) if after else None,
            changes=ChangesOut.of(counts) if counts else None,
            under_way=None if counts else TellingOut(sessions=receipt.sessions, told=receipt.told),
        )


class RangeOut(Out):
    """From the earliest to the latest instant."""

    earliest: datetime
    latest: datetime

    @classmethod
    def of(cls, found: Range) -> Self:
        """The range as JSON."""
        return cls(earliest=found.earliest, latest=found.latest)


class FatesOut(Out):
    """Reminders of the rule's type, one an enrollment, by what would become of them."""

    moved: int
    """They wait, and would be due at another instant."""
    planned: int
    """They would be scheduled newly."""
    skipped: dict[StatusReason, int]
    """They would be recorded as skipped, by reason: nobody is mailed for the past."""
    switched_off: int
    """They wait, and would be skipped as `rule_disabled`."""
    already_sent: int
    """They went out, and stay as they are."""
    left_alone: int
    """Of people whose reminders were called off or stopped."""
    unchanged: int

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """The counts as JSON."""
        return cls(**_fates(counts))


class SessionFatesOut(FatesOut):
    """The same for one session."""

    session_id: UUID
    start_time: datetime


class RuleDiffOut(Out):
    """What a change of a rule would do; nothing was stored."""

    before: RuleOut | None
    after: RuleOut | None
    in_words: list[str]
    total: FatesOut
    moved_from: RangeOut | None
    moved_to: RangeOut | None
    planned_for: RangeOut | None
    enrollments: int
    """Confirmed enrollments of sessions ahead that were looked at."""
    sessions: list[SessionFatesOut]
    """The nearest ones in which something would change."""
    more_sessions: int
    """How many more there are of these."""
    is_complete: bool
    """False when there are too many sessions ahead to look at; the nearest are counted."""

    @classmethod
    def of(cls, diff: RuleDiff) -> Self:
        """The diff as JSON."""
        before, after = diff.change.before, diff.change.after
        return cls(
            before=RuleOut.of(before) if before else None,
            after=RuleOut.of(after) if after else None,
            in_words=list(in_words(diff)),
            total=FatesOut.of(diff.total),
            moved_from=RangeOut.of(diff.moved_from) if diff.moved_from else None,
            moved_to=RangeOut.of(diff.moved_to) if diff.moved_to else None,
            planned_for=RangeOut.of(diff.planned_for) if diff.planned_for else None,
            enrollments=diff.looked_at,
            sessions=[
                SessionFatesOut(session_id=session_id, start_time=starts_at, **_fates(counts))
                for session_id, starts_at, counts in diff.sessions[:MOST_SESSIONS]
            ],
            more_sessions=max(len(diff.sessions) - MOST_SESSIONS, 0),
            is_complete=diff.is_complete,
        )


def in_words(diff: RuleDiff) -> tuple[str, ...]:
    """A diff in sentences; the last one says that nobody is mailed for the past."""
    fates = diff.total.fates
    told = []
    if fates[Fate.MOVED] and diff.moved_from and diff.moved_to:
        told.append(
            f"{fates[Fate.MOVED]} waiting reminders move, from {_span(diff.moved_from)}"
            f" to {_span(diff.moved_to)}."
        )
    if fates[Fate.PLANNED] and diff.planned_for:
        told.append(
            f"{fates[Fate.PLANNED]} reminders are newly planned, for {_span(diff.planned_for)}."
        )
    if fates[Fate.SWITCHED_OFF]:
        told.append(f"{fates[Fate.SWITCHED_OFF]} waiting reminders are not sent: the rule is off.")
    told += [
        f"{count} reminders are recorded as skipped ({reason}) and not sent."
        for reason, count in sorted(diff.total.skipped.items())
    ]
    if fates[Fate.ALREADY_SENT]:
        told.append(f"{fates[Fate.ALREADY_SENT]} have been sent, and are not sent again.")
    if not told:
        told.append("Nothing that is planned changes.")
    if not diff.is_complete:
        told.append("There are more sessions ahead than were counted; the nearest were.")
    return (*told, "Nobody is mailed for the past: what is due before now is never sent.")


def _span(found: Range) -> str:
    earliest, latest = (f"{i:%Y-%m-%d %H:%M}" for i in (found.earliest, found.latest))
    return f"{earliest} UTC" if earliest == latest else f"{earliest} to {latest} UTC"


def _fates(counts: Counts) -> dict[str, Any]:
    every: dict[str, Any] = {fate.value: counts.fates[fate] for fate in Fate}
    return {**every, "skipped": dict(counts.skipped)}
