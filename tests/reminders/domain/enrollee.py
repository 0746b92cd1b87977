"""One person and one session, with a ledger of a few variables: planned and sent by the product's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reminders.domain.case import Case
from reminders.domain.decide import Close, Send, Wait, decide
from reminders.domain.model import (
    DeliveryFacts,
    EnrollmentStatus,
    Notice,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.domain.notices import told_start
from reminders.domain.planning import revised
from tests.builders import NOW, USER, a_rule, a_session, an_attendee, the_rules


def notice_rules(*, on: tuple[Notice, ...] = tuple(Notice)) -> list[ReminderRule]:
    """The rules of the notices; only these are switched on."""
    return [a_rule(n.value, lead=timedelta(), is_enabled=n in on) for n in Notice]


@dataclass(frozen=True, kw_only=True)
class Mail:
    """An e-mail that went out."""

    kind: str
    at: datetime
    tells: datetime
    """The start that it tells."""
    moved_from: datetime | None
    is_after_all: bool


@dataclass(kw_only=True)
class Enrollee:
    """Plans as `EnrollmentPlanner`, and sends as the pipeline, when time passes."""

    session: Session = field(default_factory=a_session)
    enrollment: EnrollmentStatus | None = EnrollmentStatus.CONFIRMED
    rules: list[ReminderRule] = field(default_factory=lambda: [*the_rules(), *notice_rules()])
    stopped: Mapping[str, StatusReason] = field(default_factory=dict)
    is_quiet: bool = False
    now: datetime = NOW
    cooling: timedelta = timedelta(minutes=2)
    rows: dict[UUID, Reminder] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    version: int = 0

    def plan(self, *, enrolling: bool = False) -> None:
        """Plan anew, and note the version as `plans.write` does."""
        self.version += 1
        revision = revised(
            Case(
                session=self.session,
                user_id=USER,
                enrollment=self.enrollment,
                recorded=tuple(self.rows.values()),
                now=self.now,
                rules=tuple(self.rules),
                stopped=self.stopped,
                cooling=self.cooling,
                enrolling=enrolling,
                is_quiet=self.is_quiet,
            )
        )
        for row in (*revision.added, *revision.changed):
            self.rows[row.id] = replace(row, plan_version=self.version)

    def enroll(self, status: EnrollmentStatus = EnrollmentStatus.CONFIRMED) -> None:
        """The platform enrolls them, or confirms that it has."""
        self.enrollment = status
        self.plan(enrolling=True)

    def change(self, *, is_quiet: bool = False, **fields: Any) -> None:
        """The session changes, and everybody is planned anew."""
        self.session, self.is_quiet = replace(self.session, **fields), is_quiet
        self.plan()

    def move(self, to: timedelta, *, is_quiet: bool = False) -> None:
        """The session starts so long after `NOW`."""
        self.change(starts_at=NOW + to, is_quiet=is_quiet)

    def cancel(self, *, is_quiet: bool = False) -> None:
        """The session is cancelled."""
        self.change(status=SessionStatus.CANCELLED, is_quiet=is_quiet)

    def restore(self, *, is_quiet: bool = False) -> None:
        """The cancel is taken back."""
        self.change(status=SessionStatus.SCHEDULED, is_quiet=is_quiet)

    def wait(self, time: timedelta) -> None:
        """Let time pass; what is due goes out at its instant, the earliest first."""
        until = self.now + time
        while True:
            waiting = [r for r in self.rows.values() if r.status is ReminderStatus.SCHEDULED]
            row = min(waiting, key=lambda r: (r.due_at, r.reminder_type), default=None)
            if row is None or row.due_at > until:
                self.now = until
                return
            self.now = max(self.now, row.due_at)
            self._deliver(row)

    def told(self) -> list[str]:
        """The kinds of all e-mails, the first first."""
        return ["after all" if m.is_after_all else m.kind for m in self.mails]

    def last(self, kind: Notice) -> Reminder:
        """The newest notice of a kind."""
        rows = [r for r in self.rows.values() if r.reminder_type == kind]
        return max(rows, key=lambda r: r.generation)

    def why(self, kind: Notice) -> list[str]:
        """What became of all notices of a kind, the first first."""
        rows = sorted(
            (r for r in self.rows.values() if r.reminder_type == kind), key=lambda r: r.generation
        )
        return [str(r.reason or r.status) for r in rows]

    def _deliver(self, row: Reminder) -> None:
        facts = self._facts(row)
        decision = decide(facts, now=self.now)
        if isinstance(decision, Send):
            sent = replace(
                row,
                status=ReminderStatus.SENT,
                sent_at=self.now,
                starts_at=self.session.starts_at,
            )
            self.rows[row.id] = sent
            self.mails.append(
                Mail(
                    kind=row.reminder_type,
                    at=self.now,
                    tells=self.session.starts_at,
                    moved_from=facts.moved_from,
                    is_after_all=row.notice is Notice.MOVED and facts.was_called_off,
                )
            )
        elif isinstance(decision, Close):
            self.rows[row.id] = replace(row, status=decision.status, reason=decision.reason)
        else:
            assert isinstance(decision, Wait)
            assert decision.due_at > self.now
            self.rows[row.id] = replace(row, due_at=decision.due_at)

    def _facts(self, row: Reminder) -> DeliveryFacts:
        """As `delivery_statements.READ` finds them."""
        rows, start = list(self.rows.values()), self.session.starts_at
        sent = [r for r in rows if r.sent_at]
        told = max(sent, key=lambda r: r.sent_at or NOW, default=None)
        same = [r for r in sent if r.reminder_type == row.reminder_type]
        before = max(same, key=lambda r: r.generation, default=None)
        waiting = [r for r in rows if r.status is ReminderStatus.SCHEDULED]
        moving = next((r.moved_from for r in waiting if r.notice is Notice.MOVED), None)
        known = row.moved_from or moving or (told_start(told) if told else None)
        leads = [r.due_at for r in waiting if r.notice is None and r.due_at > row.due_at]
        may_be_called_off = any(
            r.notice is Notice.CANCELLED
            and r.plan_version > (told.plan_version if told else 0)
            and (r.status is ReminderStatus.SENDING or r.reason is StatusReason.OUTCOME_UNKNOWN)
            for r in rows
        )
        may_know_another = any(
            r.id != row.id
            and r.plan_version > (told.plan_version if told else 0)
            and (r.notice is Notice.CANCELLED or r.starts_at != start)
            and (r.status is ReminderStatus.SENDING or r.reason is StatusReason.OUTCOME_UNKNOWN)
            for r in rows
        )
        return DeliveryFacts(
            reminder=row,
            session=self.session,
            attendee=an_attendee(),
            enrollment_status=self.enrollment,
            rule=next((r for r in self.rules if r.reminder_type == row.reminder_type), None),
            next_due_at=min(leads, default=None),
            stopped=self.stopped.get(row.reminder_type),
            moved_from=known if known != start else None,
            told_already=told is not None
            and told.starts_at == start
            and told.notice is not Notice.CANCELLED
            and not may_know_another
            and not any(
                r.reason is StatusReason.UNTOLD and r.plan_version > told.plan_version for r in rows
            ),
            was_called_off=may_be_called_off
            or (told is not None and told.notice is Notice.CANCELLED),
            is_quiet=self.is_quiet,
            was_told=before is not None and abs(before.starts_at - start) <= timedelta(hours=1),
        )
