"""A platform that counts its rows, as Django and Rails do: the guide's recipe, on such tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import TextClause, text

from reminders.db import existing_platform, migrate, oddities, reading
from reminders.db.delivery_statements import READ
from reminders.db.engine import Database
from reminders.db.sql import typed
from tests.existing.conftest import BARE, GUIDE
from tests.existing.host import ROLE, ROOT, Host, statements

TABLES = """
CREATE TABLE course (id bigserial PRIMARY KEY, name text, starts_at timestamptz);
CREATE TABLE account (id bigserial PRIMARY KEY, email text);
CREATE TABLE booking (id bigserial PRIMARY KEY, course_id bigint, account_id bigint);
INSERT INTO course (name, starts_at) SELECT 'Cardiology', now() + n * interval '1 day'
  FROM generate_series(1, 300) AS n;
INSERT INTO account (email) SELECT 'p' || n || '@hospital.example' FROM generate_series(1, 3000) AS n;
INSERT INTO booking (course_id, account_id) SELECT 1 + n % 300, n FROM generate_series(1, 3000) AS n
"""


def views(of: Callable[[str, str], str]) -> list[str]:
    """The platform's views, with ids that something is made of."""
    return [
        (
            f"CREATE OR REPLACE VIEW reminders_host.sessions AS SELECT {of('session', 'id')} AS id,"
            " name AS title, starts_at AS start_time FROM course"
        ),
        (
            f"CREATE OR REPLACE VIEW reminders_host.users AS SELECT {of('user', 'id')} AS id, email"
            " FROM account"
        ),
        (
            f"CREATE OR REPLACE VIEW reminders_host.enrollments AS SELECT"
            f" {of('session', 'course_id')} AS session_id, {of('user', 'account_id')} AS user_id"
            " FROM booking"
        ),
        f"GRANT USAGE ON SCHEMA reminders_host TO {ROLE}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA reminders_host TO {ROLE}",
    ]


def written_in_python() -> Callable[[str, int], UUID]:
    """The guide's function for who calls."""
    guide = (ROOT / "docs" / GUIDE).read_text(encoding="utf-8")
    (code,) = re.findall(r"(?s)```python\n(.*?)```", guide)
    names: dict[str, Callable[[str, int], UUID]] = {}
    exec(code, names)
    return names["uuid_of"]


@pytest.mark.parametrize("template", [BARE])
async def test_the_guides_recipe(
    host: Host, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Integers are refused with the recipe; it says the same in SQL and Python, and uses its indexes."""
    await host.run(
        "CREATE SCHEMA reminders_host",
        f"CREATE SCHEMA session_reminders AUTHORIZATION {ROLE}",
        *filter(str.strip, TABLES.split(";")),
    )
    await host.run(*views(lambda _, column: column))
    problems = (await existing_platform.examine(database)).problems
    assert 4 == len(problems)
    assert all("reminders_host.uuid_of(" in problem for problem in problems)
    assert all("integer ids" in problem for problem in problems)
    await host.run(*(f"DROP VIEW reminders_host.{name}" for name in ("sessions", "users")))
    await host.run("DROP VIEW reminders_host.enrollments")
    function, *indexes = statements(GUIDE, "Integer ids")
    await host.run(function)
    await host.run(*views(lambda kind, column: f"reminders_host.uuid_of('{kind}', {column})"))
    assert () == (await existing_platform.examine(database)).problems
    monkeypatch.setattr(reading, "SLOW", -1)  # however fast the machine is
    slow = " ".join(await reading.slow_lookups(database))
    assert "looking up reminders_host.users by id takes" in slow
    assert "reminders_host.enrollments by session_id and user_id" in slow
    assert "reminders_host.enrollments by session_id takes" in slow
    assert "CREATE INDEX ON its table (session_id), or what they are made of" in slow
    await host.run(*indexes, "ANALYZE")
    monkeypatch.setattr(reading, "SLOW", 0.05)
    assert () == await reading.slow_lookups(database)
    await migrate.upgrade(database)
    user = written_in_python()("user", 7)
    found = await database.row(
        text("SELECT u.email FROM users u JOIN enrollments e ON e.user_id = u.id WHERE u.id = :id"),
        {"id": user},
    )
    assert found is not None
    assert "p7@hospital.example" == found["email"]
    plan = await database.tuples(
        text("EXPLAIN SELECT FROM enrollments WHERE session_id = :s AND user_id = :u"),
        {"s": written_in_python()("session", 8), "u": user},
    )
    assert "Index" in str(plan)


COMPUTED = (
    """
    CREATE OR REPLACE VIEW reminders_host.users AS
    SELECT reminders_host.uuid_of('user', id) AS id, email FROM account WHERE id % 2 = 0
     UNION ALL
    SELECT reminders_host.uuid_of('user', a.id), a.email
      FROM account a JOIN booking b ON b.account_id = a.id WHERE a.id % 2 = 1
    """,
    """
    CREATE OR REPLACE VIEW reminders_host.enrollments AS
    SELECT DISTINCT ON (session_id, user_id) * FROM (
        SELECT reminders_host.uuid_of('session', course_id) AS session_id,
               reminders_host.uuid_of('user', account_id) AS user_id FROM booking) bookings
    """,
)
"""Views as platforms have them that know several kinds of people, and several tickets of one."""


@pytest.mark.parametrize("template", [BARE])
async def test_a_view_that_computes_is_looked_up_and_not_read_whole(
    host: Host, database: Database
) -> None:
    """A `UNION`, a join, a `DISTINCT`: a delivery and `doctor` find their rows by an index."""
    function, *indexes = statements(GUIDE, "Integer ids")
    await host.run(
        "CREATE SCHEMA reminders_host",
        f"CREATE SCHEMA session_reminders AUTHORIZATION {ROLE}",
        *filter(str.strip, TABLES.split(";")),
        function,
        *views(lambda kind, column: f"reminders_host.uuid_of('{kind}', {column})"),
        *COMPUTED,
        *indexes,
        "CREATE INDEX ON booking (account_id)",
        "ANALYZE",
    )
    await migrate.upgrade(database)

    async def explained(statement: TextClause) -> str:
        values = {"ids": [UUID(int=0)], "sender": "", "threshold": timedelta(), "shadow": False}
        asked = typed(f"EXPLAIN {statement.text}")
        used = {name: values[name] for name in asked._bindparams}
        return str(await database.tuples(asked, used))

    asked = {
        "delivery": READ,
        **{
            f"{kind.relation} {kind.name}": text(
                kind.statement(f'"reminders_host"."{kind.relation}"')
            )
            for kind in oddities._KINDS
            if kind.relation != "sessions" and kind.column is None
        },
    }
    plans = {name: await explained(statement) for name, statement in asked.items()}
    whole = {
        name
        for name, plan in plans.items()
        if "Seq Scan on account" in plan or "Seq Scan on booking" in plan
    }
    assert set() == whole
