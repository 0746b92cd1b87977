"""A database in one of a handful of states, and what must hold in it when all is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from reminders.clock import SystemClock
from reminders.db.engine import Database
from reminders.domain.keys import reminder_id, session_reminder_workflow_id
from reminders.domain.ports import FrozenBatch
from tests.interleavings.actors import Actor, Halting, Played, play
from tests.interleavings.operations import (
    ADDRESS,
    KNOWN,
    SESSION,
    USER,
    Operation,
    Outside,
    Parts,
    delivered,
    recover,
)

LEADS = {"2h": 120, "30min": 30}
"""Minutes; the rules that are on. Of the session's reminders the second is due now."""


async def waiting(stage: Stage) -> None:
    """One reminder was sent long ago, one is due."""


async def in_doubt(stage: Stage) -> None:
    """The one that is due is frozen, was accepted, and its owner is dead."""
    await stage.freeze(is_accepted=True)


async def in_flight(stage: Stage) -> None:
    """It is frozen, nobody has posted it, and its owner is dead."""
    await stage.freeze(is_accepted=False)


async def left(stage: Stage) -> None:
    """They have left: what waited is cancelled."""
    await stage.write(
        "UPDATE enrollments SET status = 'cancelled'",
        "UPDATE session_reminder_emails SET email_status = 'cancelled',"
        " status_reason = 'unenrolled' WHERE email_status = 'scheduled'",
    )


async def called_off(stage: Stage) -> None:
    """The session is cancelled, and who is enrolled does not know yet."""
    await stage.write("UPDATE sessions SET status = 'cancelled'")


STATES: tuple[Callable[[Stage], Any], ...] = (waiting, in_doubt, in_flight, left, called_off)


@dataclass(slots=True)
class Stage:
    """One database, two actors, and somebody who looks."""

    monitor: Database
    actors: list[Actor]
    outside: Outside

    @classmethod
    def made(cls, url: str, actors: int = 2) -> Stage:
        """On a migrated database of its own."""
        now = SystemClock().now()
        return cls(
            monitor=Database(url),
            actors=[Actor("", Halting(url, pool_size=3)) for _ in range(actors)],
            outside=Outside(now),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for database in (self.monitor, *(a.database for a in self.actors)):
            await database.aclose()

    async def set(self, state: Callable[[Stage], Any]) -> None:
        """Bring the database into a state."""
        now = SystemClock().now()
        starts_at = now + timedelta(minutes=29)
        self.outside = Outside(starts_at)
        ids = {kind: reminder_id(SESSION, USER, kind, 1) for kind in LEADS}
        KNOWN.due, KNOWN.all = [ids["30min"]], [ids["30min"]]
        self.outside.accepted_from[ids["2h"]] = [uuid4()]
        await self.script(
            *(f"DELETE FROM {table}" for table in _TABLES),
            "UPDATE provider_pace SET held_until = NULL, turns = '{}'",
            "UPDATE reminder_configurations SET is_enabled = reminder_type IN ('2h', '30min')",
            f"INSERT INTO sessions (id, title, start_time)"
            f" VALUES ('{SESSION}', 'Cardiology', '{starts_at.isoformat()}')",
            f"INSERT INTO users (id, email) VALUES ('{USER}', '{ADDRESS}')",
            f"INSERT INTO enrollments (session_id, user_id) VALUES ('{SESSION}', '{USER}')",
            "INSERT INTO session_reminder_emails (id, session_id, user_id, reminder_type, due_at,"
            " starts_at, workflow_id, email_status, sent_at, resend_email_id, plan_version) VALUES "
            + ", ".join(
                f"('{ids[kind]}', '{SESSION}', '{USER}', '{kind}',"
                f" '{(starts_at - timedelta(minutes=minutes)).isoformat()}',"
                f" '{starts_at.isoformat()}', '{session_reminder_workflow_id(SESSION, USER)}', "
                + (
                    f"'sent', now() - interval '90 minutes', 'e-{ids[kind]}', 1)"
                    if kind == "2h"
                    else "'scheduled', NULL, NULL, 1)"
                )
                for kind, minutes in LEADS.items()
            ),
        )
        await state(self)

    async def freeze(self, *, is_accepted: bool) -> None:
        """Freeze what is due for an owner that is dead."""
        batch = FrozenBatch(
            id=uuid4(),
            reminder_ids=tuple(KNOWN.due),
            body=b"[]",
            useful_until=self.outside.starts_at,
            frozen_at=SystemClock().now(),
        )
        await self.write(
            "INSERT INTO email_batches (id, reminder_ids, body, useful_until, frozen_at, owner,"
            " lease_until, delivery_mode, installation_id) SELECT :id, :ids, '[]', :until, now(),"
            " 'dead', now() - interval '1 second', 'live', id FROM reminder_installation",
            id=batch.id, ids=list(batch.reminder_ids), until=batch.useful_until,
        )  # fmt: skip
        await self.write(
            "UPDATE session_reminder_emails SET email_status = 'sending', batch_id = :b,"
            " attempts = 1 WHERE id = ANY(:ids)",
            b=batch.id, ids=list(batch.reminder_ids),
        )  # fmt: skip
        if is_accepted:
            self.outside.post(batch)

    async def script(self, *statements: str) -> None:
        """Write a lot in one round trip."""
        async with self.monitor.autocommit() as connection:
            raw = await connection.get_raw_connection()
            await raw.driver_connection.execute("; ".join(statements))  # type: ignore[union-attr]

    async def write(self, *statements: str, **values: Any) -> None:
        """Write as nobody does who is looked at."""
        async with self.monitor.transaction() as connection:
            for statement in statements:
                await connection.execute(text(statement), values)

    async def play(
        self,
        state: Callable[[Stage], Any],
        operations: tuple[Operation, ...],
        choices: Sequence[int] = (),
        choose: Callable[[list[int]], int] = min,
    ) -> tuple[Played, list[str]]:
        """Play one interleaving from a state; how it went, and what does not hold afterwards."""
        await self.set(state)
        for actor, operation in zip(self.actors, operations, strict=True):
            actor.name = operation.__name__
        calls = [
            partial(operation, Parts(actor.database, self.outside))
            for operation, actor in zip(operations, self.actors, strict=True)
        ]
        played = await play(self.actors, calls, choices, self.monitor, choose=choose)
        return played, await self.violations()

    async def violations(self) -> list[str]:
        """What does not hold, once what is in doubt has been resolved."""
        found = [v async for v in self._of_tables()]
        await self.script(
            "UPDATE email_batches SET lease_until = now() - interval '1 second'",
            "UPDATE provider_pace SET held_until = NULL",
        )
        parts = Parts(self.monitor, self.outside)
        await recover(parts)
        await delivered(parts)  # which corrects what nobody could know
        return [*found, *[v async for v in self._of_the_end()]]

    async def _of_tables(self) -> Any:
        """At any time: rows and batches agree, and no two of a type wait."""
        for row in await self.monitor.tuples(_ALL_OF_NEVER):
            yield f"{row[0]}: {row[1]}"

    async def _of_the_end(self) -> Any:
        rows = {
            row.id: row
            for row in await self.monitor.tuples(
                text(
                    "SELECT id, reminder_type, generation, email_status, status_reason,"
                    " EXISTS (SELECT FROM erased_users) AS is_erased FROM session_reminder_emails"
                )
            )
        }
        for reminder, keys in self.outside.accepted_from.items():
            row = rows.get(reminder)
            if len(keys) > 1:
                yield f"accepted {len(keys)} times: {_told(row, reminder)}"
            if reminder in self.outside.called_off:
                yield f"went out although it was called off: {_told(row, reminder)}"
            if row is not None and not _is_accepted(row):
                yield f"accepted, and the ledger does not say so: {_told(row, reminder)}"
        for batch in await self.monitor.tuples(text(_FROZEN)):
            yield f"frozen for ever: {batch.id}"
        for row in rows.values():
            if _is_accepted(row) and row.id not in self.outside.accepted_from:
                yield f"never accepted: {_told(row, row.id)}"
            if row.email_status == "sending":
                yield f"in doubt for ever: {_told(row, row.id)}"


def _is_accepted(row: Any) -> bool:
    return row.email_status in ("sent", "delivered", "bounced", "complained", "suppressed")


def _told(row: Any, reminder: UUID) -> str:
    if row is None:
        return f"{reminder}, which has no row"
    return f"{row.reminder_type}/{row.generation} {row.email_status} {row.status_reason or ''}"


_TABLES = (
    "session_reminder_emails", "email_batches", "unconfirmed_plans", "enrollments", "users",
    "sessions", "reminder_preferences", "webhook_events", "erased_users", "untold_session_changes",
    "quiet_sessions",
)  # fmt: skip

_NEVER = {
    "in doubt without a frozen request": """
        SELECT r.reminder_type, r.generation, b.state FROM session_reminder_emails r
          LEFT JOIN email_batches b ON b.id = r.batch_id
         WHERE r.email_status = 'sending' AND b.state IS DISTINCT FROM 'frozen'""",
    "two of a type wait": """
        SELECT reminder_type, count(*) FROM session_reminder_emails
         WHERE email_status IN ('scheduled', 'sending') GROUP BY 1 HAVING count(*) > 1""",
    "waits for nothing": """
        SELECT r.reminder_type, e.status, s.status FROM session_reminder_emails r
          JOIN sessions s ON s.id = r.session_id
          LEFT JOIN enrollments e USING (session_id, user_id)
         WHERE r.email_status = 'scheduled' AND e.status IS DISTINCT FROM 'confirmed'""",
    "changed, and nothing says that the run is to follow": """
        SELECT r.reminder_type, r.plan_version, u.version FROM session_reminder_emails r
          LEFT JOIN unconfirmed_plans u USING (session_id, user_id)
         WHERE r.plan_version > 1 AND u.version < r.plan_version""",
    "stored body of a request that has ended": """
        SELECT id FROM email_batches WHERE state <> 'frozen' AND body IS NOT NULL""",
}

_FROZEN = "SELECT id FROM email_batches WHERE state = 'frozen'"
_ALL_OF_NEVER = text(
    " UNION ALL ".join(
        f"SELECT '{name}', CAST(q AS text) FROM ({query}) q" for name, query in _NEVER.items()
    )
)
