"""The tables of what is between us and the provider; see `reminders.db.tables`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, DateTime, SmallInteger, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from reminders.db.tables import Base, partial


class EmailBatchRow(Base):
    """A request to the provider, written before its first attempt."""

    __tablename__ = "email_batches"
    __table_args__ = (
        CheckConstraint("state IN ('frozen', 'settled', 'released')", name="state"),
        CheckConstraint("delivery_mode IN ('live', 'redirect', 'unknown')", name="delivery_mode"),
        partial("ix_email_batches_unsettled", "lease_until", where="state = 'frozen'"),
        partial("ix_email_batches_settled_at", "settled_at", where="state <> 'frozen'"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(server_default="frozen")
    reminder_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()))
    body: Mapped[bytes | None]
    useful_until: Mapped[datetime]
    frozen_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    owner: Mapped[str]
    lease_until: Mapped[datetime]
    delivery_mode: Mapped[str] = mapped_column(server_default="unknown")
    """Under which it was frozen; `unknown` to releases that did not say."""
    sink: Mapped[str | None]
    """A digest of the test address that it goes to; absent if it goes to the attendees."""
    installation_id: Mapped[UUID | None]
    """Who froze it; absent in releases that had no id."""
    repeatable_until: Mapped[datetime | None]
    """Until when it may be posted: its words are true, no later reminder has taken its place, and
    the provider knows the key. Absent means until its session starts."""


class WebhookEventRow(Base):
    """An event of the provider that was taken in, so that its repetition is known as one."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        partial("ix_webhook_events_reminder_id", "reminder_id", where="reminder_id IS NOT NULL"),
    )

    svix_id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    email_id: Mapped[str | None]
    reminder_id: Mapped[UUID | None]
    """As the tag said; the row may be gone, or never have been."""
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class ProviderUsageRow(Base):
    """How much of a quota the provider says is used; one row for the day, one for the month."""

    __tablename__ = "provider_usage"
    __table_args__ = (CheckConstraint("quota IN ('daily', 'monthly')", name="quota"),)

    quota: Mapped[str] = mapped_column(primary_key=True)
    used: Mapped[int]
    quota_limit: Mapped[int | None]
    resets_at: Mapped[datetime]
    checked_at: Mapped[datetime]


class ProviderPaceRow(Base):
    """One row: when the next request may be posted, by whichever worker."""

    __tablename__ = "provider_pace"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default=text("1"))
    next_request_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Only read by workers of version 1.0."""
    turns: Mapped[list[datetime]] = mapped_column(
        ARRAY(DateTime(timezone=True)), server_default="{}"
    )
    """When the latest requests were or are to be posted, oldest first; as many as the pace counts."""
    held_until: Mapped[datetime | None]
    held_because: Mapped[str | None]
    held_sender: Mapped[str | None]
    """Fingerprint of the key and sender that alone are held; absent, all are."""
    held_detail: Mapped[str | None]
    """The provider's own words, without addresses and keys."""
    webhook_refused_at: Mapped[datetime | None]
    """When the API last noted that it refused one."""
    webhook_refused_because: Mapped[str | None]
