"""Our own tables, written by SQL: triggers tell a worker what has changed."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import asyncpg

from tests.existing.test_notifications import are, listening, triggers
from tests.stage import Stage, eventually

HOUR = timedelta(hours=1)


async def test_what_is_written_by_sql_is_followed_at_once(stage: Stage, database_url: str) -> None:
    """The guide's triggers, on the tables of owned mode: enrolled, moved and left; nobody sweeps."""
    session, user = uuid4(), uuid4()
    starts_at = (stage.clock.now() + 25 * HOUR).replace(microsecond=0)
    own = triggers().replace("reminders_host.", "").replace("session_enrollments", "enrollments")
    administrator = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        await administrator.execute(own)
        async with listening(stage):
            await administrator.execute(
                "INSERT INTO users VALUES ($1, 'ana@hospital.example')", user
            )
            await administrator.execute(
                "INSERT INTO sessions (id, title, start_time) VALUES ($1, 'Cardiology', $2)",
                session,
                starts_at,
            )
            await administrator.execute(
                "INSERT INTO enrollments (session_id, user_id) VALUES ($1, $2)", session, user
            )
            await eventually(lambda: are(stage, session, user, {"scheduled"}))
            await administrator.execute("UPDATE sessions SET start_time = $1", starts_at + HOUR)

            async def starts_later() -> bool:
                rows = await stage.queries.of_enrollment(session, user)
                return {row.starts_at for row in rows} == {starts_at + HOUR}

            await eventually(starts_later)
            await administrator.execute("DELETE FROM enrollments")
            await eventually(lambda: are(stage, session, user, {"cancelled: unenrolled"}))
    finally:
        await administrator.close()
