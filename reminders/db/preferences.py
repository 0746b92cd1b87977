"""Who is not to be reminded of what any more, and why; changed with its effect on the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import unconfirmed
from reminders.db.sql import digest, stopping, typed
from reminders.db.tables import (
    ReminderPreferenceRow,
    ReminderRow,
)
from reminders.domain.model import (
    OptOut,
    ReminderRule,
    ReminderStatus,
    StatusReason,
)

STOPPING = {
    "opted_out": StatusReason.OPTED_OUT,
    "bounced": StatusReason.ADDRESS_BOUNCED,
    "complained": StatusReason.SPAM_COMPLAINT,
}
"""Why a reminder is not sent, by the reason of the preference that stops it."""

_OF_THE_ADDRESS = ("bounced", "complained")
"""Reasons that end with the address; what a person asked for outlives it."""
_NAMES = {reason: name for name, reason in STOPPING.items()}


_BLOCK = typed(f"""
INSERT INTO reminder_preferences (user_id, reason, address_digest)
VALUES (:user_id, :reason, {digest(":email")})
    ON CONFLICT ON CONSTRAINT uq_reminder_preferences_scope
    DO UPDATE SET address_digest = excluded.address_digest
""")  # noqa: S608 - composed of constants


async def block(
    connection: AsyncConnection, user_id: UUID, email: str, reason: StatusReason
) -> None:
    """Send a person nothing more at an address: neither what waits, nor what is planned later.

    Safe to repeat. Deadlocks with deliveries and plans unless the caller holds the person's
    waiting reminders, locked in the order of their ids.

    Args:
        connection: Of the transaction.
        user_id: Whose.
        email: As it is stored. Only a digest of it is kept.
        reason: That it bounced, or that somebody complained there.
    """
    asked = {"user_id": user_id, "reason": _NAMES[reason], "email": email}
    await connection.execute(_BLOCK, asked)
    ended = await connection.execute(
        update(ReminderRow)
        .where(ReminderRow.user_id == user_id, ReminderRow.email_status == ReminderStatus.SCHEDULED)
        .values(email_status=ReminderStatus.SKIPPED, status_reason=reason, updated_at=func.now())
        .returning(ReminderRow.session_id, ReminderRow.user_id)
    )
    await unconfirmed.add_all(connection, [(row[0], row[1]) for row in ended])


async def withhold(
    connection: AsyncConnection, user_id: UUID, scopes: Iterable[OptOut], reason: StatusReason
) -> None:
    """Let nothing of these scopes be planned for a person any more; safe to repeat.

    What waits already is left to the caller.
    """
    values = [
        {
            "user_id": user_id,
            "session_id": scope.session_id,
            "reminder_type": scope.reminder_type,
            "reason": _NAMES[reason],
        }
        for scope in scopes
    ]
    if values:
        await connection.execute(upsert(ReminderPreferenceRow).on_conflict_do_nothing(), values)


async def forget_address(connection: AsyncConnection, user_id: UUID) -> Sequence[StatusReason]:
    """Let a person be reminded again whose address bounced or complained; why they were not."""
    lifted = await connection.scalars(
        delete(ReminderPreferenceRow)
        .where(
            ReminderPreferenceRow.user_id == user_id,
            ReminderPreferenceRow.reason.in_(_OF_THE_ADDRESS),
        )
        .returning(ReminderPreferenceRow.reason)
    )
    return [STOPPING[reason] for reason in sorted(set(lifted))]


def stopped(
    stopping: Mapping[str, str], rules: Iterable[ReminderRule]
) -> Mapping[str, StatusReason]:
    """Why a person is not to get a session's reminders, by type; types they are to get are missing.

    Of several reasons the last by name, as at delivery: what the person asked for comes first.

    Args:
        stopping: Reasons of preferences by type; by `""`, those of all types.
        rules: Of the session.
    """
    by_type = {
        rule.reminder_type: max(stopping.get("", ""), stopping.get(rule.reminder_type, ""))
        for rule in rules
    }
    return {kind: STOPPING[reason] for kind, reason in by_type.items() if reason}


async def opt_outs(connection: AsyncConnection, user_id: UUID) -> frozenset[OptOut]:
    """What a person asked not to be reminded of."""
    preference = ReminderPreferenceRow
    found = await connection.execute(
        select(preference.session_id, preference.reminder_type).where(
            preference.user_id == user_id, preference.reason == "opted_out"
        )
    )
    return frozenset(OptOut(row[0], row[1]) for row in found)


async def opt_in(connection: AsyncConnection, user_id: UUID, scopes: Iterable[OptOut]) -> None:
    """Take away from what a person is not to be reminded of; safe to repeat."""
    preference = ReminderPreferenceRow
    for scope in scopes:
        await connection.execute(
            delete(preference).where(
                preference.user_id == user_id,
                preference.reason == "opted_out",
                preference.session_id.is_not_distinct_from(scope.session_id),
                preference.reminder_type.is_not_distinct_from(scope.reminder_type),
            )
        )


_SKIP_OPTED_OUT = typed(f"""
WITH unwanted AS (
    SELECT r.id FROM session_reminder_emails r
     WHERE r.user_id = :user_id AND r.email_status = 'scheduled'
       AND EXISTS (
           SELECT FROM {stopping("r")} AND p.reason = 'opted_out')
     ORDER BY r.id FOR UPDATE OF r)
UPDATE session_reminder_emails r
   SET email_status = 'skipped', status_reason = 'opted_out', updated_at = now()
  FROM unwanted WHERE r.id = unwanted.id RETURNING r.session_id, r.user_id
""")  # noqa: S608 - composed of constants


async def skip_opted_out(connection: AsyncConnection, user_id: UUID) -> int:
    """End what waits for a person although they asked not to get it; how many there were.

    A person is locked before their reminders, and reminders by ascending id: here as everywhere.
    """
    done = await connection.execute(_SKIP_OPTED_OUT, {"user_id": user_id})
    ended = [(row.session_id, row.user_id) for row in done]
    await unconfirmed.add_all(connection, ended)
    return len(ended)
