"""A platform's relation that cannot be read is named, whatever the catalogue says of it."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest
from sqlalchemy import text

from devstack.postgres import EmbeddedPostgres
from devstack.temporal import EmbeddedTemporal
from reminders.db import existing_platform
from reminders.db.engine import Database
from reminders.domain.errors import DatabaseRefusedError, DatabaseUnavailableError
from reminders.settings import Settings
from starter.cli import installation
from starter.health import platform
from starter.health.diagnosis import Check, Level
from tests.existing.host import ROLE, Host
from tests.stage import Stage
from tests.starter.conftest import serving

RAISES = """
CREATE FUNCTION reminders_host.name_of(who uuid) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN RAISE EXCEPTION 'no name for %', who; END $$
"""
SHOWS_NAMES = """
CREATE OR REPLACE VIEW reminders_host.users AS
SELECT u.id, u.email, reminders_host.name_of(u.id) AS full_name, p.timezone AS time_zone, p.locale
  FROM auth.users u LEFT JOIN public.profiles p ON p.id = u.id
"""


@pytest.fixture(autouse=True)
def _temporal(temporal_server: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API looks for Temporal, too."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)


async def _platform(settings: Settings) -> Check:
    """What `/readyz` says about the platform."""
    async with serving(settings) as api:
        answer = json.loads((await api.get("/readyz")).text)
    (found,) = (check for check in answer["checks"] if check["name"] == "platform")
    return Check(
        name="platform",
        detail=found["detail"],
        level=Level(found["level"]),
        remedy=found["remedy"],
    )


async def test_all_is_well(settings: Settings, database: Database, host: Host) -> None:
    """What can be read is said to be."""
    await host.person("Ana")
    assert () == await existing_platform.unreadable(database)
    assert Level.OK is (await _platform(settings)).level


async def test_a_view_that_raises_is_named_with_its_column(
    settings: Settings, database: Database, host: Host
) -> None:
    """A function in it fails: `db check`, doctor and `/readyz` name column, SQLSTATE and function."""
    person = await host.person("Ana")
    await host.run(RAISES, SHOWS_NAMES)
    problems = (await existing_platform.examine(database)).problems
    assert len(problems) == 1
    assert "reminders_host.users.full_name" in problems[0]
    assert "P0001" in problems[0]
    assert "reminders_host.name_of" in problems[0]
    assert str(person) not in problems[0], "a function's words may quote anything"
    found = await _platform(settings)
    assert Level.WARNING is found.level
    assert "reminders_host.users.full_name" in found.detail


async def test_a_privilege_that_was_taken_away_is_red(settings: Settings, host: Host) -> None:
    """Nothing can be delivered then."""
    await host.run(f"REVOKE SELECT ON reminders_host.users FROM {ROLE}")
    found = await _platform(settings)
    assert Level.RED is found.level
    assert "reminders_host.users cannot be read" in found.detail
    assert "GRANT" in (found.remedy or "")


async def test_a_schema_that_is_gone_is_red_and_logged_by_its_sqlstate(
    settings: Settings, database: Database, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """With it went our views over it."""
    await host.run("DROP SCHEMA reminders_host CASCADE")
    found = await _platform(settings)
    assert Level.RED is found.level
    assert "reminders_host.sessions" in found.detail
    caplog.clear()
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(DatabaseRefusedError, match=r'42P01.*"sessions".*db upgrade'),
    ):
        await database.rows(text("SELECT * FROM sessions"))
    assert "42P01" in caplog.text
    assert len(caplog.text) < 1000


async def test_a_function_that_is_wrongly_parallel_safe_does_no_harm(
    database: Database, host: Host, postgres: EmbeddedPostgres, settings: Settings
) -> None:
    """We ask for no parallel workers, in which it would fail; whoever does is told."""
    await host.person("Ana")
    safe = RAISES.replace("STABLE", "STABLE PARALLEL SAFE").replace(
        "RAISE EXCEPTION 'no name for %', who;",
        "PERFORM set_config('reminders.who', who::text, true); RETURN 'Ana';",
    )
    name = settings.require_database_url().partition("@/")[2].partition("?")[0]
    await host.run(safe, SHOWS_NAMES, f"ALTER DATABASE {name} SET debug_parallel_query = on")
    await database.engine.dispose()
    assert await database.rows(text("SELECT * FROM users"))
    assert () == await existing_platform.unreadable(database)
    theirs = Database(postgres.url(name))
    with pytest.raises(DatabaseRefusedError, match="25000"):
        await theirs.rows(text("SELECT * FROM reminders_host.users"))
    await theirs.aclose()


async def test_a_view_that_takes_long_is_not_postgresqls_fault(
    settings: Settings, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said of the platform, in time: PostgreSQL answers."""
    await host.person("Ana")
    await host.run(
        RAISES.replace(
            "RAISE EXCEPTION 'no name for %', who;", "PERFORM pg_sleep(1); RETURN 'Ana';"
        ),
        SHOWS_NAMES,
    )
    monkeypatch.setattr(platform, "_PATIENCE", timedelta(milliseconds=300))
    found = await _platform(settings)
    assert Level.WARNING is found.level
    assert "the platform's relations take more than 0.3 s to read" == found.detail
    assert "db check" in (found.remedy or "")


async def test_rows_that_cannot_be_looked_through(
    settings: Settings, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`db check`, and `db upgrade` which is done, say so and the rest; `doctor` is not green."""

    async def gives_up(_database: Database) -> None:
        raise DatabaseUnavailableError("a statement took too long; again")

    monkeypatch.setattr(platform, "odd_rows", gives_up)
    checked = await installation._checked(stage.parts)
    assert () == checked.problems
    assert ("its rows could not be looked through: a statement took too long; again",) == (
        checked.warnings
    )
    found = await _platform(settings)
    assert Level.WARNING is found.level
    assert "cannot be looked through: a statement took too long" in found.detail
