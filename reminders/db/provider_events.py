"""What the provider tells of accepted e-mails, brought into the ledger.

Events come twice and in any order, also before our own record of the request they belong to. So
each moves its row forward or not at all, and the same events end in the same row whatever their
order.

Locks are taken as everywhere else: a person before their reminders, reminders by ascending id.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Text, Uuid, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import locks, preferences
from reminders.db.engine import Database
from reminders.db.tables import ReminderRow, UserRow
from reminders.domain.model import ProviderEvent, ReminderStatus

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

_THE_REMINDER = """
    coalesce((SELECT id FROM session_reminder_emails WHERE id = :reminder_id),
             (SELECT id FROM session_reminder_emails WHERE resend_email_id = :email_id LIMIT 1))
"""

# A row without the provider's id is in doubt if the provider may have its e-mail. An event with
# its tag proves that it has, also of a row that waits again because an attempt was taken for
# certainly refused: it would be sent a second time. And of one that we gave up, for whatever
# reason, after a request had carried it. Every other row without an id, or with another one,
# belongs to another e-mail.
#
# The provider's id leads to an address in the provider's own log, so it is kept only with somebody
# who is there: neither with a person who was erased, nor with what is of nobody.
_RECORD = text(f"""
WITH known AS (
    SELECT EXISTS (
        SELECT FROM session_reminder_emails r
         WHERE r.id = {_THE_REMINDER}
           AND NOT EXISTS (SELECT FROM erased_users x WHERE x.user_id = r.user_id)) AS person),
news AS (
    INSERT INTO webhook_events (svix_id, type, email_id, reminder_id, occurred_at)
    SELECT :svix_id, :type, CASE WHEN known.person THEN :email_id END, :reminder_id, :occurred_at
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
""").bindparams(  # noqa: S608 - composed of constants
    bindparam("svix_id", type_=Text()),
    bindparam("type", type_=Text()),
    bindparam("email_id", type_=Text()),
    bindparam("reminder_id", type_=Uuid()),
    bindparam("occurred_at", type_=DateTime(timezone=True)),
    bindparam("accepted_at", type_=DateTime(timezone=True)),
    bindparam("status", type_=Text()),
    bindparam("reason", type_=Text()),
    bindparam("detail", type_=Text()),
    bindparam("earlier", type_=ARRAY(Text())),
)

_REMINDER = text(f"""
SELECT r.id, r.user_id FROM session_reminder_emails r WHERE r.id = {_THE_REMINDER}
""").bindparams(  # noqa: S608 - composed of constants
    bindparam("reminder_id", type_=Uuid()), bindparam("email_id", type_=Text())
)


class ProviderEvents:
    """Takes events in, on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        """Record in this database."""
        self._database = database

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
            async with self._database.autocommit() as connection:
                return await _record(connection, event)
        async with self._database.transaction() as connection:
            user_id = await _lock_recipient(connection, event)
            is_news = await _record(connection, event)
            if is_news and user_id is not None:
                await preferences.stop(connection, user_id, event.stops)
            return is_news


async def _record(connection: AsyncConnection, event: ProviderEvent) -> bool:
    """Move the reminder's row, unless the event is known: one statement."""
    assert event.status is not None  # noqa: S101 - asked by the caller
    parameters: dict[str, Any] = {
        "svix_id": event.svix_id,
        "type": event.type,
        "email_id": event.email_id,
        "reminder_id": event.reminder_id,
        "occurred_at": event.occurred_at,
        "accepted_at": event.accepted_at or event.occurred_at,
        "status": event.status,
        "reason": event.reason,
        "detail": event.detail,
        "earlier": list(_FORWARD[: _FORWARD.index(event.status)]),
    }
    return bool(await connection.scalar(_RECORD, parameters))


async def _lock_recipient(connection: AsyncConnection, event: ProviderEvent) -> UUID | None:
    """Whom the event is about, locked together with all that they still wait for.

    Returns:
        `None` if the e-mail went to another address than theirs of today: to the test address in
        redirect mode, or to one they have left.
    """
    ids = {"reminder_id": event.reminder_id, "email_id": event.email_id}
    about = (await connection.execute(_REMINDER, ids)).one_or_none()
    if about is None or len(event.recipients) != 1:
        return None
    # A change of the address waits until the event is in, or is seen here.
    await locks.person(connection, about.user_id)
    email = await connection.scalar(select(UserRow.email).where(UserRow.id == about.user_id))
    if email is None or not preferences.same_address(event.recipients[0], email):
        return None
    reminder = ReminderRow
    await connection.execute(
        select(reminder.id)
        .where(
            reminder.user_id == about.user_id,
            (reminder.email_status == ReminderStatus.SCHEDULED) | (reminder.id == about.id),
        )
        .order_by(reminder.id)
        .with_for_update()
    )
    user_id: UUID = about.user_id
    return user_id
