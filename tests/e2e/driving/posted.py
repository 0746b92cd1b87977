"""Whether each e-mail that the provider took was right when it was posted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import select

from reminders.db import mapping
from reminders.db.audit import Action
from reminders.db.engine import Database
from reminders.db.provider_tables import EmailBatchRow
from reminders.db.tables import ReminderEventRow, ReminderRow
from reminders.domain.model import NOTICES, Notice, Reminder
from tests.e2e.driving.driver import STARTS, address
from tests.e2e.driving.witness import Change, Witness, leads, stops
from tests.provider import Json

IN_FLIGHT = timedelta(seconds=5)
"""How long before its acceptance an e-mail may have been decided on, beyond its own freezing."""
COMMITTING = timedelta(seconds=2)
"""How much later than the witness says a change may be visible to others."""
CLOCKS = timedelta(milliseconds=50)
"""How far the clocks of the parts may be apart; one machine."""

Mail = tuple[datetime, Reminder, datetime]
"""When it was accepted, what it is, and the start that it told."""
Finding = tuple[UUID, UUID, str]
"""Session, person, and what is wrong."""


async def wrong_emails(
    accepted: list[Json], witness: Witness, database: Database, *, threshold: timedelta
) -> list[Finding]:
    """What was posted and should not have been.

    Args:
        accepted: All that the provider took.
        witness: Knows how the tables stood.
        database: Of the ledger.
        threshold: How far a session must move so that a reminder is sent once more.
    """
    async with database.autocommit() as connection:
        found = await connection.execute(select(ReminderRow.__table__))
        ledger = {str(row["id"]): mapping.reminder(row) for row in found.mappings()}
        batches = await connection.execute(select(EmailBatchRow.id, EmailBatchRow.frozen_at))
        frozen = {str(batch.id): batch.frozen_at for batch in batches}
        # One that is sent again before its instant waits for that as any other.
        again = select(ReminderEventRow.reminder_id).where(
            ReminderEventRow.action == Action.REMINDER_RESENT
        )
        asked_for = set(await connection.scalars(again))
    wrong: list[Finding] = []
    sent: dict[tuple[UUID, UUID, str], list[tuple[Reminder, datetime]]] = defaultdict(list)
    mails: dict[tuple[UUID, UUID], list[Mail]] = defaultdict(list)
    seen: set[str] = set()
    for email in accepted:
        tag = email["tags"]["reminder_id"]
        reminder = ledger[tag]
        frozen_at = frozen.get(str(email["idempotency_key"]))
        faults = list(_faults(email, reminder, witness, frozen_at))
        if tag in seen:
            faults.append("the same reminder was accepted twice")
        seen.add(tag)
        wrong += [
            (reminder.session_id, reminder.user_id, f"{_named(reminder, email)}: {fault}")
            for fault in faults
        ]
        pair = reminder.session_id, reminder.user_id
        if reminder.reminder_type not in NOTICES:
            sent[*pair, reminder.reminder_type].append((reminder, _told(email)))
        mails[pair].append((datetime.fromisoformat(email["accepted_at"]), reminder, _told(email)))
    for (session_id, user_id, kind), emails in sent.items():
        emails.sort(key=lambda sent: sent[0].generation)
        for (_, told), (second, then) in pairwise(emails):
            is_asked = second.requested_at is not None or second.id in asked_for
            if abs(told - then) <= threshold and not is_asked:
                fault = f"{kind} generation {second.generation} told {then} once more, unasked"
                wrong.append((session_id, user_id, fault))
    return wrong + [
        (session_id, user_id, fault)
        for (session_id, user_id), posted in mails.items()
        for fault in _no_news(posted, witness.changes("quiet_sessions", str(session_id)))
    ]


def _no_news(posted: list[Mail], quiet: Sequence[Change]) -> Iterator[str]:
    """Notices that told what the e-mail before them had, unless people may have heard of something else."""
    posted.sort(key=lambda mail: mail[0])
    for (sent_at, was, said), (at, now, says) in pairwise(posted):
        is_news = (was.notice is Notice.CANCELLED, said) != (now.notice is Notice.CANCELLED, says)
        is_asked = now.requested_at is not None
        if is_news or is_asked or now.notice not in (Notice.CANCELLED, Notice.MOVED):
            continue
        if not any(sent_at - IN_FLIGHT < change.at < at for change in quiet):
            yield f"{now.reminder_type}/{now.generation} told {says} once more at {at}"


def _faults(
    email: Json, reminder: Reminder, witness: Witness, frozen_at: datetime | None
) -> Iterator[str]:
    """What is wrong with one e-mail."""
    if email["to"] != [address(reminder.user_id)]:
        yield "it went to somebody else"
    told = _told(email)
    # A notice of a cancel names the time that people know, which need not be the last one.
    if f"{told:%H:%M}" not in email["text"] and reminder.notice is not Notice.CANCELLED:
        yield f"its text does not say {told:%H:%M}"
    accepted_at = datetime.fromisoformat(email["accepted_at"])
    since = min(accepted_at - IN_FLIGHT, frozen_at or accepted_at) - COMMITTING
    verdicts = [
        list(_objections(reminder, told, accepted_at, witness, instant))
        for instant in witness.instants(since, accepted_at)
    ]
    if all(verdicts):
        best = min(verdicts, key=len)
        took = (
            f", frozen {(accepted_at - frozen_at).total_seconds():.1f} s before"
            if frozen_at
            else ""
        )
        yield f"not right at any instant before {accepted_at}{took}: {'; '.join(best)}"


def _objections(
    reminder: Reminder, told: datetime, accepted_at: datetime, witness: Witness, instant: datetime
) -> Iterator[str]:
    """What spoke against an e-mail at an instant."""
    session_id, user_id, kind = reminder.session_id, reminder.user_id, reminder.reminder_type
    # What an operator asks for waits for no rule, and goes out though nobody is to be told.
    is_asked = reminder.requested_at is not None
    session = witness.at("sessions", str(session_id), instant)
    says = "cancelled" if kind == Notice.CANCELLED else "scheduled"
    if session is None or session["status"] != says:
        yield f"the session was not {says}"
    elif (starts_at := datetime.fromisoformat(session["start_time"])) != told:
        yield f"it told {told}, and the start was {starts_at}"
    enrollment = witness.at("enrollments", f"{session_id} {user_id}", instant)
    if enrollment is None or enrollment["status"] != "confirmed":
        yield "the recipient was not enrolled"
    if stops(witness.rows("reminder_preferences", instant, of=user_id), session_id, kind):
        yield "the recipient did not want it"
    rules = [
        *witness.rows("reminder_configurations", instant, of=session_id),
        *witness.rows("reminder_configurations", instant, of=None),
    ]
    lead = leads(rules, session_id).get(kind)
    if lead is None:
        yield "its rule was off"
    elif reminder.notice is None and not is_asked and accepted_at < told - lead - CLOCKS:
        yield f"it was due at {told - lead}"
    quiet = witness.at("quiet_sessions", str(session_id), instant)
    is_quiet = (
        quiet
        and session
        and (quiet["start_time"], quiet["status"])
        == (
            session["start_time"],
            session["status"],
        )
    )
    if is_quiet and not is_asked and kind in (Notice.CANCELLED, Notice.MOVED):
        yield "nobody was to be told"
    if accepted_at > told + IN_FLIGHT:  # it was posted before
        yield "the session had begun"


def _told(email: Json) -> datetime:
    """The start that it tells, by the session's title."""
    (start,) = re.findall(r"\d{8}T\d{6}Z", email["subject"])
    return datetime.strptime(start, STARTS).replace(tzinfo=UTC)


def _named(reminder: Reminder, email: dict[str, Any]) -> str:
    return f"e-mail {reminder.reminder_type}/{reminder.generation} of {email['accepted_at']}"
