"""Whether ledger, tables and Temporal say the same about every enrollment."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from reminders.db import mapping, preferences
from reminders.db.engine import Database
from reminders.domain.case import Case
from reminders.domain.contracts import ReminderPlan, SessionReminderResult
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import (
    EnrollmentStatus,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    SessionStatus,
)
from reminders.domain.planning import revised
from reminders.domain.revise import newest_of
from workflows.session_reminder import SessionReminderWorkflow

AT_ONCE = 10
"""Workflows that are asked at once."""
RPC_TIMEOUT = timedelta(seconds=10)

Pair = tuple[UUID, UUID]
"""Session and person."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything, as it was in one snapshot."""

    read_at: datetime
    sessions: Mapping[UUID, Session]
    enrollments: Mapping[Pair, str]
    rules: tuple[ReminderRule, ...]
    choices: Mapping[UUID, list[Mapping[str, Any]]]
    ledger: Mapping[Pair, list[Reminder]]
    quiet: frozenset[tuple[UUID, datetime, str]]
    """States of sessions of which nobody is to be told."""

    @classmethod
    async def read(cls, database: Database) -> Tables:
        """Read them."""
        async with database.transaction() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))

            async def rows(relation: str) -> list[Mapping[Any, Any]]:
                found = await connection.execute(text(f"SELECT * FROM {relation}"))
                return list(found.mappings())

            ledger: dict[Pair, list[Reminder]] = defaultdict(list)
            for row in await rows("session_reminder_emails"):
                ledger[row["session_id"], row["user_id"]].append(mapping.reminder(row))
            choices: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
            for row in await rows("reminder_preferences"):
                choices[row["user_id"]].append(row)
            return cls(
                read_at=datetime.now(UTC),
                sessions={row["id"]: mapping.session(row) for row in await rows("sessions")},
                enrollments={
                    (row["session_id"], row["user_id"]): row["status"]
                    for row in await rows("enrollments")
                },
                rules=tuple(mapping.rule(row) for row in await rows("reminder_configurations")),
                choices=choices,
                ledger=ledger,
                quiet=frozenset(
                    (row["session_id"], row["start_time"], row["status"])
                    for row in await rows("quiet_sessions")
                ),
            )

    @property
    def pairs(self) -> set[Pair]:
        """Enrollments that are, or were."""
        return {*self.enrollments, *self.ledger}

    def pending(self, pair: Pair) -> list[Reminder]:
        """What waits, or is being sent."""
        return [r for r in self.ledger.get(pair, ()) if r.status.is_pending]

    def effective(self, session_id: UUID) -> dict[str, ReminderRule]:
        """The rules that count for a session, by type."""
        found: dict[str, ReminderRule] = {}
        for rule in self.rules:
            if rule.session_id == session_id or (
                rule.session_id is None and rule.reminder_type not in found
            ):
                found[rule.reminder_type] = rule
        return found

    def disagreement(self, pair: Pair, *, threshold: timedelta) -> str | None:
        """How the ledger differs from what the tables want of an enrollment."""
        session, rows = self.sessions[pair[0]], self.ledger.get(pair, [])
        pending = self.pending(pair)
        if any(r.status is ReminderStatus.SENDING for r in pending):
            return "an e-mail is under way"
        if late := [r for r in pending if r.due_at < self.read_at - timedelta(seconds=1)]:
            return f"{_named(late)} should have gone out"
        is_live = (
            session.status is SessionStatus.SCHEDULED and self.enrollments.get(pair) == "confirmed"
        )
        if not is_live and pending:
            return f"nobody wants {_named(pending)}"
        rules = self.effective(pair[0])
        for reminder in pending:
            rule = rules.get(reminder.reminder_type)
            if rule is None or not rule.is_enabled:
                return f"{_named([reminder])} waits, and its rule is off"
            own = session.starts_at - rule.lead
            if reminder.starts_at != session.starts_at or (
                reminder.notice is None and reminder.requested_at is None and reminder.due_at != own
            ):
                return f"{_named([reminder])} waits until {reminder.due_at}, and is due at {own}"
        if len(newest_of(pending)) != len(pending):
            return f"two generations wait: {_named(pending)}"
        return self._planner_would_change(pair, session, rules, rows, threshold)

    def _planner_would_change(
        self,
        pair: Pair,
        session: Session,
        rules: Mapping[str, ReminderRule],
        rows: list[Reminder],
        threshold: timedelta,
    ) -> str | None:
        stopping: dict[str, str] = {}
        for choice in self.choices.get(pair[1], ()):
            if choice["session_id"] in (None, pair[0]):
                kind = choice["reminder_type"] or ""
                stopping[kind] = max(stopping.get(kind, ""), choice["reason"])
        enrolled = self.enrollments.get(pair)
        revision = revised(
            Case(
                session=session,
                user_id=pair[1],
                enrollment=EnrollmentStatus(enrolled) if enrolled else None,
                recorded=tuple(rows),
                now=self.read_at,
                rules=tuple(rules.values()),
                stopped=preferences.stopped(stopping, rules.values()),
                threshold=threshold,
                is_quiet=(session.id, session.starts_at, session.status) in self.quiet,
            )
        )
        waiting = [r for r in revision.added if r.status.is_pending]
        if waiting:
            return f"{_named(waiting)} is missing"
        if revision.changed:
            return f"{_named(revision.changed)} should be otherwise"
        return None


async def disagreements(
    client: Client, database: Database, *, threshold: timedelta, of: Iterable[Pair] | None = None
) -> dict[Pair, str]:
    """What does not agree right now, by enrollment.

    Args:
        client: Asks Temporal.
        database: The tables.
        threshold: How far a session must move so that a reminder is sent once more.
        of: Only these enrollments; absent means all.
    """
    tables = await Tables.read(database)
    pairs = sorted(tables.pairs if of is None else of)
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(pair: Pair) -> str | None:
        if (found := tables.disagreement(pair, threshold=threshold)) is not None:
            return found
        async with limit:
            return await _temporal_differs(client, tables, pair)

    found = await asyncio.gather(*(one(pair) for pair in pairs))
    return {pair: what for pair, what in zip(pairs, found, strict=True) if what is not None}


async def _temporal_differs(client: Client, tables: Tables, pair: Pair) -> str | None:
    """How an enrollment's run differs from its rows."""
    pending = tables.pending(pair)
    handle: WorkflowHandle[SessionReminderWorkflow, SessionReminderResult]
    handle = client.get_workflow_handle_for(
        SessionReminderWorkflow.run, session_reminder_workflow_id(*pair)
    )
    try:
        run = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            return f"Temporal did not answer: {error}"
        return f"{_named(pending)} waits, and there never was a run" if pending else None
    is_running = run.status is WorkflowExecutionStatus.RUNNING
    if not pending:
        return "a run is left, and nothing waits" if is_running else None
    status = run.status.name if run.status else "unknown"
    if not is_running:
        return f"{_named(pending)} waits, and the last run is {status}"
    if run.raw_description.workflow_extended_info.cancel_requested:
        return f"{_named(pending)} waits, and its run is being cancelled"
    try:
        told: ReminderPlan = await handle.query(
            SessionReminderWorkflow.plan, rpc_timeout=RPC_TIMEOUT
        )
    except RPCError as error:
        return f"the run did not answer: {error}"
    theirs = {
        (r.reminder_type, r.generation, r.due_at) for r in told.reminders if r.status.is_pending
    }
    ours = {(r.reminder_type, r.generation, r.due_at) for r in pending}
    if theirs != ours:
        return f"the run waits for {_plain(theirs)}, and the ledger for {_plain(ours)}"
    if told.starts_at != tables.sessions[pair[0]].starts_at:
        return f"the run knows another start: {told.starts_at}"
    return None


def _named(reminders: Iterable[Reminder]) -> str:
    return ", ".join(f"{r.reminder_type}/{r.generation} ({r.status})" for r in reminders)


def _plain(keys: set[tuple[str, int, datetime]]) -> str:
    return ", ".join(f"{kind}/{n} at {due:%H:%M:%S}" for kind, n, due in sorted(keys)) or "nothing"
