"""Whatever becomes of the database for a while, what is due goes out once, and nobody restarts us.

{direct, session pooler, transaction pooler} x {owned, existing} x {restart, read-only, full,
statement time-out}, with worker and API in this process: they are started once and go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from temporalio.client import Client

from devstack.postgres import EmbeddedPostgres
from devstack.temporal import EmbeddedTemporal
from reminders.db.engine import Database
from reminders.domain.errors import DatabaseUnavailableError
from reminders.settings import Settings
from tests.databases import migrated
from tests.provider import ProviderClient
from tests.reminders.db.pgbouncer import PgBouncer, binary
from tests.stage import Stage, eventually
from tests.starter.conftest import Api, serving

pytestmark = pytest.mark.proof

WAYS = ("direct", "session", "transaction")
MODES = ("owned", "existing")
FAULTS = ("restart", "read-only", "full", "time-out")
LEAD = timedelta(minutes=30)
"""Of a rule that every installation has."""
PLATFORM = """
CREATE SCHEMA platform;
CREATE TABLE platform.sessions (id uuid PRIMARY KEY, title text, start_time timestamptz);
CREATE TABLE platform.users (id uuid PRIMARY KEY, email text);
CREATE TABLE platform.enrollments (session_id uuid, user_id uuid, PRIMARY KEY (session_id, user_id));
GRANT USAGE ON SCHEMA platform TO app;
GRANT SELECT ON ALL TABLES IN SCHEMA platform TO app;
"""


class Place:
    """A database that is reached in one way and used in one mode, and what may become of it."""

    def __init__(self, postgres: EmbeddedPostgres, way: str, mode: str) -> None:
        self.postgres, self.way, self.mode = postgres, way, mode
        self.name = f"faults_{uuid4().hex}"
        self.bouncer: PgBouncer | None = None
        if way != "direct":
            size = 4 if way == "transaction" else 50
            self.bouncer = PgBouncer(postgres, way, default_pool_size=size)

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[str]:
        """Its `DATABASE_URL`."""
        with nullcontext() if self.bouncer is None else self.bouncer:
            async with self.administering("postgres") as administrator:
                await administrator.execute(f"CREATE DATABASE {self.name} OWNER app")
            if self.mode == "existing":
                async with self.administering(self.name) as administrator:
                    await administrator.execute(PLATFORM)
            url = self.postgres.url(self.name).replace("postgres@", "app@")
            if self.bouncer is not None:
                url = self.bouncer.url(self.name, user="app")
            database = Database(url, host_schema="platform" if self.mode == "existing" else None)
            await migrated(database)
            await database.aclose()
            yield url
        async with self.administering("postgres") as administrator:
            await administrator.execute(f"DROP DATABASE {self.name} WITH (FORCE)")

    @asynccontextmanager
    async def administering(self, database: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection that the faults do not concern."""
        well = {"statement_timeout": "0", "default_transaction_read_only": "off"}
        url = self.postgres.url(database).replace("+asyncpg", "")
        connection = await asyncpg.connect(url, server_settings=well)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def impatient(self) -> AsyncIterator[None]:
        """Its pooler, if there is one, lets nobody wait; before and after, a slow machine may."""
        if self.bouncer is not None:
            await self.bouncer.set("query_wait_timeout", 1)
        yield
        if self.bouncer is not None:
            await self.bouncer.set("query_wait_timeout", 30)

    async def suffers(self, fault: str, seconds: float) -> None:
        """Something becomes of it, for so long."""
        if fault == "restart":
            self.postgres.kill()
            await asyncio.sleep(seconds)
            self.postgres.start()
        elif fault == "full" and self.way == "transaction":
            await self._hogged(seconds)
        else:
            change, back = {
                "full": ("ALTER ROLE app CONNECTION LIMIT 0", "ALTER ROLE app CONNECTION LIMIT -1"),
                "read-only": _setting("default_transaction_read_only", "on"),
                "time-out": _setting("statement_timeout", "1ms"),
            }[fault]
            async with self.administering(self.name) as administrator:
                await administrator.execute(change)
                await administrator.execute("SELECT pg_reload_conf()")
                if fault == "full":
                    await administrator.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
                    )
                await asyncio.sleep(seconds)
                await administrator.execute(back)
                await administrator.execute("SELECT pg_reload_conf()")

    async def _hogged(self, seconds: float) -> None:
        """Somebody else has all of the pooler's connections."""
        assert self.bouncer is not None
        url = self.bouncer.url(self.name, user="app")
        async with AsyncExitStack() as stack:
            for _ in range(4):
                # They compete with us, and some of them lose.
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    connection = await asyncpg.connect(url, statement_cache_size=0)
                    stack.callback(connection.terminate)
                    await connection.execute("BEGIN; SELECT 1")
            await asyncio.sleep(seconds)


def _setting(name: str, value: str) -> tuple[str, str]:
    return f"ALTER SYSTEM SET {name} = '{value}'", f"ALTER SYSTEM RESET {name}"


class People:
    """Who is to be reminded, and how the API answered meanwhile."""

    def __init__(self, place: Place, stage: Stage, api: Api) -> None:
        self.place, self.stage, self.api = place, stage, api
        self.enrolled: list[tuple[UUID, UUID]] = []
        self.statuses: Counter[int] = Counter()
        self.is_over = False

    async def enroll(self, due_in: timedelta) -> None:
        """Somebody in a session of their own; on a slow machine it may take a later one."""
        for later in range(5):
            pair = await self._enrolled(due_in + timedelta(seconds=3 * later))
            if await self.became(*pair) != "skipped":
                self.enrolled.append(pair)
                return
        pytest.fail("every reminder was past due before it was planned")

    async def became(self, session: UUID, user: UUID) -> str:
        """How somebody's reminder stands."""
        rows = await self.stage.queries.of_enrollment(session, user)
        return next(str(row.status) for row in rows if row.reminder_type == "30min")

    async def _enrolled(self, due_in: timedelta) -> tuple[UUID, UUID]:
        if self.place.mode == "owned":
            session = await self.stage.session(starts_in=LEAD + due_in)
            pair = session.id, await self.stage.attendee()
        else:
            pair = uuid4(), uuid4()
            starts_at = self.stage.clock.now() + LEAD + due_in
            async with self.place.administering(self.place.name) as platform:
                await platform.execute(
                    "INSERT INTO platform.sessions VALUES ($1, 'Cardiology', $2)",
                    pair[0],
                    starts_at,
                )
                await platform.execute(
                    "INSERT INTO platform.users VALUES ($1, $2)",
                    pair[1],
                    f"ana.{pair[1].hex[:8]}@hospital.example",
                )
                await platform.execute("INSERT INTO platform.enrollments VALUES ($1, $2)", *pair)
        await self.stage.gateway.enroll(*pair)
        return pair

    async def ask(self) -> None:
        """Call the API all the time: reads, and a write that is safe to repeat."""
        number = 0
        while not self.is_over:
            session, user = self.enrolled[number % len(self.enrolled)]
            number += 1
            for answer in (
                await self.api.get(f"/v1/enrollments/{session}/{user}"),
                await self.api.enroll(session, user),
            ):
                self.statuses[answer.status_code] += 1
                if answer.status_code == 503:
                    assert answer.headers["Retry-After"]
            await asyncio.sleep(0.1)


async def _played(
    place: Place,
    *,
    settings: Settings,
    client: Client,
    provider: ProviderClient,
    faults: tuple[str, ...],
    seconds: float,
) -> None:
    """Reminders fall due before, during and after each fault."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(place.prepared())
        changed = {
            "database_url": SecretStr(url),
            "database_mode": place.mode,
            "host_schema": "platform",
        }
        settings = Settings(**{**settings.model_dump(), **changed})
        database = Database(url, host_schema=settings.existing_host_schema())
        stack.push_async_callback(database.aclose)
        stage = await stack.enter_async_context(Stage(settings, database, client, provider))
        people = People(place, stage, await stack.enter_async_context(serving(settings)))
        count = int((seconds + 1) * len(faults))
        for number in range(count):
            await people.enroll(timedelta(seconds=3 + number))
        asking = asyncio.create_task(people.ask())
        async with place.impatient():
            await asyncio.sleep(2)
            for fault in faults:
                await place.suffers(fault, seconds)
                await asyncio.sleep(1)

        async def all_sent() -> bool:
            if len(await provider.accepted()) < len(people.enrolled):
                return False
            try:
                ended = [await people.became(*pair) for pair in people.enrolled]
            except DatabaseUnavailableError:  # a connection of before the last fault
                return False
            return not {"scheduled", "sending"} & set(ended)

        await eventually(all_sent, within=timedelta(seconds=120))
        people.is_over = True
        await asking
        session, user = people.enrolled[0]
        assert (await people.api.get(f"/v1/enrollments/{session}/{user}")).status_code == 200
        accepted = await provider.accepted()
        once = Counter(mail["to"][0] for mail in accepted)
        assert len(once) == len(people.enrolled)
        assert set(once.values()) == {1}
        assert set(people.statuses) <= {200, 503}, people.statuses
        # Of a time-out of a millisecond much is quick enough not to notice.
        assert people.statuses[503] or faults == ("time-out",), "the fault was felt"
        assert {"sent"} == {await people.became(*pair) for pair in people.enrolled}


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that may be killed."""
    with EmbeddedPostgres(durable=False) as server:

        async def with_role() -> None:
            connection = await asyncpg.connect(server.url("postgres").replace("+asyncpg", ""))
            await connection.execute("CREATE ROLE app LOGIN")
            await connection.close()

        asyncio.run(with_role())
        yield server


Play = Callable[..., Awaitable[None]]


@pytest.fixture
def play(
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    client: Client,
    provider: ProviderClient,
) -> Play:
    """Play faults in a place."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    return partial(_played, settings=settings, client=client, provider=provider)


@pytest.mark.skipif(binary() is None, reason="PgBouncer is not installed")
@pytest.mark.timeout(240)
async def test_one_fault_after_the_other_behind_a_transaction_pooler(
    own_postgres: EmbeddedPostgres, play: Play
) -> None:
    """The hardest place, on an existing platform: all four, one after the other."""
    place = Place(own_postgres, "transaction", "existing")
    await play(place, faults=FAULTS, seconds=1.5)


@pytest.mark.slow
@pytest.mark.timeout(360)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
async def test_a_fault(
    way: str,
    mode: str,
    fault: str,
    own_postgres: EmbeddedPostgres,
    play: Play,
) -> None:
    """One alone, for longer: a provider's maintenance makes a server read-only for a minute."""
    if way != "direct" and binary() is None:
        pytest.skip("PgBouncer is not installed")
    place = Place(own_postgres, way, mode)
    await play(place, faults=(fault,), seconds=60 if fault == "read-only" else 6)
