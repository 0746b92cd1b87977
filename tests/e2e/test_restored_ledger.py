"""The ledger is lost and restored from a backup, while workflows sleep and after some have sent.

What is done after the restore is done in the order of docs/runbooks.md, and nothing else is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from temporalio.client import Client

from devstack.postgres import EmbeddedPostgres
from reminders.db.audit import By
from reminders.db.engine import Database
from reminders.db.preference_store import PreferenceStore
from reminders.db.restoring import RestoredLedger
from reminders.domain.model import OptOut, Session
from reminders.settings import Settings
from starter.services.handover import Handover
from starter.services.people import Preferences
from starter.services.restoring import Reconciled, reconcile
from tests.databases import Databases
from tests.provider import ProviderClient
from tests.stage import Stage, StageClock, attempted, eventually, timer_fired
from tests.workflows.test_handover import switch_on

pytestmark = pytest.mark.proof

MINUTES, HOURS = timedelta(minutes=1), timedelta(hours=1)


class Disaster:
    """One provider, one Temporal server, one clock, and a database that is replaced."""

    def __init__(
        self,
        settings: Settings,
        postgres: EmbeddedPostgres,
        databases: Databases,
        client: Client,
        provider: ProviderClient,
    ) -> None:
        """Begin with the database of the settings."""
        self._settings = settings
        self._postgres = postgres
        self._databases = databases
        self._client = client
        self._provider = provider
        self.clock = StageClock()
        self.name = str(make_url(settings.require_database_url()).database)

    @asynccontextmanager
    async def stage(self, *, with_worker: bool = True) -> AsyncIterator[Stage]:
        """The system on the database of the moment."""
        url = self._postgres.url(self.name)
        database = Database(url)
        settings = self._settings.model_copy(update={"database_url": SecretStr(url)})
        stage = Stage(settings, database, self._client, self._provider)
        stage.clock.ahead = self.clock.ahead
        self.clock = stage.clock
        if with_worker:
            await stage.start_worker()
        try:
            yield stage
        finally:
            await stage.stop_worker()
            await database.aclose()

    async def backup(self) -> str:
        """A copy of the database as it is; nobody may be connected."""
        await self._databases.leave(self.name)
        name = f"backup_{uuid4().hex}"
        await asyncio.to_thread(self._postgres.create_database, name, template=self.name)
        return name

    async def restore(self, backup: str) -> None:
        """Have the copy instead: the same installation, in another database."""
        self.name = backup
        async with self.stage(with_worker=False) as stage:
            await stage.parts.namespace.installation.moved()


@pytest.fixture
async def disaster(
    settings: Settings,
    postgres: EmbeddedPostgres,
    databases: Databases,
    client: Client,
    provider: ProviderClient,
) -> Disaster:
    """A system that is about to lose its database."""
    return Disaster(settings, postgres, databases, client, provider)


async def recovered(stage: Stage) -> Reconciled:
    """What `reminders ledger-restored` does, at the moment of the disaster."""
    return await reconcile(
        stage.client,
        RestoredLedger(stage.database, stage.clock),
        stage.clock,
        down_since=stage.clock.now(),
        by=By("test"),
        task_queue=stage.settings.temporal_task_queue,
    )


async def mailed(stage: Stage) -> Counter[tuple[str, str]]:
    """How many e-mails each address has had with each subject, whatever the ledger knows of them."""
    return Counter((m["to"][0], m["subject"]) for m in await stage.provider.accepted())


async def accepted(stage: Stage, session: Session) -> Counter[str]:
    """How many e-mails each reminder of a session has had."""
    rows = {str(r.id): f"{r.user_id}:{r.reminder_type}" for r in await stage.ledger(session)}
    return Counter(
        rows[m["tags"]["reminder_id"]]
        for m in await stage.provider.accepted()
        if m["tags"]["reminder_id"] in rows
    )


@pytest.mark.slow
async def test_what_was_sent_since_the_backup_is_not_sent_again(disaster: Disaster) -> None:
    """Finished, between two reminders, cancelled, or due during the outage: once each."""
    async with disaster.stage() as stage:
        soon = await stage.session(starts_in=31 * MINUTES, title="Soon")
        later = await stage.session(starts_in=121 * MINUTES, title="Later")
        outage = await stage.session(starts_in=35 * MINUTES, title="Outage")
        done, half, off, late = [await stage.attendee() for _ in range(4)]
        finished = await stage.enroll(soon, done)
        between = await stage.enroll(later, half)
        cancelled = await stage.enroll(later, off)
        waiting = await stage.enroll(outage, late)
    backup = await disaster.backup()

    async with disaster.stage() as stage:  # an hour that the backup knows nothing of
        await cancelled.cancel()
        await eventually(lambda: has_closed(cancelled))
        await stage.forward(2 * MINUTES, finished, between)
        await finished.result()
        assert {f"{done}:30min": 1} == await accepted(stage, soon)
        assert {f"{half}:2h": 1} == await accepted(stage, later)
    await disaster.restore(backup)

    async with disaster.stage(with_worker=False) as stage:  # steps 4 and 5
        told = await recovered(stage)
        assert told.ended == {"cancelled: workflow_cancelled": 2, "sent": 2}
        assert told.still_waiting == 2
        again = await recovered(stage)
        assert (again.ended, again.looked_at) == ({}, 2)
        for session, person in ((soon, done), (later, half), (outage, late)):
            await stage.gateway.put_session(session, wait=None)
            await stage.gateway.enroll(session.id, person)

    async with disaster.stage() as stage:  # step 6
        await stage.sweep()
        await stage.forward(4 * MINUTES, between, waiting)
        await waiting.result()
        stage.clock.ahead += 5 * MINUTES  # overdue by minutes, had nobody looked
        for _ in range(2):
            await stage.sweep()
        # Whatever a sweep may have started again lives by the real clock, until it is wound.
        people = ((soon, done), (later, off), (outage, late))
        await stage.forward(4 * MINUTES, *(stage.handle(*whose) for whose in people))
        assert {f"{done}:30min": 1} == await accepted(stage, soon)
        assert {f"{half}:2h": 1} == await accepted(stage, later)
        assert {f"{late}:30min": 1} == await accepted(stage, outage)
        assert (await stage.statuses(soon, done))["30min"] == "sent"
        assert (await stage.statuses(later, off))["30min"] == "cancelled: workflow_cancelled"


async def test_what_was_sent_as_another_generation_is_not_sent_again(disaster: Disaster) -> None:
    """One generation waits in the backup; enrolled anew since, the next was sent by another run."""
    async with disaster.stage() as stage:
        session = await stage.session(starts_in=121 * MINUTES)
        person = await stage.attendee(email="ana@hospital.example")
        await stage.enroll(session, person)
    backup = await disaster.backup()

    async with disaster.stage() as stage:
        await stage.gateway.unenroll(session.id, person)
        handle = await stage.enroll(session, person)
        await stage.forward(2 * MINUTES, handle)
        await eventually(lambda: once(stage))
    await disaster.restore(backup)

    async with disaster.stage(with_worker=False) as stage:
        told = await recovered(stage)
        assert (told.ended, told.added) == ({"cancelled: unenrolled": 2}, 1)
        assert (await stage.statuses(session, person))["2h"] == "sent"
        assert (await recovered(stage)).added == 0
        await stage.gateway.put_session(session, wait=None)
        await stage.gateway.enroll(session.id, person)

    async with disaster.stage() as stage:
        stage.clock.ahead += 5 * MINUTES
        await stage.sweep()
        await stage.forward(100 * MINUTES, stage.handle(session, person))
        await eventually(lambda: so_many(stage, 2))
        assert set((await mailed(stage)).values()) == {1}
        assert await stage.statuses(session, person) == {
            "24h": "skipped: past_due",
            "2h": "sent",
            "30min": "sent",
        }


async def test_nobody_is_mailed_who_left_since_the_backup(disaster: Disaster) -> None:
    """Unenrolled, opted out, cancelled or moved: held back before anybody repeats a call to us."""
    async with disaster.stage() as stage:
        held = await stage.session(starts_in=125 * MINUTES, title="Held")
        off = await stage.session(starts_in=125 * MINUTES, title="Off")
        moved = await stage.session(starts_in=125 * MINUTES, title="Moved")
        stays, left, stopped, called_off, later = [await stage.attendee() for _ in range(5)]
        enrolled = [(held, stays), (held, left), (held, stopped), (off, called_off), (moved, later)]
        for session, person in enrolled:
            await stage.enroll(session, person)
    backup = await disaster.backup()

    async with disaster.stage() as stage:
        await stage.gateway.unenroll(held.id, left)
        preferences = Preferences(
            store=PreferenceStore(stage.database, stage.clock),
            catalogue=stage.catalogue,
            planner=stage.planner,
            handover=Handover(stage.workflows, planner=stage.planner),
        )
        await preferences.add(stopped, OptOut(), by=By("attendee"))
        new_start = moved.starts_at + timedelta(hours=3)
        await stage.gateway.put_session(replace(off, starts_at=new_start))
        await eventually(lambda: starts(stage, off, called_off, new_start))
        await stage.gateway.cancel_session(off.id)
        await stage.gateway.put_session(replace(moved, starts_at=new_start))
        await eventually(lambda: starts(stage, moved, later, new_start))
        for session, person in enrolled[1:4]:
            await eventually(lambda s=session, p=person: has_closed(stage.handle(s, p)))  # type: ignore[misc]
    await disaster.restore(backup)

    async with disaster.stage(with_worker=False) as stage:
        told = await recovered(stage)
        assert told.unenrolled == told.sessions_cancelled == 1
        assert 2 == told.sessions_moved, "one of them was cancelled later"
        assert told.ended == {
            "cancelled: session_cancelled": 2,
            "cancelled: unenrolled": 2,
            "skipped: opted_out": 2,
        }
        again = await recovered(stage)
        assert (again.unenrolled, again.sessions_cancelled, again.sessions_moved) == (0, 0, 0)
        for session in (moved, off):
            assert (await stage.catalogue.session(session.id)).starts_at == new_start

    async with disaster.stage() as stage:
        await stage.sweep()
        await stage.forward(10 * MINUTES, *(stage.handle(*whose) for whose in enrolled))
        await eventually(lambda: once(stage))
        await stage.sweep()
        assert {f"{stays}:2h": 1} == await accepted(stage, held)
        assert {} == await accepted(stage, off) == await accepted(stage, moved)


async def test_who_was_told_of_a_cancel_is_told_nothing_else(disaster: Disaster) -> None:
    """Its notice went out since the backup: it stays cancelled, and nobody hears of it twice."""
    async with disaster.stage() as stage:
        for notice in ("cancelled", "moved"):
            await switch_on(stage, notice)
        session = await stage.session(starts_in=121 * MINUTES)
        person = await stage.attendee()
        handle = await stage.enroll(session, person)
        await stage.forward(2 * MINUTES, handle)
        await eventually(lambda: once(stage))
    backup = await disaster.backup()

    async with disaster.stage() as stage:
        await stage.gateway.cancel_session(session.id)
        await eventually(lambda: so_many(stage, 2))
        await eventually(lambda: has_closed(stage.handle(session, person)))
    await disaster.restore(backup)

    async with disaster.stage(with_worker=False) as stage:
        assert 1 == (await recovered(stage)).sessions_cancelled
    async with disaster.stage() as stage:
        await stage.gateway.cancel_session(session.id)  # step 5
        for _ in range(2):
            await stage.sweep()
        assert not [r for r in await stage.ledger(session) if r.status.is_pending]
        assert {1} == set((await mailed(stage)).values())
        assert await so_many(stage, 2)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_what_was_told_to_nobody_is_told_to_nobody(
    disaster: Disaster, *, is_cancelled: bool
) -> None:
    """A cancel or a move since the backup that was kept from all is not told by what comes after."""
    async with disaster.stage() as stage:
        for notice in ("cancelled", "moved"):
            await switch_on(stage, notice)
        session, person = await stage.session(starts_in=25 * HOURS), await stage.attendee()
        await stage.enroll(session, person)
    backup = await disaster.backup()

    new_start = session.starts_at + 3 * HOURS
    async with disaster.stage() as stage:
        if is_cancelled:
            await stage.gateway.cancel_session(session.id, tell_nobody=True)
            await eventually(lambda: has_closed(stage.handle(session, person)))
        else:
            await stage.gateway.put_session(replace(session, starts_at=new_start), tell_nobody=True)
            await eventually(lambda: starts(stage, session, person, new_start))
    await disaster.restore(backup)

    async with disaster.stage(with_worker=False) as stage:
        told = await recovered(stage)
        assert 1 == (told.sessions_cancelled if is_cancelled else told.sessions_moved)
    async with disaster.stage() as stage:
        for _ in range(2):
            await stage.sweep()
        notices = [r for r in await stage.ledger(session) if r.notice is not None]
        assert not [r for r in notices if r.status.is_pending or r.status.is_accepted]
        assert [] == await stage.provider.accepted()


async def starts(stage: Stage, session: Session, person: UUID, at: datetime) -> bool:
    """Whether a workflow has been told that its session starts then."""
    return (await stage.plan(stage.handle(session, person))).starts_at == at


async def so_many(stage: Stage, count: int) -> bool:
    """Whether the provider has so many e-mails."""
    return len(await stage.provider.accepted()) == count


async def has_closed(handle: object) -> bool:
    """Whether a workflow has ended."""
    described = await handle.describe()  # type: ignore[attr-defined]
    return bool(described.close_time)


async def test_without_it_there_would_be_a_second_e_mail(disaster: Disaster) -> None:
    """Why the command exists: a sweep takes what a restored ledger has as unsent for forgotten."""
    async with disaster.stage() as stage:
        session = await stage.session(starts_in=31 * MINUTES)
        person = await stage.attendee()
        handle = await stage.enroll(session, person)
    backup = await disaster.backup()
    async with disaster.stage() as stage:
        await stage.forward(2 * MINUTES, handle)
        await handle.result()
    await disaster.restore(backup)
    async with disaster.stage() as stage:
        stage.clock.ahead += 5 * MINUTES
        await stage.sweep()
        await stage.forward(2 * MINUTES, stage.handle(session, person))
        await eventually(lambda: twice(stage, session))


async def twice(stage: Stage, session: Session) -> bool:
    """Whether somebody has had the same e-mail twice."""
    return 2 in (await accepted(stage, session)).values()


async def test_what_was_in_flight_stays_in_doubt_and_is_settled_by_webhooks(
    disaster: Disaster,
) -> None:
    """Accepted, and the database gone before the answer was recorded: no second e-mail."""
    async with disaster.stage() as stage:
        session = await stage.session(starts_in=31 * MINUTES)
        person = await stage.attendee()
        handle = await stage.enroll(session, person)
    backup = await disaster.backup()
    async with disaster.stage() as stage:
        await stage.provider.faults(kind="status", status=502, html=True, accept=True)
        passing = asyncio.create_task(stage.forward(2 * MINUTES, handle))
        await eventually(lambda: timer_fired(handle))
        await eventually(lambda: attempted(handle, 1))
        await eventually(lambda: once(stage))
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)
    await disaster.restore(backup)
    async with disaster.stage(with_worker=False) as stage:
        stage.clock.ahead += 2 * MINUTES
        await stage.provider.clear_faults()
        told = await recovered(stage)
        assert told.ended == {"failed: outcome_unknown": 1}
    async with disaster.stage() as stage:
        await asyncio.wait_for(handle.result(), timeout=30)
        await stage.sweep()
        assert {f"{person}:30min": 1} == await accepted(stage, session)
        assert (await stage.statuses(session, person))["30min"] == "failed: outcome_unknown"


async def once(stage: Stage) -> bool:
    """Whether the provider has an e-mail."""
    return len(await stage.provider.accepted()) == 1
