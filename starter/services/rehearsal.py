"""A rehearsal: which e-mails an enrollment would get, and when; nobody is enrolled, nothing is sent.

Planning, the decision at the moment of sending, and the rendering are those of the performance;
ledger and clock are a few variables. That the workflow does what the plan says, tests prove.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from reminders.domain.case import COOLING, Case
from reminders.domain.decide import Close, Wait, decide, moved_from
from reminders.domain.delivery_errors import InvalidAddressError, RenderError
from reminders.domain.errors import ConflictError, InvalidInputError
from reminders.domain.model import (
    Attendee,
    DeliveryFacts,
    EnrollmentStatus,
    OptOut,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.domain.planning import revised
from reminders.domain.ports import Composer
from starter.assembly import Parts
from starter.services.mails import mail_composer

if TYPE_CHECKING:
    from reminders.db.preference_store import Choices

_SAMPLE = "sample.attendee@example.com"


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A session's start changes."""

    at: datetime
    """When the platform says so; aware."""
    to: datetime
    """The new start; aware."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What is rehearsed: one enrollment, from the moment it is made."""

    session: Session
    attendee: Attendee
    rules: tuple[ReminderRule, ...]
    enrolled_at: datetime
    """Any instant, aware."""
    moves: tuple[Move, ...] = ()
    """By ascending instant, none before the enrollment."""
    threshold: timedelta = timedelta(hours=1)
    """`RESCHEDULE_RESEND_THRESHOLD`."""
    cooling: timedelta = COOLING
    """How long a move is waited with before it is told; see `EnrollmentPlanner.cooling`."""
    stopped: Mapping[str, StatusReason] = field(default_factory=dict)
    """What the attendee is not to get, by reminder type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsed:
    """What became of one reminder."""

    reminder: Reminder
    subject: str | None
    """As the attendee gets it; absent if nothing went out."""


async def rehearsed(
    parts: Parts,
    session: UUID | Session,
    *,
    user_id: UUID | None = None,
    enrolled_at: datetime | None = None,
    moves: tuple[Move, ...] = (),
) -> tuple[Script, tuple[Rehearsed, ...]]:
    """Rehearse by what the database says now; it is only read.

    Args:
        parts: To ask with.
        session: One that there is, by its id; or a made-up one.
        user_id: Whose enrollment; absent means somebody made up.
        enrolled_at: Absent means now.
        moves: By ascending instant.

    Returns:
        What was rehearsed, and what became of it.

    Raises:
        InvalidInputError: If the session moves before the enrollment.
        ConflictError: If the session is cancelled, so that nobody is reminded of it.
        NotFoundError: If there is no such session or person.
        ConfigurationError: If a setting of the e-mails cannot be used.
    """
    enrolled_at = enrolled_at or parts.clock.now()
    if any(move.at < enrolled_at for move in moves):
        raise InvalidInputError("the move lies before the enrollment", field="move_at")
    cooling = timedelta(seconds=parts.settings.notice_cooling_seconds)
    rules = await parts.rules.of_session(None if isinstance(session, Session) else session)
    if not isinstance(session, Session):
        cooling = await parts.planner.cooling(session)
        session = await parts.catalogue.session(session)
    if session.status is SessionStatus.CANCELLED:
        raise ConflictError("the session is cancelled, so nobody is reminded; restore it first")
    attendee = Attendee(user_id=uuid4(), email=_SAMPLE, full_name="Sample Attendee")
    stopped: Mapping[str, StatusReason] = {}
    if user_id is not None:
        attendee = await parts.catalogue.user(user_id)
        stopped = _stopped(await parts.preferences.of(user_id), rules, session.id)
    script = Script(
        session=session,
        attendee=attendee,
        rules=rules,
        enrolled_at=enrolled_at,
        moves=moves,
        threshold=parts.settings.reschedule_resend_threshold,
        cooling=cooling,
        stopped=stopped,
    )
    return script, await asyncio.to_thread(_played, parts, script)


def rehearse(script: Script, composer: Composer) -> tuple[Rehearsed, ...]:
    """Play an enrollment to its end.

    Args:
        script: What is rehearsed; its session takes place, and its attendee takes part.
        composer: Renders, as the performance does.

    Returns:
        Every reminder, sent or not, by the instant that it went out or was due.
    """
    rehearsal = _Rehearsal(script, composer)
    rehearsal.plan(at=script.enrolled_at, enrolling=True)
    for move in script.moves:
        rehearsal.pass_until(move.at)
        rehearsal.move(move.to)
        rehearsal.plan(at=move.at, enrolling=False)
    rehearsal.pass_until(None)
    return rehearsal.result()


def _played(parts: Parts, script: Script) -> tuple[Rehearsed, ...]:
    # The subject as attendees get it, without an address in it.
    return rehearse(
        script, mail_composer(parts.settings.model_copy(update={"delivery_mode": "live"}))
    )


def _stopped(
    choices: Choices, rules: tuple[ReminderRule, ...], session_id: UUID
) -> dict[str, StatusReason]:
    """Why a person is not to get a session's reminders, by type: what they asked for comes first."""
    found = {}
    for rule in rules:
        scopes = {
            OptOut(session_id=session, reminder_type=kind)
            for session in (None, session_id)
            for kind in (None, rule.reminder_type)
        }
        if choices.opt_outs & scopes:
            found[rule.reminder_type] = StatusReason.OPTED_OUT
        elif choices.withheld:
            found[rule.reminder_type] = choices.withheld[-1]
    return found


class _Rehearsal:
    """The ledger, the provider and the clock of one rehearsal."""

    def __init__(self, script: Script, composer: Composer) -> None:
        self._script = script
        self._composer = composer
        self._rows: dict[UUID, Reminder] = {}
        self._subjects: dict[UUID, str] = {}
        self._session = script.session
        self._version = 0

    def move(self, starts_at: datetime) -> None:
        """The session starts at another instant, and lasts as long."""
        session, by = self._session, starts_at - self._session.starts_at
        ends_at = session.ends_at + by if session.ends_at else None
        self._session = replace(session, starts_at=starts_at, ends_at=ends_at)

    def plan(self, *, at: datetime, enrolling: bool) -> None:
        """Plan as `EnrollmentPlanner` does."""
        self._version += 1
        revision = revised(
            Case(
                session=self._session,
                user_id=self._script.attendee.user_id,
                enrollment=EnrollmentStatus.CONFIRMED,
                recorded=tuple(self._rows.values()),
                now=at,
                rules=self._script.rules,
                stopped=self._script.stopped,
                threshold=self._script.threshold,
                cooling=self._script.cooling,
                enrolling=enrolling,
            )
        )
        for row in (*revision.added, *revision.changed):
            self._rows[row.id] = replace(row, plan_version=self._version)

    def pass_until(self, instant: datetime | None) -> None:
        """Let time pass, to the end if no instant is given; what is due goes out."""
        while waiting := [r for r in self._rows.values() if r.status is ReminderStatus.SCHEDULED]:
            row = min(waiting, key=lambda r: (r.due_at, r.reminder_type))
            if instant is not None and row.due_at > instant:
                return
            self._rows[row.id] = self._delivered(row, now=row.due_at)

    def result(self) -> tuple[Rehearsed, ...]:
        """What became of every reminder."""
        rows = sorted(self._rows.values(), key=lambda r: (r.sent_at or r.due_at, r.reminder_type))
        return tuple(Rehearsed(reminder=r, subject=self._subjects.get(r.id)) for r in rows)

    def _delivered(self, row: Reminder, *, now: datetime) -> Reminder:
        """The row as the ledger would have it after its instant."""
        facts = self._facts(row, now)
        decision = decide(facts, now=now)
        if isinstance(decision, Wait):
            return replace(row, due_at=decision.due_at)
        if isinstance(decision, Close):
            return replace(row, status=decision.status, reason=decision.reason)
        try:
            message = self._composer.compose(facts, now=now)
        except InvalidAddressError:
            return replace(row, status=ReminderStatus.FAILED, reason=StatusReason.INVALID_ADDRESS)
        except RenderError:
            return replace(row, status=ReminderStatus.FAILED, reason=StatusReason.RENDER_ERROR)
        self._subjects[row.id] = message.subject
        return replace(
            row, status=ReminderStatus.SENT, sent_at=now, starts_at=self._session.starts_at
        )

    def _facts(self, row: Reminder, now: datetime) -> DeliveryFacts:
        """Everything that is true of a reminder now, as `DeliveryLedger.read` finds it."""
        others, starts_at = self._rows.values(), self._session.starts_at
        sent = [r for r in others if r.sent_at is not None]
        last = max(sent, key=lambda r: r.sent_at or r.due_at, default=None)
        stopped = self._script.stopped
        moving = next(
            (r for r in others if r.notice and r.moved_from and r.status.is_pending), None
        )
        known = row.moved_from or (moving.moved_from if moving else None)
        known = known or (last.starts_at if last else None)
        going_out = {
            r.reminder_type
            for r in self._script.rules
            if r.is_enabled and r.reminder_type not in stopped
        }
        return DeliveryFacts(
            reminder=row,
            session=self._session,
            attendee=self._script.attendee,
            enrollment_status=EnrollmentStatus.CONFIRMED,
            rule=next(
                (r for r in self._script.rules if r.reminder_type == row.reminder_type), None
            ),
            next_due_at=min(
                (
                    r.due_at
                    for r in others
                    if r.status is ReminderStatus.SCHEDULED
                    and r.notice is None
                    and r.reminder_type in going_out
                    and r.due_at > row.due_at
                ),
                default=None,
            ),
            stopped=self._script.stopped.get(row.reminder_type),
            moved_from=moved_from(known, starts_at, now=now),
            told_already=last is not None and last.starts_at == starts_at,
        )
