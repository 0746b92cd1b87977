"""Every page and every deed in a real browser, on the real stack; effects are looked up elsewhere.

One stack for the folder: PostgreSQL, Temporal, the stand-in for Resend, worker and API.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect
from temporalio.client import WorkflowExecutionStatus

from devstack.stack import LocalStack
from reminders.db.audit import Action, AuditLog
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import Attendee, ReminderStatus, Session
from tests.browser import DESK
from tests.e2e.platform import Platform, a_platform
from tests.starter.admin.conftest import planned, updates

NAME, PASSWORD = "maria", "correct horse battery"
QUICKLY = 30_000
"""Milliseconds in which the browser is to show something; usually it takes half a second."""


@dataclass(frozen=True, slots=True)
class House:
    """A running stack, with one upcoming session and people in it."""

    stack: LocalStack
    platform: Platform
    session: Session
    people: list[UUID]

    async def enrolled(self, count: int = 2) -> tuple[Session, list[UUID]]:
        """Another session of next week, with so many people in it."""
        session = Session(
            id=uuid4(),
            title=f"Sepsis in the first hour {uuid4().hex[:6]}",
            starts_at=(datetime.now(UTC) + timedelta(days=7)).replace(microsecond=0),
        )
        await self.platform.gateway.put_session(session)
        people = [uuid4() for _ in range(count)]
        for user_id in people:
            await self.person(user_id)
            await self.platform.gateway.enroll(session.id, user_id)
        return session, people

    async def person(self, user_id: UUID) -> None:
        """A stored person."""
        await self.platform.gateway.catalogue.put_user(
            Attendee(user_id=user_id, email=f"{user_id.hex[:8]}@hospital.example", full_name="Ana")
        )

    async def status(self, session: Session, user_id: UUID) -> WorkflowExecutionStatus | None:
        """What Temporal says of an enrollment's workflow."""
        handle = self.platform.client.get_workflow_handle(
            session_reminder_workflow_id(session.id, user_id)
        )
        return (await handle.describe()).status

    async def planned(
        self, session: Session, user_id: UUID
    ) -> dict[str, tuple[int, ReminderStatus, datetime]]:
        """What an enrollment's workflow says it will do; see `conftest.planned`."""
        return await planned(self.platform.client, session.id, user_id)

    async def updates(self, session: Session, user_id: UUID) -> int:
        """How many new plans the workflow's history has."""
        return await updates(self.platform.client, session.id, user_id)

    async def newest(self) -> tuple[Action, str, str | None]:
        """What the audit log says was done last."""
        (entry,) = await AuditLog(self.platform.database).entries(limit=1)
        return entry.action, entry.actor, entry.reason

    async def statuses(self, session: Session) -> set[ReminderStatus]:
        """What the ledger says of a session's reminders."""
        found = await self.platform.queries.list(session_id=session.id, limit=1000)
        return {r.status for r in found.reminders}


@pytest.fixture(scope="package")
async def house() -> AsyncIterator[House]:
    """The stack, for all tests of this folder."""
    settings = {"ADMIN_USERNAME": NAME, "ADMIN_PASSWORD": PASSWORD}
    with LocalStack(settings=settings, with_ui=False) as stack:
        async with a_platform(stack) as platform:
            empty = House(
                stack, platform, Session(id=uuid4(), title="", starts_at=datetime.now(UTC)), []
            )
            session, people = await empty.enrolled(3)
            yield House(stack, platform, session, people)


@pytest.fixture(scope="package")
async def desk(house: House, browser: Browser) -> AsyncIterator[Page]:
    """A browser in which somebody is signed in; nothing it does may end up as an error."""
    context = await browser.new_context(viewport=DESK, base_url=house.stack.api_url)
    context.set_default_timeout(QUICKLY)
    page = await context.new_page()
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        # A test provokes the one, a machine that stands still the other; the browser notes it.
        refused = re.search("status of (422|503)", message.text)
        if message.type in ("error", "warning") and not refused:
            complaints.append(message.text)

    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto("/admin/failed")
    await page.get_by_label("Name").fill(NAME)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Failed reminders")).to_be_visible()
    yield page
    await context.close()
    assert [] == complaints


async def searched(page: Page, _house: House) -> str:
    """Where a search from the header leads to."""
    await page.goto("/admin/people")
    await page.get_by_role("searchbox", name="Find a person").fill("Ana")
    await page.get_by_role("button", name="Find", exact=True).first.click()
    await expect(page.get_by_role("heading", name="Search")).to_be_visible()
    return page.url
