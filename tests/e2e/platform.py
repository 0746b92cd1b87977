"""A platform that enrolls people, against a whole stack of processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import insert
from temporalio.client import Client

from devstack.stack import DATABASE, LocalStack
from reminders.db.engine import Database
from reminders.db.ledger import ReminderQueries
from reminders.db.tables import UserRow
from reminders.domain.errors import DatabaseUnavailableError
from reminders.domain.model import Reminder, ReminderStatus, Session, StatusReason
from reminders.settings import Settings
from starter.assembly import assemble
from starter.gateway import ReminderGateway
from tests.databases import without_notices
from tests.provider import Json, ProviderClient
from tests.stage import eventually
from workflows.plugin import SessionReminderPlugin


@dataclass(frozen=True, slots=True)
class Platform:
    """The host's side of a stack."""

    client: Client
    database: Database
    gateway: ReminderGateway
    queries: ReminderQueries
    provider: ProviderClient

    async def enroll(self, count: int, *, due_in: timedelta) -> UUID:
        """So many people in one session whose 30-minute reminder falls due so soon.

        Where a slow machine has enrolled somebody only after that instant, who is not reminded any
        more, it is done once more with others, in twice the time.

        Returns:
            The session.
        """
        for _ in range(3):
            session_id = await self._enroll(count, due_in)
            due = await self.due_reminders(session_id)
            if not any(r.reason is StatusReason.PAST_DUE for r in due):
                break
            due_in *= 2
        return session_id

    async def _enroll(self, count: int, due_in: timedelta) -> UUID:
        starts_at = datetime.now(UTC) + timedelta(minutes=30) + due_in
        session = Session(id=uuid4(), title="Cardiology", starts_at=starts_at)
        await self.gateway.put_session(session)
        users = [uuid4() for _ in range(count)]
        async with self.database.transaction() as connection:
            people = [{"id": u, "email": f"{u.hex}@hospital.example"} for u in users]
            await connection.execute(insert(UserRow), people)
        limit = asyncio.Semaphore(20)

        async def one(user: UUID) -> None:
            async with limit:
                await self.gateway.enroll(session.id, user)

        await asyncio.gather(*(one(user) for user in users))
        return session.id

    async def due_reminders(self, session_id: UUID) -> list[Reminder]:
        """The session's 30-minute reminders."""
        page = await self.queries.list(session_id=session_id, limit=100_000)
        return [r for r in page.reminders if r.reminder_type == "30min"]

    async def accepted(self) -> list[Json]:
        """Every e-mail accepted, in the order of acceptance."""
        return await self.provider.accepted()

    async def all_sent_once(
        self, session_id: UUID, count: int, *, within: timedelta = timedelta(seconds=60)
    ) -> None:
        """Wait until all are recorded, and assert that each was accepted once."""

        async def recorded() -> bool:
            try:
                rows = await self.due_reminders(session_id)
            except DatabaseUnavailableError:  # our own connections died with the server
                return False
            return sum(r.status is ReminderStatus.SENT for r in rows) == count

        try:
            await eventually(recorded, within=within)
        except AssertionError as error:
            found = Counter((r.status, r.reason) for r in await self.due_reminders(session_id))
            message = f"not {count} sent within {within}: {dict(found)}"
            raise AssertionError(message) from error
        rows = {str(r.id): r.resend_email_id for r in await self.due_reminders(session_id)}
        accepted = [m for m in await self.accepted() if m["tags"]["reminder_id"] in rows]
        assert count == len(accepted)
        assert rows == {m["tags"]["reminder_id"]: m["id"] for m in accepted}


@asynccontextmanager
async def a_platform(stack: LocalStack) -> AsyncIterator[Platform]:
    """The platform's side of a running stack."""
    database = Database(stack.postgres.url(DATABASE), pool_size=20)
    await without_notices(database)
    client = await Client.connect(stack.temporal.address, plugins=[SessionReminderPlugin()])
    parts = assemble(Settings(database_url=stack.postgres.url(DATABASE)), database, client)
    async with ProviderClient(stack.provider.url) as provider:
        yield Platform(client, database, parts.gateway, parts.queries, provider)
    await database.aclose()
