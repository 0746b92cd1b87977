"""Production, and a copy of its database, on one Temporal server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from temporalio.client import Client

import worker
from devstack.postgres import EmbeddedPostgres
from devstack.temporal import EmbeddedTemporal
from reminders.db.audit import By
from reminders.domain.errors import AnotherInstallationError
from reminders.domain.model import Reminder, Session
from reminders.settings import Settings
from starter.assembly import Parts, assembled
from tests.builders import an_attendee
from tests.databases import Databases
from tests.namespaces import a_namespace
from tests.provider import ProviderClient
from tests.stage import eventually
from tests.starter.conftest import serving

pytestmark = pytest.mark.proof

TESTER = "tester@platform.example"
PEOPLE = 20
WHY = By("cli", "they leave for a month")


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Parts]:
    """A whole worker, until the end of the block, and what commands have."""
    stop = asyncio.Event()
    runs = asyncio.create_task(worker.run(settings, stop))
    async with assembled(settings) as parts:

        async def polls() -> bool:
            if runs.done():
                runs.result()
            checks = (await parts.examiner.examine()).checks
            return all(check.ok for check in checks if check.name in ("worker", "installation"))

        await eventually(polls)
        yield parts
        stop.set()
        await runs


async def refused(settings: Settings, words: str) -> None:
    """A worker, the API and `doctor` say so, each in one line, and do nothing."""
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(AnotherInstallationError, match=words) as error:
        await worker.run(settings, stop)
    assert "\n" not in str(error.value)
    async with serving(settings) as api:
        answers = [
            await api.post("/v1/sweeps"),
            await api.enroll(await api.session(), await api.user()),
        ]
        ready = await api.get("/readyz")
    for answer in answers:
        assert 503 == answer.status_code
        assert answer.json()["type"].endswith(":another-installation")
        assert str(error.value) == answer.json()["detail"]
    (check,) = [c for c in ready.json()["checks"] if c["name"] == "installation"]
    assert "red" == check["level"]
    assert check["remedy"]


async def waiting(parts: Parts, session: Session) -> Sequence[Reminder]:
    """The session's reminders that are due next, one for each person."""
    page = await parts.queries.list(session_id=session.id, limit=100)
    return [r for r in page.reminders if r.reminder_type == "2h"]


async def send(parts: Parts, session: Session, *, but: UUID | None = None) -> None:
    """Have every reminder of the session sent now, whose person takes part."""
    for reminder in await waiting(parts, session):
        if reminder.user_id != but:
            await parts.resending.send_now(reminder.id, WHY)


async def test_a_copy_of_the_database_beside_the_original(
    *,
    settings: Settings,
    postgres: EmbeddedPostgres,
    databases: Databases,
    provider: ProviderClient,
    client: Client,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The copy is refused until it has an id and a namespace; then each has one e-mail, from the right one."""
    ours, theirs = await a_namespace(client), await a_namespace(client)
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", ours)
    async with working(settings) as original:
        session = Session(
            id=uuid4(),
            title="Cardiology",
            starts_at=original.clock.now() + timedelta(hours=3),
        )
        await original.gateway.put_session(session)
        people = [
            an_attendee(user_id=uuid4(), email=f"p{n}@hospital.example") for n in range(PEOPLE)
        ]
        for person in people:
            await original.catalogue.put_user(person)
            await original.gateway.enroll(session.id, person.user_id)
    name = make_url(settings.require_database_url()).database
    assert name is not None
    await databases.leave(name)
    postgres.create_database("staging", template=name)
    staging = settings.model_copy(
        update={
            "database_url": SecretStr(postgres.url("staging")),
            "temporal_task_queue": f"{settings.temporal_task_queue}-staging",
            "delivery_mode": "redirect",
            "verified_test_email": TESTER,
        }
    )
    async with working(settings) as original:
        await refused(staging, "`reminders installation moved`")
        async with assembled(staging) as parts:
            await parts.namespace.installation.renewed()
        await refused(staging, f"namespace {ours} is .*TEMPORAL_NAMESPACE")
        monkeypatch.setenv("TEMPORAL_NAMESPACE", theirs)
        async with working(staging) as copy:
            leaver = people[0].user_id
            await copy.gateway.unenroll(session.id, leaver)
            await send(copy, session, but=leaver)
            await send(original, session)

            async def all_sent() -> bool:
                return len(await provider.accepted()) >= 2 * PEOPLE - 1

            await eventually(all_sent, within=timedelta(seconds=30))
    wanted = {person.email: 1 for person in people} | {TESTER: PEOPLE - 1}
    assert wanted == Counter(e["to"][0] for e in await provider.accepted())
