"""One enrollment's plan in the ledger: locked, read and written, in the caller's transaction.

All planning of one enrollment is serialised by a lock (`reminders.db.locks`), and every plan takes
its version inside that lock: of two plans the one with the higher version saw the newer state. A
plan that changes nothing has the version of the one that changed something last: who knows that one
knows this one. The session is locked as well, so that an enrollment and a move of it cannot miss
each other; so is the person, before anything of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import mapping, unconfirmed
from reminders.db.sql import counting_session, counts_for, covers, in_effect, typed
from reminders.db.tables import ReminderRow, SessionRow
from reminders.domain.errors import SessionNotFoundError
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.lead_in import COUNTED, lead_in
from reminders.domain.model import EnrollmentStatus, Reminder, ReminderStatus, Session, StatusReason
from reminders.domain.revise import Revision

_SESSION = (
    select(SessionRow.__table__)
    .where(SessionRow.id == bindparam("session_id"))
    .order_by(*mapping.sessions_first())
)

# One statement, because every enrollment asks all of this, and round trips are what it pays for.
_ENROLLED = """
SELECT count(*) FROM (
    SELECT FROM enrollments e WHERE e.session_id = :session_id AND e.status = 'confirmed'
     LIMIT :counted) e
"""
# Whoever waits for the last reminder of a session that starts at the same instant, of this one too.
_TOGETHER = f"""
SELECT count(*) FROM (
    SELECT FROM session_reminder_emails
     WHERE email_status = 'scheduled'
       AND due_at = (SELECT s.start_time - make_interval(mins => min(c.minutes_before))
                       FROM {counting_session(":session_id")} s, reminder_configurations c
                      WHERE {counts_for("c", ":session_id")}
                        AND c.is_enabled AND c.minutes_before > 0
                      GROUP BY s.start_time)
     LIMIT :counted) w
"""  # noqa: S608 - composed of constants
_APART = "SELECT wake_apart FROM reminder_installation"
_CROWD = typed(f"SELECT ({_ENROLLED}) AS enrolled, ({_APART}) AS apart")

# A state in which nobody was to be told of it is over once the session is another: it may come back.
_SITUATION = typed(f"""
WITH quiet AS MATERIALIZED (
    SELECT q.session_id, coalesce(s.start_time = q.start_time AND s.status = q.status, false) AS holds
      FROM quiet_sessions q LEFT JOIN {counting_session("q.session_id")} s ON true
     WHERE q.session_id = :session_id),
outdated AS (
    DELETE FROM quiet_sessions q USING quiet
     WHERE q.session_id = quiet.session_id AND NOT quiet.holds)
SELECT w.user_id,
       (SELECT e.status FROM enrollments e
         WHERE e.session_id = :session_id AND e.user_id = w.user_id
         ORDER BY {mapping.ENROLLMENT_ORDER} LIMIT 1) AS enrollment,
       (SELECT jsonb_object_agg(p.kind, p.reason) FROM (
            -- Of several reasons the last by name, as at delivery: what the person asked for.
            SELECT coalesce(p.reminder_type, '') AS kind, max(p.reason) AS reason
              FROM reminder_preferences p
             WHERE p.user_id = w.user_id AND {covers("p", "session_id", ":session_id")}
               AND {in_effect("p")}
             GROUP BY 1) p) AS stopping,
       ({_ENROLLED}) AS enrolled, ({_TOGETHER}) AS together, ({_APART}) AS apart,
       EXISTS (SELECT FROM quiet WHERE holds) AS is_quiet,
       (SELECT u.version FROM unconfirmed_plans u
         WHERE u.session_id = :session_id AND u.user_id = w.user_id) AS unconfirmed,
       nextval('plan_versions') AS version
  FROM unnest(:users) AS w (user_id)
""").columns(stopping=JSONB())  # noqa: S608 - composed of constants

_RECORDED = (
    select(ReminderRow.__table__)
    .where(
        ReminderRow.session_id == bindparam("session_id"),
        ReminderRow.user_id == func.any(bindparam("users", type_=ARRAY(Uuid()))),
    )
    .order_by(ReminderRow.id)
    .with_for_update()
)

_CHANGE = (
    update(ReminderRow).where(ReminderRow.id == bindparam("row_id")).values(updated_at=func.now())
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedEnrollment:
    """An enrollment's plan as it now stands in the ledger."""

    session: Session
    user_id: UUID
    enrollment: EnrollmentStatus | None
    """`None` if the platform knows nothing of it."""
    reminders: tuple[Reminder, ...]
    """The newest generation of each type, earliest due first."""
    version: int
    """Of the plan that changed the ledger last, this one or an earlier one."""
    is_first: bool
    """Whether the ledger had nothing of this enrollment before."""
    is_changed: bool
    """Whether this call changed the ledger."""
    is_unconfirmed: bool = False
    """Whether its workflow, if there is one, is not known to follow it."""
    is_revived: bool = False
    """Whether something waits anew that had been called off, and its workflow with it perhaps."""
    cancelled: int = 0
    """Reminders that this call called off."""
    written: int = 0
    """Reminders that this call added, moved or closed."""
    called_off: StatusReason | None = None
    """Why nobody is to be reminded any more; absent while somebody is. See `is_over`."""
    lead_in: timedelta | None = None
    """How long before a due instant its workflow wakes."""

    @property
    def has_pending(self) -> bool:
        """Whether a workflow has something left to do."""
        return any(r.status.is_pending for r in self.reminders)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is wanted any more, and nothing waits to say so.

        The notice of a cancelled session waits until it is out: a request may come back refused.
        """
        if self.called_off is StatusReason.SESSION_CANCELLED and self.is_told:
            return False
        return self.called_off is not None and not any(
            r.status is ReminderStatus.SCHEDULED for r in self.reminders
        )

    @property
    def is_told(self) -> bool:
        """Whether a notice waits to be sent, or is being sent."""
        return any(r.notice is not None and r.status.is_pending for r in self.reminders)

    @property
    def already_sent(self) -> int:
        """Reminders that the provider has accepted."""
        return sum(r.status.is_accepted for r in self.reminders)

    @property
    def in_flight(self) -> int:
        """Reminders in a request that may have been accepted."""
        return sum(r.status is ReminderStatus.SENDING for r in self.reminders)


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """What a plan of an enrollment depends on, besides session, rules and earlier rows."""

    enrollment: EnrollmentStatus | None
    """`None` if the platform knows nothing of it."""
    stopping: Mapping[str, str]
    """Preferences that stop reminders of this session: reason by type; by `""`, those of all."""
    enrolled: int
    """How many are enrolled in the session; not counted beyond `COUNTED`."""
    together: int
    """How many wait already to be reminded at the same instant, of whatever session; likewise."""
    apart: timedelta
    """How far apart workflows wake."""
    unconfirmed: int | None
    """Version of the newest plan, if no workflow has confirmed it."""
    version: int
    """Of the plan that is made of it."""
    is_quiet: bool = False
    """Whether nobody is to be told of how the session is now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A plan of one enrollment, not written yet."""

    user_id: UUID
    revision: Revision
    """What is added and changed."""
    situation: Situation
    """What it was made for."""
    is_first: bool = False
    """Whether the ledger had nothing of this enrollment before."""
    is_newest: bool = False
    """Whether the person enrolled in this very transaction."""
    is_revived: bool = False
    """See `PlannedEnrollment`."""
    called_off: StatusReason | None = None
    """Why nothing of it is wanted any more."""

    @property
    def is_changed(self) -> bool:
        """Whether it changes the ledger."""
        return not self.revision.is_empty


async def session(connection: AsyncConnection, session_id: UUID) -> Session:
    """The session as it is now, and stays while `locks.planning` is held.

    Raises:
        SessionNotFoundError: If there is no such session.
    """
    found = await connection.execute(_SESSION, {"session_id": session_id})
    row = found.mappings().first()
    if row is None:
        raise SessionNotFoundError(session_id)
    return mapping.session(row)


async def situation(connection: AsyncConnection, session_id: UUID, user_id: UUID) -> Situation:
    """What counts for an enrollment now, and the next version; to be asked inside its lock."""
    return (await situations(connection, session_id, [user_id]))[user_id]


async def situations(
    connection: AsyncConnection, session_id: UUID, user_ids: Sequence[UUID]
) -> dict[UUID, Situation]:
    """As `situation`, by person."""
    asked = {"session_id": session_id, "users": user_ids, "counted": COUNTED}
    rows = (await connection.execute(_SITUATION, asked)).mappings()
    return {
        row["user_id"]: Situation(
            enrollment=EnrollmentStatus(row["enrollment"]) if row["enrollment"] else None,
            stopping=row["stopping"] or {},
            enrolled=row["enrolled"],
            together=row["together"],
            apart=row["apart"],
            unconfirmed=row["unconfirmed"],
            version=row["version"],
            is_quiet=row["is_quiet"],
        )
        for row in rows
    }


async def crowd(connection: AsyncConnection, session_id: UUID) -> tuple[int, timedelta]:
    """How many are enrolled in a session, as far as it is counted, and how far apart they wake."""
    asked = {"session_id": session_id, "counted": COUNTED}
    row = (await connection.execute(_CROWD, asked)).one()
    return row.enrolled, row.apart


async def recorded(
    connection: AsyncConnection, session_id: UUID, *user_ids: UUID
) -> tuple[Reminder, ...]:
    """The ledger rows of these people, locked in the order in which deliveries lock them too."""
    asked = {"session_id": session_id, "users": user_ids}
    found = await connection.execute(_RECORDED, asked)
    return tuple(mapping.reminder(row) for row in found.mappings())


async def recorded_by(
    connection: AsyncConnection, session_id: UUID, users: Sequence[UUID]
) -> dict[UUID, tuple[Reminder, ...]]:
    """As `recorded`, by person; nothing recorded is an empty tuple."""
    found: dict[UUID, tuple[Reminder, ...]] = dict.fromkeys(users, ())
    for row in await recorded(connection, session_id, *users):
        found[row.user_id] += (row,)
    return found


async def write(
    connection: AsyncConnection, session: Session, drafts: Sequence[Draft]
) -> list[PlannedEnrollment]:
    """Write plans, each under the version of the situation that it was made for, in this order."""
    values = [
        {
            **mapping.REMINDERS.values(row),
            "workflow_id": session_reminder_workflow_id(session.id, draft.user_id),
            "plan_version": draft.situation.version,
        }
        for draft in drafts
        for row in draft.revision.added
    ]
    if values:
        values.sort(key=lambda row: row["id"])
        stamps = ("created_at", "updated_at")  # the database's own
        await connection.execute(
            insert(ReminderRow),
            [{name: v for name, v in row.items() if name not in stamps} for row in values],
        )
    changed = [(row, draft) for draft in drafts for row in draft.revision.changed]
    if changed:
        changed.sort(key=lambda pair: pair[0].id)
        await connection.execute(_CHANGE, [_change(row, draft) for row, draft in changed])
    versions = {
        draft.user_id: draft.situation.version
        for draft in drafts
        if draft.is_changed and not draft.is_first
    }
    await unconfirmed.add(connection, session.id, versions)
    return [written(session, draft) for draft in drafts]


def _change(row: Reminder, draft: Draft) -> dict[str, object]:
    """What a plan changes of a recorded reminder."""
    return {
        "row_id": row.id,
        "due_at": row.due_at,
        "starts_at": row.starts_at,
        "email_status": row.status,
        "status_reason": row.reason,
        "requested_at": row.requested_at,
        "moved_from": row.moved_from,
        "plan_version": draft.situation.version,
    }


def written(session: Session, draft: Draft) -> PlannedEnrollment:
    """A plan as it stands in the ledger once it is written."""
    revision, situation, user_id = draft.revision, draft.situation, draft.user_id
    known = max((r.plan_version for r in revision.unchanged), default=0)
    is_pending = any(r.status.is_pending for r in revision.reminders)
    return PlannedEnrollment(
        session=session,
        user_id=user_id,
        enrollment=situation.enrollment,
        reminders=revision.reminders,
        version=(
            situation.version
            if draft.is_changed
            else max(known, situation.unconfirmed or 0) or situation.version
        ),
        is_first=draft.is_first,
        is_changed=draft.is_changed,
        is_unconfirmed=not draft.is_first
        and (draft.is_changed or situation.unconfirmed is not None),
        is_revived=draft.is_revived,
        cancelled=sum(r.status is ReminderStatus.CANCELLED for r in revision.changed),
        written=len(revision.added) + len(revision.changed),
        called_off=draft.called_off,
        lead_in=(
            lead_in(
                max(situation.enrolled, situation.together),
                user_id,
                # Whoever else waits then was planned before: the next place is behind them.
                is_newest=draft.is_newest
                or (draft.is_first and situation.together >= situation.enrolled),
                apart=situation.apart,
            )
            if is_pending
            else None
        ),
    )
