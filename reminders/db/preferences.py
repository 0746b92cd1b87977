"""Who is not to be reminded any more, and why."""

from __future__ import annotations

import unicodedata
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.tables import ReminderPreferenceRow, ReminderRow
from reminders.model import Reminder, ReminderStatus, StatusReason

STOPPING = {
    "opted_out": StatusReason.OPTED_OUT,
    "bounced": StatusReason.ADDRESS_BOUNCED,
    "complained": StatusReason.SPAM_COMPLAINT,
}
"""Why a reminder is not sent, by the reason of the preference that stops it."""

_OF_THE_ADDRESS = ("bounced", "complained")
"""Reasons that end with the address; what a person asked for outlives it."""
_NAMES = {reason: name for name, reason in STOPPING.items()}


async def stop(connection: AsyncConnection, user_id: UUID, reason: StatusReason) -> None:
    """Send a person nothing more: neither what waits, in any session, nor what is planned later.

    Safe to repeat. Deadlocks with deliveries and plans unless the caller holds the person's
    waiting reminders, locked in the order of their ids.
    """
    preference = {"user_id": user_id, "reason": _NAMES[reason]}
    await connection.execute(
        upsert(ReminderPreferenceRow).values(**preference).on_conflict_do_nothing()
    )
    await connection.execute(
        update(ReminderRow)
        .where(ReminderRow.user_id == user_id, ReminderRow.email_status == ReminderStatus.SCHEDULED)
        .values(email_status=ReminderStatus.SKIPPED, status_reason=reason, updated_at=func.now())
    )


async def stopped_because(connection: AsyncConnection, reminder: Reminder) -> StatusReason | None:
    """Why a person is not to get a reminder, if they are not.

    Of several reasons the last by name: what the person asked for comes before all else.
    """
    of_session, of_type = ReminderPreferenceRow.session_id, ReminderPreferenceRow.reminder_type
    reason = await connection.scalar(
        select(func.max(ReminderPreferenceRow.reason)).where(
            ReminderPreferenceRow.user_id == reminder.user_id,
            of_session.is_(None) | (of_session == reminder.session_id),
            of_type.is_(None) | (of_type == reminder.reminder_type),
        )
    )
    return STOPPING[reason] if reason else None


async def forget_address(connection: AsyncConnection, user_id: UUID) -> None:
    """Let a person be reminded again whose old address bounced or complained; safe to repeat."""
    await connection.execute(
        delete(ReminderPreferenceRow).where(
            ReminderPreferenceRow.user_id == user_id,
            ReminderPreferenceRow.reason.in_(_OF_THE_ADDRESS),
        )
    )


def same_address(one: str, other: str) -> bool:
    """Whether two bare addresses are the same mailbox, as far as anybody but its server can tell.

    Whatever their case, and whether an international domain is written in Unicode or in ASCII.
    """
    return _comparable(one) == _comparable(other)


def _comparable(address: str) -> str:
    local, _, domain = address.strip().casefold().rpartition("@")
    labels = [_readable(label) for label in domain.split(".")]
    return unicodedata.normalize("NFKC", f"{local}@{'.'.join(labels)}").casefold()


def _readable(label: str) -> str:
    """A label of a domain in Unicode."""
    if not label.startswith("xn--"):
        return label
    try:
        return label.removeprefix("xn--").encode("ascii").decode("punycode")
    except UnicodeError:
        return label
