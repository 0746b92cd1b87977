"""A rule that is added, changed or deleted: what is acceptable, and whom it would move.

Pure. The diff asks `plan` and `revise`, as the planner itself does: there is no second opinion on
what a change does, only the same one beforehand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from reminders.domain.errors import InvalidInputError
from reminders.domain.model import (
    NOTICES,
    Notice,
    Reminder,
    ReminderRule,
    ReminderStatus,
    StatusReason,
)
from reminders.domain.plan import plan
from reminders.domain.revise import is_called_off, newest_of, revise

_T = TypeVar("_T")

LONGEST_LEAD = timedelta(days=365)
"""Nobody is reminded earlier, and a timer reaches as far."""
LONGEST_NAME = 100
"""Code points of a display name."""
LARGEST_ORDER = 10_000
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleFields:
    """What somebody wants of a rule; what is absent stays as it is."""

    lead: timedelta | None = None
    is_enabled: bool | None = None
    subject_template: str | None = None
    display_name: str | None = None
    sort_order: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleChange:
    """What counts before and after a change."""

    reminder_type: str
    session_id: UUID | None
    """The only session it is about; absent means all that have no rule of their own."""
    before: ReminderRule | None
    """Absent when there was none of this type."""
    after: ReminderRule | None
    """Absent when there is none of this type any more."""

    @property
    def moves_reminders(self) -> bool:
        """Whether what is planned may differ; subjects, names and order are read when it is sent.

        Of notices only a confirmation is noted beforehand, of those who are not confirmed yet.
        """
        if self.reminder_type in NOTICES and self.reminder_type != Notice.CONFIRMED:
            return False
        return _wanted(self.before) != _wanted(self.after)

    @property
    def is_repeated(self) -> bool:
        """Whether nothing changed: somebody repeats a call that may have failed half-way."""
        return self.before == self.after


def with_fields(
    before: ReminderRule | None,
    reminder_type: str,
    session_id: UUID | None,
    fields: RuleFields,
) -> ReminderRule:
    """The rule with what is wanted of it.

    Args:
        before: What counts so far; absent when the rule is new, and then the lead and the subject
            must be given; the rule of a notice has no lead.
        reminder_type: Its name.
        session_id: The only session it is for; absent means all.
        fields: What is wanted.

    Raises:
        InvalidInputError: If a value is missing, or not acceptable.
    """
    if not _TYPE.fullmatch(reminder_type):
        raise InvalidInputError(
            "reminder_type is 1 to 32 ASCII letters, digits, '.', '_' and '-', the first of them a"
            " letter or digit; write for example 12h",
            field="reminder_type",
        )
    is_notice = reminder_type in NOTICES
    if is_notice and fields.lead:
        raise InvalidInputError(
            f"{reminder_type!r} is a notice, which goes out when something changes; leave"
            " minutes_before out, or take another reminder_type",
            field="minutes_before",
        )
    known_lead = timedelta() if is_notice else before.lead if before else None
    lead = _required(_first(fields.lead, known_lead), "minutes_before")
    subject = _required(
        _first(fields.subject_template, before.subject_template if before else None),
        "email_subject_template",
    )
    name = _first(fields.display_name, before.display_name if before else reminder_type)
    order = _first(fields.sort_order, before.sort_order if before else 0)
    if not is_notice and (lead % _MINUTE or not _MINUTE <= lead <= LONGEST_LEAD):
        raise InvalidInputError(
            f"minutes_before is a whole number from 1 to {LONGEST_LEAD // _MINUTE}",
            field="minutes_before",
        )
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidInputError(
            f"display_name is one line of 1 to {LONGEST_NAME} characters", field="display_name"
        )
    if not 0 <= order <= LARGEST_ORDER:
        raise InvalidInputError(
            f"sort_order is a whole number from 0 to {LARGEST_ORDER}", field="sort_order"
        )
    return ReminderRule(
        reminder_type=reminder_type,
        lead=lead,
        is_enabled=_first(fields.is_enabled, before.is_enabled if before else True),
        subject_template=subject,
        display_name=name,
        sort_order=order,
        session_id=session_id,
    )


class Fate(StrEnum):
    """What a change of a rule does to one enrollment's reminder of its type."""

    MOVED = "moved"
    """It waits, and is due at another instant from then on."""
    PLANNED = "planned"
    """It is scheduled newly: there was none, or it was skipped."""
    SKIPPED = "skipped"
    """It is recorded as skipped: its instant has passed, and nobody is mailed for the past."""
    SWITCHED_OFF = "switched_off"
    """It waited, and is skipped because its rule is off or gone."""
    ALREADY_SENT = "already_sent"
    """It went out; that stays, and it is not sent once more."""
    LEFT_ALONE = "left_alone"
    """The person's reminders were called off or stopped."""
    UNCHANGED = "unchanged"
    """It is as it should be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alike:
    """Enrollments of one session whose reminder of one type is in the very same state."""

    session_id: UUID
    starts_at: datetime
    people: int
    user_id: UUID
    """One of them, who stands for all."""
    recorded: tuple[Reminder, ...]
    """The ledger rows of that one."""
    is_stopped: bool = False
    """Whether they asked for no reminders, or their address takes none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """From the earliest to the latest instant."""

    earliest: datetime
    latest: datetime


@dataclass(slots=True, kw_only=True)
class Counts:
    """Reminders by what becomes of them."""

    fates: Counter[Fate] = field(default_factory=Counter)
    skipped: Counter[StatusReason] = field(default_factory=Counter)
    """Those of `Fate.SKIPPED`, by reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleDiff:
    """What a change of a rule would do, before it is made."""

    change: RuleChange
    total: Counts
    sessions: tuple[tuple[UUID, datetime, Counts], ...]
    """Those in which something would change, the nearest first."""
    moved_from: Range | None
    """Due instants that would move; absent when none would."""
    moved_to: Range | None
    planned_for: Range | None
    """Due instants of what would be scheduled newly."""
    looked_at: int
    """Enrollments."""
    is_complete: bool
    """False when there are more sessions or enrollments ahead than are looked at."""


def diff(
    change: RuleChange,
    groups: Iterable[Alike],
    *,
    now: datetime,
    threshold: timedelta,
    is_complete: bool,
) -> RuleDiff:
    """What a change would do to these enrollments.

    Args:
        change: As it would be.
        groups: All enrollments of sessions that lie ahead, the nearest session first.
        now: The instant to judge by; aware.
        threshold: The planner's own.
        is_complete: Whether these are all.
    """
    total = Counts()
    sessions: dict[UUID, tuple[UUID, datetime, Counts]] = {}
    instants: dict[str, list[datetime]] = {"from": [], "to": [], "planned": []}
    looked_at = 0
    for alike in groups:
        looked_at += alike.people
        fate, before, after = _fate(alike, change, now=now, threshold=threshold)
        counts = sessions.setdefault(
            alike.session_id, (alike.session_id, alike.starts_at, Counts())
        )[2]
        for tally in (total, counts):
            tally.fates[fate] += alike.people
            if fate is Fate.SKIPPED and after is not None and after.reason is not None:
                tally.skipped[after.reason] += alike.people
        if fate is Fate.MOVED and before is not None and after is not None:
            instants["from"].append(before.due_at)
            instants["to"].append(after.due_at)
        elif fate is Fate.PLANNED and after is not None:
            instants["planned"].append(after.due_at)
    touched = (Fate.MOVED, Fate.PLANNED, Fate.SKIPPED, Fate.SWITCHED_OFF)
    return RuleDiff(
        change=change,
        total=total,
        sessions=tuple(s for s in sessions.values() if any(s[2].fates[f] for f in touched)),
        moved_from=_range(instants["from"]),
        moved_to=_range(instants["to"]),
        planned_for=_range(instants["planned"]),
        looked_at=looked_at,
        is_complete=is_complete,
    )


def _fate(
    alike: Alike, change: RuleChange, *, now: datetime, threshold: timedelta
) -> tuple[Fate, Reminder | None, Reminder | None]:
    """What becomes of the reminder, as it is recorded and as it would be."""
    newest = newest_of(alike.recorded)
    before = newest.get(change.reminder_type)
    is_pending = before is not None and before.status.is_pending
    if (alike.is_stopped or is_called_off(newest.values())) and not is_pending:
        return Fate.LEFT_ALONE, before, before
    revision = revise(
        plan(alike.starts_at, [change.after] if change.after else [], now=now),
        alike.recorded,
        session_id=alike.session_id,
        user_id=alike.user_id,
        starts_at=alike.starts_at,
        threshold=threshold,
        enrolling=False,
    )
    after = next((r for r in revision.reminders if r.reminder_type == change.reminder_type), None)
    if after is None or after == before:
        was_sent = before is not None and before.status.is_accepted
        return (Fate.ALREADY_SENT if was_sent else Fate.UNCHANGED), before, after
    if after.status is ReminderStatus.SCHEDULED:
        return (Fate.MOVED if after in revision.changed else Fate.PLANNED), before, after
    if after.reason is StatusReason.RULE_DISABLED:
        return Fate.SWITCHED_OFF, before, after
    return Fate.SKIPPED, before, after


def _wanted(rule: ReminderRule | None) -> timedelta | None:
    """The lead that is planned by; nothing while the rule is off."""
    return rule.lead if rule is not None and rule.is_enabled else None


def _first(wanted: _T | None, otherwise: _T) -> _T:
    """What is wanted; otherwise what was."""
    return otherwise if wanted is None else wanted


def _required(value: _T | None, name: str) -> _T:
    if value is None:
        raise InvalidInputError(f"{name} is missing; a new rule needs it", field=name)
    return value


def _range(instants: list[datetime]) -> Range | None:
    return Range(earliest=min(instants), latest=max(instants)) if instants else None
