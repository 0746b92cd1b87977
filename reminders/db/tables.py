"""The schema as SQLAlchemy sees it; the Alembic migrations are what makes it.

`sessions`, `users` and `enrollments` are tables in owned mode; over an existing platform's own
tables they are views, see `reminders.db.existing_platform`. Everything else is ours in both modes.
Every instant is `timestamptz`; the test suite compares this file with a migrated database.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Sequence,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables; constraint names are derived, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a plain class attribute
        datetime: DateTime(timezone=True),
        str: Text(),
        UUID: Uuid(),
        bytes: LargeBinary(),
    }


FIRST_INSTANT, END_OF_TIME = "0001-01-02 00:00+00", "9999-12-31 00:00+00"
"""What instants of sessions lie between: further out is what no `datetime` holds in every zone, and
what other systems write for "no date" (`infinity`, the first and the last day that they know)."""


def _instant(column: str) -> CheckConstraint:
    """That a column's instants are such that everybody can read and compute with them."""
    return CheckConstraint(
        f"{column} >= '{FIRST_INSTANT}' AND {column} < '{END_OF_TIME}'", name=column
    )


def partial(name: str, *columns: str, where: str) -> Index:
    """An index of the rows that are asked for."""
    return Index(name, *columns, postgresql_where=text(where))


def _once(name: str | None, *columns: str) -> UniqueConstraint:
    """That there is one row for these columns; an absent value is one like others."""
    return UniqueConstraint(*columns, name=name, postgresql_nulls_not_distinct=True)


plan_versions = Sequence("plan_versions", data_type=BigInteger, metadata=Base.metadata)
"""Orders plans: of two plans of one enrollment, the later transaction has the higher number."""


class SessionRow(Base):
    """A meeting that people enroll in."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("status IN ('scheduled', 'cancelled')", name="status"),
        _instant("start_time"),
        _instant("end_time"),
        Index("ix_sessions_start_time_id", "start_time", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    title: Mapped[str]
    start_time: Mapped[datetime]
    end_time: Mapped[datetime | None]
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    speaker_name: Mapped[str | None]
    location: Mapped[str | None]
    join_url: Mapped[str | None]
    preparation_notes: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="scheduled")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UserRow(Base):
    """A person; the only place where an address is kept."""

    __tablename__ = "users"
    __table_args__ = (Index("ix_users_mailbox", text("lower(btrim(email))")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    full_name: Mapped[str | None]
    time_zone: Mapped[str | None]
    locale: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class EnrollmentRow(Base):
    """Who takes part in what."""

    __tablename__ = "enrollments"
    __table_args__ = (
        UniqueConstraint("session_id", "user_id"),
        CheckConstraint("status IN ('confirmed', 'pending', 'cancelled')", name="status"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    status: Mapped[str] = mapped_column(server_default="confirmed")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    join_url: Mapped[str | None]
    """This person's own, in place of the session's. Whoever has it gets in: it is read for their
    e-mails and their calendar, and for nothing else."""


class TombstoneRow(Base):
    """What was called off with us, where the platform's own row is not ours to change."""

    __tablename__ = "reminder_tombstones"
    __table_args__ = (_once("uq_reminder_tombstones_scope", "session_id", "user_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    session_id: Mapped[UUID]
    user_id: Mapped[UUID | None]
    """Absent means the whole session."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ReminderConfigurationRow(Base):
    """A rule: a kind of reminder that every enrollment gets, or every one of a single session.

    Which one counts for a session is said in `reminders.db.rules`.
    """

    __tablename__ = "reminder_configurations"
    __table_args__ = (
        _once("uq_reminder_configurations_scope", "reminder_type", "session_id"),
        CheckConstraint(
            "CASE WHEN reminder_type IN ('cancelled', 'moved', 'confirmed')"
            " THEN minutes_before = 0 ELSE minutes_before > 0 END",
            name="minutes_before",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    reminder_type: Mapped[str]
    session_id: Mapped[UUID | None] = mapped_column(index=True)
    """Absent means every session; no foreign key, as sessions may be a platform's own."""
    minutes_before: Mapped[int]
    """Zero in the rule of a notice."""
    is_enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    email_subject_template: Mapped[str]
    display_name: Mapped[str]
    sort_order: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ReminderRow(Base):
    """The ledger: one row per reminder and generation."""

    __tablename__ = "session_reminder_emails"
    __table_args__ = (
        UniqueConstraint(
            "session_id", "user_id", "reminder_type", "generation", name="uq_reminder_identity"
        ),
        CheckConstraint(
            "email_status IN ('scheduled', 'sending', 'sent', 'delivered', 'bounced',"
            " 'complained', 'suppressed', 'skipped', 'cancelled', 'failed')",
            name="email_status",
        ),
        _instant("due_at"),
        _instant("starts_at"),
        Index("ix_session_reminder_emails_due_at_id", "due_at", "id"),
        Index("ix_session_reminder_emails_email_status_due_at_id", "email_status", "due_at", "id"),
        partial(
            "ix_session_reminder_emails_waiting",
            "session_id",
            "user_id",
            where="email_status = 'scheduled'",
        ),
        partial(
            "ix_session_reminder_emails_batch_id", "batch_id", where="email_status = 'sending'"
        ),
        partial(
            "ix_session_reminder_emails_shadowed_at", "shadowed_at", where="shadowed_at IS NOT NULL"
        ),
        partial(
            "ix_session_reminder_emails_resend_email_id",
            "resend_email_id",
            where="resend_email_id IS NOT NULL",
        ),
        partial("ix_session_reminder_emails_sent_at", "sent_at", where="sent_at IS NOT NULL"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    reminder_type: Mapped[str]
    generation: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    due_at: Mapped[datetime]
    starts_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    email_status: Mapped[str] = mapped_column(server_default="scheduled")
    status_reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    last_error: Mapped[str | None]
    resend_email_id: Mapped[str | None]
    workflow_id: Mapped[str]
    run_id: Mapped[str | None]
    batch_id: Mapped[UUID | None]
    requested_at: Mapped[datetime | None]
    """When an operator asked for it, once more or now; it is due then."""
    shadowed_at: Mapped[datetime | None]
    """When it would have been sent, had delivery not been in shadow mode."""
    plan_version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Of the plan that wrote it last; 0 in rows of before there was this column."""
    moved_from: Mapped[datetime | None]
    """Of a notice: the start that this person knew until then, if it was another one."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    asked_at: Mapped[datetime | None]
    """When the provider was last asked what became of its e-mail, because no event told."""


class UnconfirmedPlanRow(Base):
    """An enrollment whose newest plan no workflow has confirmed yet: a transactional outbox.

    Written with the plan, and deleted once its workflow follows it. The first plan of an enrollment
    has none: as long as nobody has started its workflow, there is none to be found. No foreign
    keys: the workflow is to end even if session or person are gone.
    """

    __tablename__ = "unconfirmed_plans"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    planned_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CutoverRow(Base):
    """A session, or every session, that a cron job has handed over to us, or is about to."""

    __tablename__ = "session_cutovers"
    __table_args__ = (_once(None, "session_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    session_id: Mapped[UUID | None]
    """Absent means every session."""
    requested_at: Mapped[datetime]
    """From then on the cron job leaves it alone."""
    taken_over_at: Mapped[datetime | None]
    """From then on we send; in between nobody does."""


class ReminderPreferenceRow(Base):
    """Who is not to be reminded any more: at all, of a session, or by one kind of reminder."""

    __tablename__ = "reminder_preferences"
    __table_args__ = (
        # Begins with the user, so that it also answers what is asked before every e-mail.
        _once("uq_reminder_preferences_scope", "user_id", "session_id", "reminder_type", "reason"),
        CheckConstraint("reason IN ('opted_out', 'bounced', 'complained')", name="reason"),
        partial("ix_reminder_preferences_session_id", "session_id", where="session_id IS NOT NULL"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    """Absent means every session."""
    reminder_type: Mapped[str | None]
    """Absent means every type."""
    reason: Mapped[str]
    address_digest: Mapped[bytes | None]
    """Of the address that bounced or complained; absent where it is the person who asked."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ReminderEventRow(Base):
    """The audit log: who changed what, and why. Only ever added to; ids, and no addresses."""

    __tablename__ = "reminder_events"
    __table_args__ = (
        Index("ix_reminder_events_happened_at_id", "happened_at", "id"),
        Index("ix_reminder_events_session_id_user_id", "session_id", "user_id"),
        partial("ix_reminder_events_user_id_id", "user_id", "id", where="user_id IS NOT NULL"),
        Index("ix_reminder_events_action_id", "action", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    happened_at: Mapped[datetime] = mapped_column(server_default=func.now())
    action: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str | None]
    session_id: Mapped[UUID | None]
    """Of what it is about; the row may be gone, so this is no foreign key."""
    user_id: Mapped[UUID | None]
    reminder_id: Mapped[UUID | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))


class InstallationRow(Base):
    """One row: the id of whoever shares this database, made with the schema."""

    __tablename__ = "reminder_installation"
    __table_args__ = (CheckConstraint("one = 1", name="single_row"),)

    one: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    id: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    database: Mapped[str | None]
    """Which database this row was in when a process first looked; in a copy it still says so."""
    wake_apart: Mapped[timedelta] = mapped_column(server_default="00:00:00.03")
    """How far apart workflows of one instant wake: what Temporal's server kept up with of late."""


class CalendarRevisionRow(Base):
    """How often the calendar entry of an enrollment has changed, as far as anybody looked.

    No foreign keys: sessions and users may be a platform's own, which we only read.
    """

    __tablename__ = "calendar_revisions"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True, index=True)
    sequence: Mapped[int]
    fingerprint: Mapped[bytes]
    """Of everything that the entry shows."""
    changed_at: Mapped[datetime]


class UntoldChangeRow(Base):
    """A session's change that no workflow has taken over yet: its enrollments do not know of it.

    No foreign key: sessions may be a platform's own.
    """

    __tablename__ = "untold_session_changes"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    change_id: Mapped[UUID]
    """Of the newest change: whoever passed an earlier one on leaves the row."""
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class QuietSessionRow(Base):
    """A session of whose present state nobody is to be told: whoever changed it said so.

    No foreign key: sessions may be a platform's own. Once the session is another, it says nothing.
    """

    __tablename__ = "quiet_sessions"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    start_time: Mapped[datetime]
    status: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ErasedUserRow(Base):
    """Somebody who was erased: nothing is planned for this id until the platform stores it anew."""

    __tablename__ = "erased_users"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    erased_at: Mapped[datetime] = mapped_column(server_default=func.now())
