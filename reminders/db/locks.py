"""Who waits for whom: locks on a session, an enrollment and a person, until a transaction ends.

Enrollments are planned at the same time as others of their session and of their person, and those
who change the session or the person wait for them, as they wait for such a change. All of these
locks are advisory, because PostgreSQL queues for those in the order in which they were asked for.
For a row it does not: whoever shares its lock overtakes a writer who waits, and while people enroll
one after the other the cancel of their session would wait for the last of them.

Everybody takes them in one order, so that no two wait for each other: the session, the enrollment,
the person, and only then rows; of these an enrollment before its reminders, reminders by ascending
id. Rows that refer to a session or a person share-lock its row when they are written, so nobody
locks such a row more strongly than an update does, which is no conflict. Of several people, those
with the lower ids come first.

They are names, not rows, so both modes take the same ones: an existing platform's rows stay as
they are, and a platform that changes its own lets us know afterwards.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.sql import typed
from reminders.domain.keys import session_reminder_workflow_id

# The functions are called in the order in which they stand here.
_PLANNING = text("""
SELECT pg_advisory_xact_lock_shared(hashtextextended(:session, 0)),
       pg_advisory_xact_lock(hashtextextended(:enrollment, 0)),
       pg_advisory_xact_lock_shared(hashtextextended(:person, 0))
""")
_EACH = typed("SELECT pg_advisory_xact_lock(hashtextextended(n, 0)) FROM unnest(:names) n")
_SHARED = typed("SELECT pg_advisory_xact_lock_shared(hashtextextended(n, 0)) FROM unnest(:names) n")
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


async def planning(connection: AsyncConnection, session_id: UUID, *user_ids: UUID) -> None:
    """Let nobody else plan these people's enrollments in a session, or change it or them."""
    people = sorted(user_ids)
    enrollments = [session_reminder_workflow_id(session_id, user_id) for user_id in people]
    if len(people) == 1:  # one statement: every enrollment asks it, and pays for round trips
        await connection.execute(
            _PLANNING,
            {
                "session": _session(session_id),
                "enrollment": enrollments[0],
                "person": _person(people[0]),
            },
        )
        return
    await connection.execute(_SHARED, {"names": [_session(session_id)]})
    await connection.execute(_EACH, {"names": enrollments})
    await connection.execute(_SHARED, {"names": [_person(user_id) for user_id in people]})


async def session(connection: AsyncConnection, session_id: UUID) -> None:
    """Let nobody else change this session, or plan an enrollment in it."""
    await connection.execute(_ALONE, {"key": _session(session_id)})


async def person(connection: AsyncConnection, user_id: UUID) -> None:
    """Let nobody else change this person or what they chose, or plan an enrollment of theirs."""
    await connection.execute(_ALONE, {"key": _person(user_id)})


def _session(session_id: UUID) -> str:
    return f"session:{session_id}"


def _person(user_id: UUID) -> str:
    return f"user:{user_id}"
