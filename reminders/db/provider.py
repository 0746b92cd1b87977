"""What the provider says: of accepted e-mails, of its quotas, and whether it takes any at present.

Events come twice and in any order, also before our own record of the request they belong to. So
each moves its row forward or not at all, and the same events end in the same row whatever their
order.

Locks are taken as everywhere else: a person before their reminders, reminders by ascending id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import locks, mapping, preferences
from reminders.db.audit import Action, By, record
from reminders.db.engine import Database
from reminders.db.provider_tables import ProviderUsageRow, WebhookEventRow
from reminders.db.sql import HELD, typed
from reminders.db.tables import ReminderRow, UserRow
from reminders.domain.addresses import same_address
from reminders.domain.keys import ASKED_EVENT
from reminders.domain.model import ProviderEvent, ReminderStatus, StatusReason
from reminders.domain.ports import Hold

_FORWARD = (
    ReminderStatus.SENT,
    ReminderStatus.DELIVERED,
    ReminderStatus.FAILED,
    ReminderStatus.SUPPRESSED,
    ReminderStatus.BOUNCED,
    ReminderStatus.COMPLAINED,
)
"""The way of an accepted e-mail. The last four seldom meet, but their order of arrival must not
matter either."""

# A copy of our database has the same rows, and a team's endpoints get the events of all its e-mails:
# what the copy has sent, to its test address as a rule, says nothing of whom we have still to send to.
_TAGGED = """
    CASE WHEN coalesce(:installation = (SELECT id FROM reminder_installation), true)
         THEN :reminder_id END
"""
_THE_REMINDER = f"""
    coalesce((SELECT id FROM session_reminder_emails WHERE id = {_TAGGED}),
             (SELECT id FROM session_reminder_emails WHERE resend_email_id = :email_id LIMIT 1))
"""  # noqa: S608 - composed of constants

# A row without the provider's id is in doubt if the provider may have its e-mail. An event with
# its tag proves that it has, also of a row that waits again because an attempt was taken for
# certainly refused: it would be sent a second time. And of one that we gave up, for whatever
# reason, after a request had carried it. Every other row without an id, or with another one,
# belongs to another e-mail.
#
# The provider's id leads to an address in the provider's own log, so it is kept only with somebody
# who is there: neither with a person who was erased, nor with what is of nobody.
_RECORD = typed(f"""
WITH known AS (
    SELECT EXISTS (
        SELECT FROM session_reminder_emails r
         WHERE r.id = {_THE_REMINDER}
           AND NOT EXISTS (SELECT FROM erased_users x WHERE x.user_id = r.user_id)) AS person),
news AS (
    INSERT INTO webhook_events (svix_id, type, email_id, reminder_id, occurred_at)
    SELECT :svix_id, :type, CASE WHEN known.person THEN :email_id END, {_TAGGED}, :occurred_at
      FROM known
    ON CONFLICT DO NOTHING RETURNING svix_id),
moved AS (
    UPDATE session_reminder_emails r
       SET email_status = :status, status_reason = :reason,
           last_error = CASE WHEN known.person THEN :detail END,
           resend_email_id = CASE WHEN known.person THEN :email_id END,
           sent_at = coalesce(r.sent_at, :accepted_at), updated_at = now()
      FROM news, known
     WHERE r.id = {_THE_REMINDER}
       AND (r.resend_email_id = :email_id
               AND (r.email_status = ANY(:earlier)
                    -- Never the provider's own word: it was concluded here, from its silence.
                    OR r.email_status = 'failed' AND r.status_reason IN ('outcome_unknown', 'expired'))
            OR r.resend_email_id IS NULL
               AND (r.email_status = 'sending'
                    OR r.email_status IN ('scheduled', 'failed') AND r.attempts > 0
                    OR r.email_status = 'failed' AND r.status_reason = 'outcome_unknown')))
SELECT count(*) FROM news
""")  # noqa: S608 - composed of constants

_REMINDER = typed(f"""
SELECT r.id, r.user_id FROM session_reminder_emails r WHERE r.id = {_THE_REMINDER}
""")  # noqa: S608 - composed of constants

_UNHEARD_OF = typed(f"""
SELECT count(*) FROM session_reminder_emails r
 WHERE r.sent_at IS NOT NULL AND r.attempts > 0 AND r.due_at BETWEEN :since AND :until
   AND NOT EXISTS (SELECT FROM webhook_events w WHERE w.received_at >= :since
                      AND NOT starts_with(w.svix_id, '{ASKED_EVENT}'))
""")  # noqa: S608 - composed of constants


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderNote:
    """Something that the provider said of an e-mail."""

    type: str
    """In its words, such as `email.delivered`."""
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class ProviderEvents:
    """The provider's events: taken in, and read, on PostgreSQL."""

    database: Database

    async def unheard_of(self, *, since: datetime, until: datetime) -> int:
        """E-mails of that time that went out and of which nothing was heard; 0 if anything was since."""
        found: int = await self.database.scalar(_UNHEARD_OF, {"since": since, "until": until})
        return found

    async def of(self, reminder_ids: Sequence[UUID]) -> dict[UUID, list[ProviderNote]]:
        """What the provider said of these reminders, the earliest first; those without are left out."""
        query = (
            select(WebhookEventRow.reminder_id, WebhookEventRow.type, WebhookEventRow.occurred_at)
            .where(WebhookEventRow.reminder_id.in_(reminder_ids))
            .order_by(WebhookEventRow.occurred_at, WebhookEventRow.svix_id)
        )
        notes: dict[UUID, list[ProviderNote]] = {}
        for reminder_id, kind, occurred_at in await self.database.tuples(query):
            note = ProviderNote(type=kind, occurred_at=occurred_at)
            notes.setdefault(reminder_id, []).append(note)
        return notes

    async def record(self, event: ProviderEvent) -> bool:
        """Bring an event into the ledger, and stop the reminders of whom it says so.

        All or nothing, and only once. An event that says nothing the ledger keeps is not stored.

        Returns:
            Whether it was news.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away; nothing was recorded.
        """
        if event.status is None:
            return False
        if event.stops is None:
            async with self.database.autocommit() as connection:
                return await _record(connection, event)
        async with self.database.transaction() as connection:
            recipients = await _lock_recipients(connection, event)
            is_news = await _record(connection, event)
            for user_id, email in recipients if is_news else ():
                await preferences.block(connection, user_id, email, event.stops)
            return is_news


async def _record(connection: AsyncConnection, event: ProviderEvent) -> bool:
    """Move the reminder's row, unless the event is known: one statement."""
    assert event.status is not None  # noqa: S101 - asked by the caller
    parameters: dict[str, Any] = {
        "svix_id": event.svix_id,
        "type": event.type,
        "email_id": event.email_id,
        "reminder_id": event.reminder_id,
        "installation": event.installation,
        "occurred_at": event.occurred_at,
        "accepted_at": event.accepted_at or event.occurred_at,
        "status": event.status,
        "reason": event.reason,
        "detail": event.detail,
        "earlier": list(_FORWARD[: _FORWARD.index(event.status)]),
    }
    return bool(await connection.scalar(_RECORD, parameters))


_TWINS = typed("""
SELECT u.id FROM (
       SELECT id FROM users WHERE lower(btrim(email)) = lower(btrim(:email)) OFFSET 0) u
 ORDER BY u.id LIMIT 100
""")
"""Accounts of a mailbox; those beyond the bound are stopped when an e-mail to them is complained of."""


async def _lock_recipients(
    connection: AsyncConnection, event: ProviderEvent
) -> Sequence[tuple[UUID, str]]:
    """Whom an event is about, and their address as it is stored; locked with all they wait for.

    A mailbox may have several accounts: whoever complains there means all of them.

    Returns:
        Nobody if the e-mail went to another address than its person's of today: to the test
        address in redirect mode, or to one they have left.
    """
    ids = {
        "reminder_id": event.reminder_id,
        "installation": event.installation,
        "email_id": event.email_id,
    }
    about = (await connection.execute(_REMINDER, ids)).one_or_none()
    if about is None or len(event.recipients) != 1:
        return ()
    recipient = event.recipients[0]
    twins = await connection.scalars(_TWINS, {"email": recipient})
    # A change of the address waits until the event is in, or is seen here.
    users = sorted({about.user_id, *twins})
    for user_id in users:
        await locks.person(connection, user_id)
    found = await connection.execute(
        select(UserRow.id, UserRow.email).where(UserRow.id.in_(users)).order_by(UserRow.id)
    )
    theirs = {user: email for user, email in found if same_address(recipient, email)}
    if about.user_id not in theirs:
        return ()
    reminder = ReminderRow
    await connection.execute(
        select(reminder.id)
        .where(
            reminder.user_id.in_(theirs)
            & ((reminder.email_status == ReminderStatus.SCHEDULED) | (reminder.id == about.id))
        )
        .order_by(reminder.id)
        .with_for_update()
    )
    return tuple(theirs.items())


_HELD = typed(f"""
SELECT held_until, held_because, held_sender, held_detail FROM provider_pace WHERE {HELD}
""")  # noqa: S608 - composed of constants
_RESUME = typed(f"""
UPDATE provider_pace SET held_until = NULL
 WHERE {HELD} RETURNING held_because
""")  # noqa: S608 - composed of constants


@dataclass(frozen=True, kw_only=True, slots=True)
class QuotaReading:
    """A quota as the provider last reported it."""

    name: str
    """`daily` or `monthly`."""
    used: int
    limit: int | None
    """E-mails; `None` is unlimited."""
    resets_at: datetime
    checked_at: datetime
    sent_since: int
    """Reminders that the provider has accepted since then."""

    @property
    def used_by_now(self) -> int:
        """What it reported, and what we know to have gone out since."""
        return self.used + self.sent_since


def hold_of(row: Mapping[Any, Any]) -> Hold | None:
    """The hold in a row of `provider_pace`; `None` while there is none."""
    if row["held_until"] is None:
        return None
    return Hold(
        until=row["held_until"],
        reason=mapping.reason(row["held_because"]) or StatusReason.MISCONFIGURED,
        sender=row["held_sender"],
        detail=row["held_detail"],
    )


@dataclass(frozen=True, slots=True)
class ProviderState:
    """Reads the state that all workers share, and ends a hold."""

    database: Database

    async def hold(self) -> Hold | None:
        """The hold that keeps workers from posting; `None` while there is none."""
        row = await self.database.row(_HELD)
        return hold_of(row) if row else None

    async def quotas(self) -> Sequence[QuotaReading]:
        """The quotas that are known, the daily one first."""
        sent_since = (
            select(func.count())
            .where(ReminderRow.sent_at > ProviderUsageRow.checked_at)
            .correlate(ProviderUsageRow)
            .scalar_subquery()
            .label("sent_since")
        )
        usage = ProviderUsageRow
        query = select(
            usage.quota.label("name"),
            usage.used,
            usage.quota_limit.label("limit"),
            usage.resets_at,
            usage.checked_at,
            sent_since,
        ).order_by(usage.quota)
        return tuple(QuotaReading(**row) for row in await self.database.rows(query))

    async def resume(self, by: By) -> StatusReason | None:
        """End the hold, for every worker; safe to repeat.

        What waits is posted as its activities come back, within a minute (five after a quota),
        as far as it is still useful. If the provider still refuses, it is held again.

        Args:
            by: Who, and why, for the audit log.

        Returns:
            Why it was held; `None` if it was not.
        """
        async with self.database.transaction() as connection:
            was = await connection.scalar(_RESUME)
            if was is None:
                return None
            event = by.did(Action.DELIVERY_RESUMED, details={"held_because": was})
            await record(connection, event)
        return StatusReason(was)
