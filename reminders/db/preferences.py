"""Who is not to be reminded any more, and why."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import Uuid, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import unconfirmed
from reminders.db.tables import ReminderPreferenceRow, ReminderRow
from reminders.domain.model import OptOut, ReminderRule, ReminderStatus, StatusReason

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
    ended = await connection.execute(
        update(ReminderRow)
        .where(ReminderRow.user_id == user_id, ReminderRow.email_status == ReminderStatus.SCHEDULED)
        .values(email_status=ReminderStatus.SKIPPED, status_reason=reason, updated_at=func.now())
        .returning(ReminderRow.session_id, ReminderRow.user_id)
    )
    await unconfirmed.add_all(connection, [(row[0], row[1]) for row in ended])


async def stop_one(
    connection: AsyncConnection, user_id: UUID, scope: OptOut, reason: StatusReason
) -> None:
    """Let nothing of one scope be planned for a person any more; what waits is left to the caller."""
    preference = {
        "user_id": user_id,
        "session_id": scope.session_id,
        "reminder_type": scope.reminder_type,
        "reason": _NAMES[reason],
    }
    await connection.execute(
        upsert(ReminderPreferenceRow).values(**preference).on_conflict_do_nothing()
    )


async def forget_address(connection: AsyncConnection, user_id: UUID) -> None:
    """Let a person be reminded again whose old address bounced or complained; safe to repeat."""
    await connection.execute(
        delete(ReminderPreferenceRow).where(
            ReminderPreferenceRow.user_id == user_id,
            ReminderPreferenceRow.reason.in_(_OF_THE_ADDRESS),
        )
    )


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


async def opt_out(connection: AsyncConnection, user_id: UUID, scopes: Iterable[OptOut]) -> None:
    """Add to what a person is not to be reminded of; safe to repeat."""
    values = [
        {
            "user_id": user_id,
            "session_id": scope.session_id,
            "reminder_type": scope.reminder_type,
            "reason": "opted_out",
        }
        for scope in scopes
    ]
    if values:
        await connection.execute(upsert(ReminderPreferenceRow).on_conflict_do_nothing(), values)


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


_SKIP_OPTED_OUT = text("""
WITH unwanted AS (
    SELECT r.id FROM session_reminder_emails r
     WHERE r.user_id = :user_id AND r.email_status = 'scheduled'
       AND EXISTS (
           SELECT FROM reminder_preferences p
            WHERE p.user_id = r.user_id AND p.reason = 'opted_out'
              AND (p.session_id IS NULL OR p.session_id = r.session_id)
              AND (p.reminder_type IS NULL OR p.reminder_type = r.reminder_type))
     ORDER BY r.id FOR UPDATE OF r)
UPDATE session_reminder_emails r
   SET email_status = 'skipped', status_reason = 'opted_out', updated_at = now()
  FROM unwanted WHERE r.id = unwanted.id RETURNING r.session_id, r.user_id
""").bindparams(bindparam("user_id", type_=Uuid()))


async def skip_opted_out(connection: AsyncConnection, user_id: UUID) -> int:
    """End what waits for a person although they asked not to get it; how many there were.

    A person is locked before their reminders, and reminders by ascending id: here as everywhere.
    """
    done = await connection.execute(_SKIP_OPTED_OUT, {"user_id": user_id})
    ended = [(row.session_id, row.user_id) for row in done]
    await unconfirmed.add_all(connection, ended)
    return len(ended)


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
