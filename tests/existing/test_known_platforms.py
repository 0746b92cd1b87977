"""The guide's SQL for other kinds of platforms than its example, and those that nobody here wrote.

Of these the tables have the columns that are read, as their own migrations make them.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from temporalio.client import Client

from devstack.postgres import EmbeddedPostgres
from reminders.db import existing_platform, migrate
from reminders.db.engine import Database
from reminders.settings import Settings
from tests.databases import migrated
from tests.existing.conftest import BARE, GUIDE
from tests.existing.host import ROLE, ROOT, Host, statements
from tests.existing.test_existing_platform import statuses
from tests.provider import ProviderClient
from tests.stage import Stage


@dataclass(frozen=True)
class Platform:
    """Tables as the platform's own migrations make them, as far as they are read."""

    page: str
    tables: str
    rows: str
    people: dict[str, str]
    """What becomes of whom, by address."""


PRETIX = Platform(
    "pretix.md",
    """
    CREATE TABLE pretixbase_event (id bigint PRIMARY KEY, name text, date_from timestamptz,
        date_to timestamptz, location text, has_subevents boolean);
    CREATE TABLE pretixbase_event_settingsstore (object_id bigint, key varchar(255), value text);
    CREATE TABLE pretixbase_subevent (id bigint PRIMARY KEY, event_id bigint, name text,
        date_from timestamptz, date_to timestamptz, location text, active boolean);
    CREATE TABLE pretixbase_item (id bigint PRIMARY KEY, admission boolean);
    CREATE TABLE pretixbase_order (id bigint PRIMARY KEY, event_id bigint, status varchar(3),
        email varchar(254), locale varchar(32), datetime timestamptz, last_modified timestamptz,
        require_approval boolean, valid_if_pending boolean, testmode boolean);
    CREATE TABLE pretixbase_orderposition (id bigint PRIMARY KEY, order_id bigint, item_id bigint,
        subevent_id bigint, attendee_email varchar(254), attendee_name_cached varchar(255),
        canceled boolean)
    """,
    """
    INSERT INTO pretixbase_event VALUES
        (1, '{"en": "Cardiology", "de": "Kardiologie"}', now() + '1 day', NULL, NULL, false),
        (2, 'Series', now() + '1 day', NULL, NULL, true);
    INSERT INTO pretixbase_event_settingsstore VALUES (1, 'timezone', 'Europe/Berlin');
    INSERT INTO pretixbase_subevent VALUES (1, 2, 'Evening', now() + '1 day', NULL, NULL, false);
    INSERT INTO pretixbase_item VALUES (1, true), (2, false);
    INSERT INTO pretixbase_order
    SELECT id, event, status, 'order' || id || '@x', 'de-informal', now(), now(), approval, counts, test
      FROM (VALUES (1, 1, 'p', false, false, false), (2, 1, 'n', false, false, false),
                   (3, 1, 'n', false, true, false), (4, 1, 'n', true, true, false),
                   (5, 1, 'c', false, false, false), (6, 1, 'p', false, false, true),
                   (7, 1, 'p', false, false, false), (8, 2, 'p', false, false, false))
        AS o (id, event, status, approval, counts, test);
    INSERT INTO pretixbase_orderposition
    SELECT id, id, 1, CASE id WHEN 8 THEN 1 END, 'a' || id || '@x', 'Ana', false
      FROM generate_series(1, 8) AS id WHERE id <> 7;
    INSERT INTO pretixbase_orderposition VALUES
        (17, 7, 1, NULL, '', NULL, true), (27, 7, 1, NULL, NULL, NULL, false),
        (37, 7, 1, NULL, NULL, NULL, false), (47, 7, 2, NULL, 'shirt@x', NULL, false)
    """,
    {
        "a1@x": "confirmed",
        "a2@x": "pending",
        "a3@x": "confirmed",
        "a4@x": "pending",
        "a5@x": "cancelled",
        "a8@x": "confirmed",
        "order7@x": "confirmed",
    },
)
INDICO = Platform(
    "indico.md",
    """
    CREATE SCHEMA events; CREATE SCHEMA users; CREATE SCHEMA roombooking;
    CREATE SCHEMA event_registration;
    CREATE TABLE events.events (id integer PRIMARY KEY, title varchar, start_dt timestamp,
        end_dt timestamp, timezone varchar, is_deleted boolean, venue_name varchar,
        room_name varchar, room_id integer);
    CREATE TABLE roombooking.rooms (id integer, verbose_name varchar, building varchar,
        floor varchar, number varchar);
    CREATE TABLE events.persons (id integer, first_name varchar, last_name varchar);
    CREATE TABLE events.event_person_links (event_id integer, person_id integer,
        display_order integer);
    CREATE TABLE users.users (id integer PRIMARY KEY, first_name varchar, last_name varchar);
    CREATE TABLE users.emails (user_id integer, email varchar, is_primary boolean,
        is_user_deleted boolean);
    CREATE TABLE users.settings (user_id integer, module varchar, name varchar, value jsonb);
    CREATE TABLE event_registration.registrations (id integer PRIMARY KEY, event_id integer,
        user_id integer, state smallint, submitted_dt timestamp, email varchar, first_name varchar,
        last_name varchar, is_deleted boolean)
    """,
    """
    INSERT INTO events.events VALUES
        (1, 'Seminar', now() + '1 day', now() + '2 days', 'Europe/Zurich', false, 'CERN', '', NULL);
    INSERT INTO users.users VALUES (1, 'Ana', 'Ruiz');
    INSERT INTO users.emails VALUES (1, 'ana@x', true, false), (1, 'old@x', false, false);
    INSERT INTO users.settings VALUES (1, 'users', 'timezone', '"Asia/Tokyo"');
    INSERT INTO event_registration.registrations
    SELECT n, 1, CASE WHEN n > 5 THEN 1 END, CASE WHEN n > 5 THEN 7 - n + 3 ELSE n END, now(),
           'g' || n || '@x', 'Guest', 'X', n = 1 FROM generate_series(1, 7) AS n;
    INSERT INTO event_registration.registrations VALUES
        (8, 1, NULL, 1, now(), 'g8@x', 'Guest', 'X', false), (9, 1, 1, 1, now(), 'a@x', 'A', 'R', false)
    """,
    {
        "ana@x": "confirmed",
        "g1@x": "cancelled",
        "g2@x": "pending",
        "g3@x": "cancelled",
        "g4@x": "cancelled",
        "g5@x": "pending",
        "g8@x": "confirmed",
    },
)


@pytest.mark.parametrize("template", [BARE])
@pytest.mark.parametrize("platform", [PRETIX, INDICO], ids=["pretix", "indico"])
async def test_a_pages_views(platform: Platform, host: Host, database: Database) -> None:
    """They can be read, show each person once with the status the page names, and use its indexes."""
    await host.run(
        "CREATE SCHEMA reminders_host",
        f"CREATE SCHEMA session_reminders AUTHORIZATION {ROLE}",
        statements(GUIDE, "Integer ids")[0],
        *filter(str.strip, platform.tables.split(";")),
        *filter(str.strip, platform.rows.split(";")),
    )
    written = (ROOT / "docs" / platform.page).read_text(encoding="utf-8")
    (block,) = re.findall(r"(?s)```sql\n(.*?)```", written)
    await host.run(
        *filter(str.strip, re.sub(r"(?m)--.*$", "", block).split(";")),
        f"GRANT USAGE ON SCHEMA reminders_host TO {ROLE}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA reminders_host TO {ROLE}",
    )
    assert () == (await existing_platform.examine(database)).problems
    await migrate.upgrade(database)
    found = await database.tuples(
        text(
            "SELECT u.email, e.status FROM enrollments e JOIN users u ON u.id = e.user_id"
            " JOIN sessions s ON s.id = e.session_id"
        )
    )
    assert sorted(platform.people.items()) == sorted(map(tuple, found))
    await host.run(
        f"ALTER ROLE {ROLE} IN DATABASE {host.url.partition('@/')[2].partition('?')[0]}"
        " SET enable_seqscan = off"
    )
    await database.engine.dispose()
    for relation, name in {"sessions": "id", "users": "id", "enrollments": "user_id"}.items():
        looks_up = f"EXPLAIN SELECT FROM reminders_host.{relation} WHERE {name} = '{UUID(int=0)}'"
        plan = str(await database.tuples(text(looks_up)))
        assert re.search("_(uuid_of|holder|participant)_idx", plan), plan


async def test_what_is_marked_as_deleted(stage: Stage, host: Host) -> None:
    """An enrollment that is kept, and marked, ends like one that goes."""
    await host.run(
        "ALTER TABLE public.session_enrollments ADD deleted_at timestamptz, ADD updated_at timestamptz",
        *statements(GUIDE, "Soft deletes"),
    )
    await migrate.upgrade(stage.database)
    session = await host.session(stage.clock.now() + timedelta(hours=25))
    ana, ben = await host.person("ana"), await host.person("ben")
    for user in (ana, ben):
        await host.enrolls(session, user)
        await stage.gateway.enroll(session, user)
    await host.run(
        "UPDATE public.session_enrollments SET deleted_at = now(), updated_at = now()"
        " WHERE user_id = :ana",
        ana=ana,
    )
    await stage.sweep()
    assert {"cancelled: unenrolled"} == await statuses(stage, session, ana)
    assert {"scheduled"} == await statuses(stage, session, ben)


async def test_foreign_tables_of_another_server(
    host: Host,
    postgres: EmbeddedPostgres,
    client: Client,
    settings: Settings,
    provider: ProviderClient,
) -> None:
    """Our schema is in a database of its own, and the platform's views are read from there."""
    ours = f"test_{uuid4().hex}"
    await asyncio.to_thread(postgres.create_database, ours)
    administrator = Database(postgres.url(ours))
    theirs = make_url(host.url)
    options = {
        "'replica.example.org'": f"'{theirs.query['host']}'",
        "'5432'": f"'{theirs.query['port']}'",
        "dbname 'platform'": f"dbname '{theirs.database}'",
        # Here everybody is let in without a password.
        "'choose-a-long-one'": "'choose-a-long-one', password_required 'false'",
    }
    # Both databases are on one server, which has the role.
    written_for_two = statements(GUIDE, "Behind a replica")
    script = "; ".join(s for s in written_for_two if not s.startswith("CREATE ROLE"))
    for written, meant in options.items():
        script = script.replace(written, meant)
    await Host(administrator, "").run(*script.split(";"))
    database = Database(
        make_url(postgres.url(ours)).set(username=ROLE).render_as_string(hide_password=False),
        host_schema="reminders_host",
    )
    assert () == (await existing_platform.examine(database)).problems
    await migrated(database)
    changed = settings.model_copy(update={"database_url": SecretStr(postgres.url(ours))})
    async with Stage(changed, database, client, provider) as stage:
        session = await host.session(stage.clock.now() + timedelta(hours=25))
        ana = await host.person("ana")
        await host.enrolls(session, ana)
        await stage.sweep()
        assert {"scheduled"} == await statuses(stage, session, ana)
    await database.aclose()
    await administrator.aclose()
    await asyncio.to_thread(postgres.drop_database, ours)
