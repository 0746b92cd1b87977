"""Plans that no workflow has confirmed yet: written with the plan, in the caller's transaction.

This is a transactional outbox. Whoever changes what a workflow waits for can be interrupted before
the workflow follows, and the entry tells everybody who comes later: the same call repeated, and the
sweep.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.sql import typed
from reminders.domain.ports import Enrollment

_ADD = typed("""
INSERT INTO unconfirmed_plans AS p (session_id, user_id, version)
SELECT :session_id, w.user_id, w.version
  FROM unnest(:users, :plan_versions) AS w (user_id, version)
ON CONFLICT (session_id, user_id) DO UPDATE
   SET version = greatest(p.version, excluded.version), planned_at = excluded.planned_at
""")

_ADD_ALL = typed("""
INSERT INTO unconfirmed_plans AS p (session_id, user_id, version)
SELECT e.session_id, e.user_id, nextval('plan_versions')
  FROM (SELECT DISTINCT * FROM unnest(:sessions, :users) AS e (session_id, user_id)
         ORDER BY 1, 2) e
ON CONFLICT (session_id, user_id) DO UPDATE
   SET version = greatest(p.version, excluded.version), planned_at = excluded.planned_at
""")

_CONFIRM = typed("""
WITH confirmed AS (
    DELETE FROM unconfirmed_plans p
     WHERE p.session_id = :session_id AND p.user_id = :user_id AND p.version <= :plan_version
       AND (:is_found OR p.planned_at < :settled))
SELECT greatest(
       (SELECT max(r.plan_version) FROM session_reminder_emails r
         WHERE r.session_id = :session_id AND r.user_id = :user_id),
       (SELECT p.version FROM unconfirmed_plans p
         WHERE p.session_id = :session_id AND p.user_id = :user_id))
""")

# Who has been planned anew since; of them nothing is confirmed that was not.
_CONFIRM_ALL = typed("""
WITH asked AS (SELECT * FROM unnest(:users, :plan_versions) AS a (user_id, version)),
confirmed AS (
    DELETE FROM unconfirmed_plans p USING asked a
     WHERE p.session_id = :session_id AND p.user_id = a.user_id AND p.version <= a.version)
SELECT a.user_id FROM asked a
 WHERE EXISTS (SELECT FROM session_reminder_emails r WHERE r.session_id = :session_id
                  AND r.user_id = a.user_id AND r.plan_version > a.version)
    OR EXISTS (SELECT FROM unconfirmed_plans p WHERE p.session_id = :session_id
                  AND p.user_id = a.user_id AND p.version > a.version)
""")

_FORGET = typed("""
DELETE FROM unconfirmed_plans WHERE session_id = :session_id AND user_id = :user_id
""")


async def add(connection: AsyncConnection, session_id: UUID, versions: Mapping[UUID, int]) -> None:
    """Note plans of one session that were written in this transaction, by person."""
    if versions:
        asked = {
            "session_id": session_id,
            "users": list(versions),
            "plan_versions": list(versions.values()),
        }
        await connection.execute(_ADD, asked)


async def add_all(connection: AsyncConnection, changed: Collection[tuple[UUID, UUID]]) -> None:
    """Note enrollments, by session and user, whose reminders were changed by other than a plan.

    To be called behind the statement that changed them: it holds their rows, so that the version is
    beyond that of any plan which still knew them as they were.
    """
    if changed:
        asked = {"sessions": [s for s, _ in changed], "users": [u for _, u in changed]}
        await connection.execute(_ADD_ALL, asked)


async def confirm(
    connection: AsyncConnection,
    enrollment: Enrollment,
    version: int,
    *,
    is_found: bool,
    settled: datetime,
) -> int:
    """Note that the enrollment's workflow follows a plan; the newest version that there is.

    Args:
        connection: In any transaction.
        enrollment: Whose workflow it is.
        version: Of the plan.
        is_found: Whether there was a workflow. If there was none, somebody may be about to start
            it: the entry stays until it is old.
        settled: What was planned before has no call under way any more.
    """
    newest = await connection.scalar(
        _CONFIRM,
        {
            "session_id": enrollment.session_id,
            "user_id": enrollment.user_id,
            "plan_version": version,
            "is_found": is_found,
            "settled": settled,
        },
    )
    return newest or 0


async def confirm_all(
    connection: AsyncConnection, session_id: UUID, versions: Mapping[UUID, int]
) -> set[UUID]:
    """Note that workflows were started with these plans; who has a newer one by now.

    Args:
        connection: In any transaction.
        session_id: Of all of them.
        versions: Of the plans, by person.
    """
    asked = {
        "session_id": session_id,
        "users": list(versions),
        "plan_versions": list(versions.values()),
    }
    return set((await connection.scalars(_CONFIRM_ALL, asked)).all())


async def forget(connection: AsyncConnection, session_id: UUID, user_id: UUID) -> None:
    """Delete the entry of an enrollment whose session is gone."""
    await connection.execute(_FORGET, {"session_id": session_id, "user_id": user_id})
