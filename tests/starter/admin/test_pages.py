"""Every page and every deed in a real browser, on the real stack; effects are looked up elsewhere.

One stack for the module: PostgreSQL, Temporal, the stand-in for Resend, worker and API.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect
from sqlalchemy import insert, text
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from devstack.stack import TEST_INBOX, LocalStack
from reminders.clock import SystemClock
from reminders.db.audit import Action, AuditLog, Event
from reminders.db.planning import EnrollmentPlanner
from reminders.db.provider import ProviderState
from reminders.db.tables import EnrollmentRow
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import Attendee, ReminderStatus, Session
from starter.services.sweeps import MANUAL_ID
from tests.browser import DESK, PHONE, Scheme, dressed, hindrances, overflow
from tests.e2e.platform import Platform, a_platform
from tests.stage import eventually
from tests.starter.admin.conftest import planned, updates

NAME, PASSWORD = "maria", "correct horse battery"
QUICKLY = 5000
"""Milliseconds in which the browser is to show something; usually it takes a tenth of it."""


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


@pytest.fixture(scope="module")
async def house() -> AsyncIterator[House]:
    """The stack, for all tests of this module."""
    settings = {"ADMIN_USERNAME": NAME, "ADMIN_PASSWORD": PASSWORD}
    with LocalStack(settings=settings, with_ui=False) as stack:
        async with a_platform(stack) as platform:
            empty = House(
                stack, platform, Session(id=uuid4(), title="", starts_at=datetime.now(UTC)), []
            )
            session, people = await empty.enrolled(3)
            yield House(stack, platform, session, people)


@pytest.fixture(scope="module")
async def desk(house: House, browser: Browser) -> AsyncIterator[Page]:
    """A browser in which somebody is signed in; nothing it does may end up as an error."""
    context = await browser.new_context(viewport=DESK, base_url=house.stack.api_url)
    context.set_default_timeout(QUICKLY)
    page = await context.new_page()
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        refused = "status of 422" in message.text  # a test provokes it; the browser notes it
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


async def test_every_page_reads_well_on_a_desk_and_a_phone_in_light_and_dark(
    desk: Page, house: House
) -> None:
    """No page is cut off, none keeps anybody out by its colours or its structure."""
    user_id = house.people[0]
    here = f"/admin/enrollments/{house.session.id}/{user_id}"
    endless = Session(id=uuid4(), title="Endless" * 40, starts_at=house.session.starts_at)
    await house.platform.gateway.put_session(endless)
    await house.platform.gateway.enroll(endless.id, user_id)
    paths = [
        "/admin",
        "/admin/sessions",
        f"/admin/sessions/{endless.id}",
        f"/admin/enrollments/{endless.id}/{user_id}",
        f"/admin/sessions/{house.session.id}",
        f"/admin/sessions/{house.session.id}/cancel",
        f"/admin/sessions/{house.session.id}/restore",
        here,
        f"{here}/cancel",
        "/admin/people",
        await searched(desk, house),
        f"/admin/people/{user_id}",
        "/admin/reminders",
        "/admin/failed",
        "/admin/redrive",
        "/admin/rules",
        "/admin/rules/edit?reminder_type=2h",
        "/admin/preview",
        "/admin/runs",
        "/admin/audit",
    ]
    for number, path in enumerate(paths):
        scheme: Scheme = "light" if number % 2 else "dark"
        await dressed(desk, scheme=scheme, screen=DESK if number % 2 else PHONE)
        await desk.goto(path)
        assert [] == list(await hindrances(desk)), path
        await dressed(desk, scheme=scheme, screen=PHONE)
        assert 0 == await overflow(desk), path
    await dressed(desk, scheme="light", screen=DESK)


async def test_the_overview_counts_and_follows_by_itself(desk: Page, house: House) -> None:
    """Somebody who enrolls appears in the figures of an open page."""
    await desk.goto("/admin")
    waiting = desk.locator("dl.big div", has_text="waiting").locator("dd").first
    before = int((await waiting.inner_text()).replace("\u202f", ""))
    await house.enrolled(1)
    await expect(waiting).to_have_text(str(before + 3), timeout=15_000)


async def test_the_overview_says_what_is_wrong_and_mends_what_it_can(
    desk: Page, house: House
) -> None:
    """A held queue is the first thing one sees, and it is set going again from here."""
    async with house.platform.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE provider_pace SET held_until = now() + interval '1 h',"
                " held_because = 'misconfigured'"
            )
        )
    await desk.goto("/admin")
    await expect(desk.get_by_role("heading", name="Needs attention")).to_be_visible()
    await desk.get_by_role("link", name="Resume").click()
    await desk.get_by_label("What was fixed?").fill("the key is renewed")
    await desk.get_by_role("button", name="Resume delivery").click()
    await expect(desk.get_by_text("Nothing holds delivery back.")).to_be_visible()
    assert await ProviderState(house.platform.database).hold() is None
    resumed = (Action.DELIVERY_RESUMED, "admin:maria", "the key is renewed")
    assert resumed == await house.newest()


async def test_a_session_is_found_and_cancelled_with_a_receipt(desk: Page, house: House) -> None:
    """The dry run counts, the reason is asked for, the receipt follows the workflow to its end."""
    session, people = await house.enrolled(2)
    await desk.goto("/admin/sessions")
    await desk.get_by_label("Title or id").fill(session.title)
    await desk.get_by_role("button", name="Show").click()
    await desk.get_by_role("link", name=session.title).click()
    await desk.get_by_role("link", name="Cancel session").click()
    await expect(desk.locator("dl.figures div", has_text="would be cancelled")).to_contain_text("6")
    assert {ReminderStatus.SCHEDULED} == await house.statuses(session)
    await desk.get_by_label("Why?").fill("the speaker is ill")
    await desk.get_by_role("button", name="Cancel the session").click()
    receipt = desk.locator("#receipt")
    await expect(receipt.locator(".badge")).to_have_text("completed")
    await expect(
        receipt.locator("dl.figures div", has_text=re.compile("^cancelled"))
    ).to_contain_text("6")
    named = await receipt.locator("dl.figures dt").all_inner_texts()
    assert ["enrollments", "replanned", "cancelled", "already sent", "in flight"] == named[:5]
    assert {ReminderStatus.CANCELLED} == await house.statuses(session)
    for user_id in people:
        assert WorkflowExecutionStatus.CANCELED is await house.status(session, user_id)
    entries = await AuditLog(house.platform.database).entries(session_id=session.id)
    assert [(Action.SESSION_CANCELLED, "admin:maria", "the speaker is ill")] == [
        (e.action, e.actor, e.reason) for e in entries
    ]


async def test_who_would_be_told_is_counted_and_nobody_need_be(desk: Page, house: House) -> None:
    """The rule is listed with the others and switched on for one session; a box says: tell nobody."""
    session, people = await house.enrolled(2)
    await desk.goto(f"/admin/rules?session={session.id}")
    await desk.get_by_role("link", name="Edit cancelled").click()
    await desk.get_by_label("Switched on").check()
    await desk.get_by_role("button", name="See what it would do").click()
    await desk.get_by_label("Why?").fill("they have to know")
    await desk.get_by_role("button", name="Save").click()
    await desk.goto(f"/admin/sessions/{session.id}/cancel")
    told = desk.locator("dl.figures div", has_text="people who would be told")
    await expect(told).to_contain_text("2")
    await desk.get_by_label("Why?").fill("a mistake")
    await desk.get_by_label("Tell nobody").check()
    await desk.get_by_role("button", name="Cancel the session").click()
    await expect(desk.locator("#receipt .badge")).to_have_text("completed")
    await desk.goto(f"/admin/enrollments/{session.id}/{people[0]}")
    await expect(desk.get_by_text("nobody is to be told").first).to_be_visible()


async def test_a_cancel_that_takes_long_is_followed_and_can_be_taken_back(
    desk: Page, house: House
) -> None:
    """The receipt counts while no worker is at it, ends with it; then the session is held after all."""
    session, people = await house.enrolled(2)
    pid = house.stack.workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await desk.goto(f"/admin/sessions/{session.id}/cancel")
        await desk.get_by_label("Why?").fill("the room burnt down")
        await desk.get_by_role("button", name="Cancel the session").click()
        under_way = desk.get_by_role("status")
        await expect(under_way).to_contain_text("0 of 2 enrollments updated", timeout=10_000)
        await expect(under_way.get_by_role("progressbar")).to_have_attribute("max", "2")
    finally:
        os.kill(pid, signal.SIGCONT)
    await expect(desk.locator("#receipt .badge")).to_have_text("completed", timeout=20_000)
    assert {ReminderStatus.CANCELLED} == await house.statuses(session)
    await desk.get_by_role("link", name="To the session").click()
    await expect(desk.get_by_role("link", name="Cancel session")).to_have_count(0)
    await desk.get_by_role("link", name="Restore session").click()
    again = desk.locator("dl.figures div", has_text="people who would be reminded again")
    await expect(again).to_contain_text("2")
    await desk.get_by_label("Why?").fill("another room is free")
    await desk.get_by_role("button", name="Restore the session").click()
    await expect(desk.locator("#receipt .badge")).to_have_text("completed", timeout=20_000)
    rows = (await house.platform.queries.list(session_id=session.id)).reminders
    assert 6 == sum(r.status is ReminderStatus.SCHEDULED for r in rows)
    for user_id in people:
        assert WorkflowExecutionStatus.RUNNING is await house.status(session, user_id)
        plan = (await house.planned(session, user_id)).values()
        assert [(2, "scheduled")] * 3 == [(generation, status) for generation, status, _ in plan]
    entries = await AuditLog(house.platform.database).entries(session_id=session.id)
    assert [
        (Action.SESSION_RESTORED, "admin:maria", "another room is free"),
        (Action.SESSION_CANCELLED, "admin:maria", "the room burnt down"),
    ] == [(e.action, e.actor, e.reason) for e in entries]


async def test_a_rule_of_one_session_is_added_and_deleted(desk: Page, house: House) -> None:
    """What it would do is said before either; its reminder comes and goes, in workflow and ledger."""
    session, people = await house.enrolled(1)

    async def waiting() -> set[str]:
        plan = await house.planned(session, people[0])
        return {kind for kind, (_, status, _) in plan.items() if status == "scheduled"}

    async def ledger() -> dict[str, ReminderStatus]:
        rows = await house.platform.queries.of_enrollment(session.id, people[0])
        return {r.reminder_type: r.status for r in rows}

    async def is_planned() -> bool:
        return "3d" in await waiting()

    async def is_gone() -> bool:
        return "3d" not in await waiting()

    await desk.goto(f"/admin/rules?session={session.id}")
    await desk.get_by_role("link", name="Add a rule").click()
    await desk.get_by_label("Type").fill("3d")
    await desk.get_by_label("Minutes before the start").fill("4320")
    await desk.get_by_role("button", name="See what it would do").click()
    await expect(desk.locator("#effect dl div", has_text="planned")).to_contain_text("1")
    assert "3d" not in await ledger()
    await desk.get_by_label("Why?").fill("it needs reading")
    await desk.get_by_role("button", name="Add the rule").click()
    await expect(desk.locator("#receipt")).to_contain_text("stored")
    await eventually(is_planned)
    assert ReminderStatus.SCHEDULED is (await ledger())["3d"]
    await desk.goto(f"/admin/rules/edit?reminder_type=3d&session={session.id}")
    await desk.get_by_role("button", name="Delete it").click()
    await desk.get_by_label("Why?").fill("nobody reads")
    await desk.get_by_role("button", name="Delete the rule").click()
    await expect(desk.locator("#receipt")).to_contain_text("deleted")
    await eventually(is_gone)
    assert ReminderStatus.SKIPPED is (await ledger())["3d"]
    entries = await AuditLog(house.platform.database).entries(session_id=session.id, limit=2)
    assert [
        (Action.RULE_DELETED, "admin:maria", "nobody reads"),
        (Action.RULE_ADDED, "admin:maria", "it needs reading"),
    ] == [(e.action, e.actor, e.reason) for e in entries]


async def test_everybody_is_planned_anew(desk: Page, house: House) -> None:
    """After a change that nobody told us of, written behind our back."""
    session, people = await house.enrolled(2)
    async with house.platform.database.transaction() as connection:
        await connection.execute(
            text("UPDATE sessions SET start_time = start_time + interval '1 day' WHERE id = :id"),
            {"id": session.id},
        )
    await desk.goto(f"/admin/sessions/{session.id}")
    await desk.get_by_text("Plan again").click()
    await desk.get_by_label("Why?").fill("the platform moved it")
    await desk.get_by_role("button", name="Plan all enrollments again").click()
    counts = desk.locator("dl.figures div", has_text="replanned")
    await expect(counts).to_contain_text("2")
    rows = (await house.platform.queries.list(session_id=session.id)).reminders
    assert {session.starts_at + timedelta(days=1)} == {r.starts_at for r in rows}
    for user_id in people:
        plan = await house.planned(session, user_id)
        assert {r.reminder_type: r.due_at for r in rows if r.user_id == user_id} == {
            kind: due_at for kind, (_, _, due_at) in plan.items()
        }
        assert 1 == await house.updates(session, user_id)
    replanned = (Action.SESSION_REPLANNED, "admin:maria", "the platform moved it")
    assert replanned == await house.newest()


async def test_the_roster_shows_who_is_in_which_state(desk: Page, house: House) -> None:
    """By status and by name or address; each leads to why."""
    session, people = await house.enrolled(3)
    await house.platform.gateway.unenroll(session.id, people[0])
    await desk.goto(f"/admin/sessions/{session.id}")
    rows = desk.locator("#roster tbody tr")
    await expect(rows).to_have_count(3)
    await desk.locator(".matrix").get_by_role("link").first.click()
    await expect(rows).to_have_count(2)
    await desk.get_by_label("Name, address or id").fill(people[0].hex[:8])
    await desk.locator("#roster").get_by_role("button", name="Show").click()
    await expect(rows).to_have_count(1)
    await rows.get_by_role("link").click()
    await expect(desk).to_have_url(re.compile(f"/admin/enrollments/{session.id}/{people[0]}"))


async def test_an_enrollment_is_ended_and_begun_again(desk: Page, house: House) -> None:
    """With what it would do beforehand, and the line of reminders telling why afterwards."""
    session, people = await house.enrolled(2)
    await desk.goto(f"/admin/enrollments/{session.id}/{people[0]}")
    await expect(desk.locator("ol.line > li:not(.start)")).to_have_count(3)
    await desk.get_by_role("link", name="End enrollment").click()
    await desk.get_by_label("Why?").fill("asked for it by phone")
    await desk.get_by_role("button", name="End the enrollment").click()
    await desk.get_by_role("link", name="To the enrollment").click()
    await expect(desk.get_by_text("Called off: the attendee is no longer enrolled.")).to_have_count(
        3
    )
    await expect(desk.get_by_text("asked for it by phone")).to_be_visible()

    async def ended() -> bool:
        return await house.status(session, people[0]) is WorkflowExecutionStatus.CANCELED

    await eventually(ended)
    assert WorkflowExecutionStatus.RUNNING is await house.status(session, people[1])
    rows = (await house.platform.queries.list(session_id=session.id)).reminders
    assert {(people[0], "cancelled"), (people[1], "scheduled")} == {
        (r.user_id, r.status) for r in rows
    }
    ended_it = (Action.UNENROLLED, "admin:maria", "asked for it by phone")
    assert ended_it == await house.newest()
    await desk.get_by_text("Enroll again").click()
    await desk.get_by_label("Why?").fill("it was somebody else")
    await desk.get_by_role("button", name="Begin the enrollment again").click()
    await expect(desk.locator(".line .badge", has_text="scheduled")).to_have_count(3)
    assert (Action.ENROLLED, "admin:maria", "it was somebody else") == await house.newest()
    assert WorkflowExecutionStatus.RUNNING is await house.status(session, people[0])


async def test_a_reminder_is_followed_while_it_goes_out(desk: Page, house: House) -> None:
    """An open page shows scheduled, sent and delivered one after the other, with the provider's id."""
    session_id = await house.platform.enroll(1, due_in=timedelta(seconds=3))
    (due,) = await house.platform.due_reminders(session_id)
    await desk.goto(f"/admin/reminders/{due.id}")
    line = desk.locator(f"[id='{due.id}']")
    await expect(line.locator(".badge")).to_have_text("delivered", timeout=20_000)
    (sent,) = await house.platform.due_reminders(session_id)
    assert sent.resend_email_id is not None
    await expect(line).to_contain_text(sent.resend_email_id)
    await desk.get_by_label(
        "Find a person by name or address, a session by title, or anything by id"
    ).fill(sent.resend_email_id)
    await desk.get_by_role("button", name="Find", exact=True).click()
    await expect(desk).to_have_url(re.compile(f"{due.user_id}#{due.id}"))


async def test_a_reminder_that_waits_is_sent_now(desk: Page, house: House) -> None:
    """A week ahead of its instant, with a reason; the page follows it out, and the others wait."""
    session, (user_id, *_) = await house.enrolled(1)
    await desk.goto(f"/admin/enrollments/{session.id}/{user_id}")
    line = desk.locator("ol.line > li", has=desk.get_by_role("heading", name="24h"))
    await line.get_by_text("Send now").click()
    await line.get_by_label("Why?").fill("leaves for a month without mail")
    await line.get_by_role("button", name="Send 24h now").click()
    await expect(line.locator(".badge")).to_have_text("delivered", timeout=20_000)
    await expect(desk.get_by_text("leaves for a month without mail")).to_be_visible()
    rows = (await house.platform.queries.list(session_id=session.id)).reminders
    told = {r.reminder_type: (r.generation, r.status) for r in rows}
    assert (1, ReminderStatus.DELIVERED) == told.pop("24h")
    assert {(1, ReminderStatus.SCHEDULED)} == set(told.values())
    accepted = [m["tags"]["reminder_id"] for m in await house.platform.accepted()]
    assert [1, 0, 0] == [accepted.count(str(r.id)) for r in sorted(rows, key=lambda r: r.due_at)]
    assert WorkflowExecutionStatus.RUNNING is await house.status(session, user_id)
    assert 1 == await house.updates(session, user_id)
    generation, status, _ = (await house.planned(session, user_id))["24h"]
    assert (1, ReminderStatus.SENT) == (generation, status)
    sent_now = (Action.REMINDER_SENT_NOW, "admin:maria", "leaves for a month without mail")
    assert sent_now == await house.newest()


async def test_failures_are_gathered_by_cause_with_what_to_do(desk: Page, house: House) -> None:
    """And lead to the person, whose page has the provider's words."""
    session, _ = await house.enrolled(1)
    async with house.platform.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'failed',"
                " status_reason = 'rejected', last_error = 'no such domain'"
                " WHERE session_id = :id AND reminder_type = '24h'"
            ),
            {"id": session.id},
        )
    await desk.goto("/admin/failed?reason=rejected")
    card = desk.locator("article", has=desk.get_by_role("link", name="rejected", exact=True))
    await expect(card).to_contain_text("Read the provider's words below")
    await expect(card).to_contain_text("1 can still be sent")
    await desk.locator("tr", has_text=session.title).get_by_role("link", name="Why").click()
    await expect(desk.get_by_text("no such domain")).to_be_visible()


async def test_a_person_is_found_by_address_which_no_url_shows(desk: Page, house: House) -> None:
    """Everything they are enrolled in is on one page."""
    user_id = house.people[1]
    await desk.goto("/admin/people")
    await desk.get_by_label("Name, address or id").fill(f"{user_id.hex[:8]}@hospital.example")
    await desk.locator("main").get_by_role("button", name="Find").click()
    await expect(desk).to_have_url(re.compile(f"/admin/people/{user_id}$"))
    await expect(desk.get_by_role("link", name=house.session.title, exact=True)).to_be_visible()


async def test_a_search_survives_back_reload_and_a_second_tab(desk: Page, house: House) -> None:
    """From the header by a name, to a person and back, without asking whether to send it again."""
    for search in (searched, on_roster):
        found = await search(desk, house)
        assert "Ana" not in found
        people = desk.locator("main tbody tr", has_text="Ana")
        several = await people.count()
        assert several > 1
        await people.first.get_by_role("link").first.click()
        await expect(desk.get_by_role("heading", name="Ana")).to_be_visible()
        await desk.go_back()
        await expect(people).to_have_count(several)
        await desk.reload()
        await expect(people).to_have_count(several)
        second = await desk.context.new_page()
        await second.goto(found)
        await expect(second.locator("main tbody tr", has_text="Ana")).to_have_count(several)
        await second.close()


async def on_roster(page: Page, house: House) -> str:
    """Where a search of a session's roster leads to."""
    await page.goto(f"/admin/sessions/{house.session.id}")
    await page.get_by_label("Name, address or id").fill("Ana")
    await page.locator("#roster").get_by_role("button", name="Show").click()
    await expect(page.get_by_role("link", name="Everybody")).to_be_visible()
    return page.url


async def test_a_sweep_is_started_by_hand_and_followed(desk: Page, house: House) -> None:
    """It finds an enrollment that nobody told us of, and its receipt and the runs say so."""
    session, _ = await house.enrolled(1)
    untold = uuid4()
    await house.person(untold)
    async with house.platform.database.transaction() as connection:
        await connection.execute(
            insert(EnrollmentRow), {"session_id": session.id, "user_id": untold}
        )
    await desk.goto("/admin/runs")
    await desk.get_by_text("Sweep now").click()
    await desk.get_by_label("Why?").fill("after the outage")
    await desk.get_by_role("button", name="Start a sweep").click()
    await expect(desk.locator("#receipt .badge")).to_have_text("completed", timeout=20_000)
    await desk.goto("/admin/runs")
    run = desk.locator("#runs tbody tr", has_text=MANUAL_ID).first
    await expect(run).to_contain_text("completed")
    await house.platform.gateway.session_changed(session.id)
    await desk.get_by_label("What").select_option("Session changed")
    await desk.get_by_role("button", name="Show").click()
    changed = desk.locator("#runs tbody tr", has=desk.get_by_role("link", name=session.title))
    await expect(changed).to_contain_text("completed", timeout=20_000)
    await expect(desk.locator("#runs tbody tr", has_text=MANUAL_ID)).to_have_count(0)
    assert WorkflowExecutionStatus.RUNNING is await house.status(session, untold)
    rows = await house.platform.queries.of_enrollment(session.id, untold)
    assert {(r.reminder_type, r.due_at) for r in rows} == {
        (kind, due_at) for kind, (_, _, due_at) in (await house.planned(session, untold)).items()
    }
    log = AuditLog(house.platform.database)
    (swept,) = await log.entries(action=Action.SWEEP_STARTED, actor="admin", limit=1)
    assert ("admin:maria", "after the outage") == (swept.actor, swept.reason)


async def test_back_fills_are_among_the_runs(desk: Page, house: House) -> None:
    """With their counts on the entry of the audit log."""
    counts = {"enrollments": 4711, "planned": 4000, "stopped_because": None}
    await AuditLog(house.platform.database).record(
        Event(action=Action.BACKFILLED, actor="cli", details=counts)
    )
    await desk.goto("/admin/runs")
    await expect(desk.get_by_role("heading", name="Back-fills")).to_be_visible()
    assert [] == list(await hindrances(desk, even_minor=True))
    await desk.locator("tr", has_text="backfilled").get_by_role("link").first.click()
    figure = desk.locator("#receipt dl.figures div", has_text="enrollments")
    await expect(figure).to_contain_text("4\u202f711")


async def test_a_rule_is_changed_after_seeing_what_it_would_do(desk: Page, house: House) -> None:
    """The diff counts and stores nothing; then every sleeping workflow has the new instant."""
    session, people = await house.enrolled(1)
    await desk.goto(f"/admin/rules?session={session.id}")
    await desk.get_by_role("link", name="Edit 2h").click()
    await desk.get_by_label("Minutes before the start").fill("180")
    await desk.get_by_label("Subject").fill("Soon: {session_title}")
    await desk.get_by_role("button", name="See what it would do").click()
    await expect(desk.locator("#effect dl div", has_text="moved")).to_contain_text("1")
    await expect(desk.locator("tr", has_text="as people get it")).to_contain_text("Soon: Sample")
    rows = (await house.platform.queries.list(session_id=session.id)).reminders
    before = next(r for r in rows if r.reminder_type == "2h")
    assert session.starts_at - timedelta(hours=2) == before.due_at
    await desk.get_by_label("Why?").fill("people come from far away")
    await desk.get_by_role("button", name="Save").click()
    await expect(desk.locator("#receipt")).to_contain_text("stored")

    async def moved() -> bool:
        _, _, due_at = (await house.planned(session, people[0]))["2h"]
        return due_at == session.starts_at - timedelta(hours=3)

    await eventually(moved)
    rows = await house.platform.queries.of_enrollment(session.id, people[0])
    assert [session.starts_at - timedelta(hours=3)] == [
        r.due_at for r in rows if r.reminder_type == "2h"
    ]
    changed = (Action.RULE_CHANGED, "admin:maria", "people come from far away")
    assert changed == await house.newest()


async def test_a_rule_that_cannot_be_is_refused_in_words(desk: Page, house: House) -> None:
    """A subject with an unknown name never reaches the ledger."""
    session, _ = await house.enrolled(1)
    await desk.goto(f"/admin/rules/edit?session={session.id}")
    await desk.get_by_label("Type").fill("12h")
    await desk.get_by_label("Minutes before the start").fill("720")
    await desk.get_by_label("Subject").fill("{nonsense}")
    await desk.get_by_role("button", name="See what it would do").click()
    await expect(desk.get_by_role("alert")).to_contain_text("has {nonsense}, which is none of")
    assert [] == list(await hindrances(desk))
    await expect(desk.get_by_label("Type")).to_have_value("12h")
    await expect(desk.get_by_label("Minutes before the start")).to_have_value("720")
    await desk.get_by_label("Subject").fill("Soon: {session_title}")
    await desk.get_by_role("button", name="See what it would do").click()
    await expect(desk.get_by_role("heading", name="Add 12h?")).to_be_visible()


async def test_a_reminder_is_sent_again(desk: Page, house: House) -> None:
    """As a new generation, which its workflow sends and the provider accepts."""
    session_id = await house.platform.enroll(1, due_in=timedelta(seconds=3))

    async def delivered() -> bool:
        rows = await house.platform.due_reminders(session_id)
        return all(row.status is ReminderStatus.DELIVERED for row in rows)

    await eventually(delivered)
    (sent,) = await house.platform.due_reminders(session_id)
    await desk.goto(f"/admin/reminders/{sent.id}")
    line = desk.locator(f"[id='{sent.id}']")
    await line.get_by_text("Send again").click()
    await line.get_by_label("Why?").fill("it was deleted by mistake")
    await line.get_by_role("button", name="Send 30min again").click()
    again = desk.locator("ol.line > li", has_text="generation 2")
    await expect(again.locator(".badge")).to_have_text("delivered", timeout=20_000)
    rows = await house.platform.due_reminders(session_id)
    accepted = [m["tags"]["reminder_id"] for m in await house.platform.accepted()]
    assert [1, 1] == [accepted.count(str(row.id)) for row in rows]
    # The first run had ended with its last reminder: a new one sent this, and ended as well.
    assert 2 == len({row.run_id for row in rows})
    handle = house.platform.client.get_workflow_handle(
        session_reminder_workflow_id(session_id, sent.user_id)
    )
    run = await handle.describe()
    assert (WorkflowExecutionStatus.COMPLETED, run.run_id) == (
        run.status,
        next(row.run_id for row in rows if row.generation == 2),
    )
    resent = (Action.REMINDER_RESENT, "admin:maria", "it was deleted by mistake")
    assert resent == await house.newest()


async def test_what_failed_is_sent_again_with_a_receipt(desk: Page, house: House) -> None:
    """After a dry run; the reminder waits in its workflow again."""
    session, people = await house.enrolled(1)
    async with house.platform.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'failed',"
                " status_reason = 'misconfigured' WHERE session_id = :id AND reminder_type = '24h'"
            ),
            {"id": session.id},
        )
    await desk.goto(f"/admin/failed?session={session.id}")
    await desk.get_by_role("link", name="Send again what still can be").click()
    await expect(desk.locator("dl.figures div", has_text="would be sent")).to_contain_text("1")
    await desk.get_by_label("What was fixed?").fill("the key")
    await desk.get_by_role("button", name="Send again").click()
    await expect(desk.locator("#receipt dl.figures div", has_text="resent")).to_contain_text("1")
    rows = await house.platform.queries.of_enrollment(session.id, people[0])
    (waiting,) = [r for r in rows if r.reminder_type == "24h" and r.status.is_pending]
    assert 2 == waiting.generation
    plan = await house.planned(session, people[0])
    assert (2, ReminderStatus.SCHEDULED, waiting.due_at) == plan["24h"]
    assert 1 == await house.updates(session, people[0])
    entries = await AuditLog(house.platform.database).entries(session_id=session.id)
    assert [Action.FAILED_REDRIVEN, Action.REMINDER_RESENT] == [e.action for e in entries]
    assert {("admin:maria", "the key")} == {(e.actor, e.reason) for e in entries}
    await desk.goto(f"/admin/failed?session={session.id}")
    await expect(desk.get_by_text("None can still be sent.")).to_be_visible()
    await expect(desk.get_by_role("link", name="Send again what still can be")).to_have_count(0)


async def test_the_e_mail_is_seen_and_sent_to_the_test_address(desk: Page, house: House) -> None:
    """At a chosen moment and in another language; the test goes to `VERIFIED_TEST_EMAIL` only."""
    await desk.goto("/admin/preview?rule=2h&at=2030-05-14T14:20&locale=de")
    mail = desk.frame_locator("iframe.light")
    await expect(mail.get_by_role("heading", name="Sample session")).to_be_visible()
    await expect(mail.locator("strong", has_text="40 Minuten")).to_be_visible()
    before = len(await house.platform.accepted())
    await desk.get_by_role("button", name=f"Send to {TEST_INBOX}").click()
    await expect(desk.get_by_role("heading", name="Test sent")).to_be_visible()
    (sent,) = (await house.platform.accepted())[before:]
    assert TEST_INBOX in str(sent["to"])
    assert (Action.TEST_SENT, "admin:maria") == (await house.newest())[:2]
    await desk.goto("/admin/preview?at=2031-01-01T00:00")
    await expect(desk.get_by_role("alert")).to_contain_text("the session has begun")


async def test_an_e_mail_in_a_frame_is_dark_where_it_should_be(
    browser: Browser, house: House, desk: Page
) -> None:
    """Each frame shows one of the two, whatever the operator's own colours are."""
    context = await browser.new_context(
        base_url=house.stack.api_url,
        color_scheme="null",
        storage_state=await desk.context.storage_state(),
    )
    page = await context.new_page()
    await page.goto("/admin/preview")
    colours = [
        await page.frame_locator(f"iframe.{name}")
        .locator("body")
        .evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
        for name in ("light", "dark")
    ]
    assert [False, True] == colours
    await context.close()


async def test_an_enrollment_is_rehearsed(desk: Page, house: House) -> None:
    """Every e-mail with its instant and subject, and nobody gets one."""
    before = len(await house.platform.accepted())
    await desk.goto("/admin/rehearsal")
    await desk.get_by_role("combobox", name="Session").fill(str(house.session.id))
    await desk.get_by_role("button", name="Rehearse").click()
    await expect(desk.locator("tbody tr")).to_have_count(3)
    await expect(desk.locator("tbody")).to_contain_text(house.session.title)
    assert [] == list(await hindrances(desk))
    assert before == len(await house.platform.accepted())


async def test_the_audit_log_tells_who_did_what_and_why(desk: Page, house: House) -> None:
    """The newest first, each with its receipt."""
    await desk.goto("/admin/audit")
    row = desk.locator("tbody tr").first
    await expect(row).to_contain_text("admin:maria")
    await row.get_by_role("link").first.click()
    await expect(desk.locator("#receipt")).to_contain_text("admin:maria")


async def test_everything_can_be_done_without_a_script_and_with_the_keyboard(
    browser: Browser, house: House
) -> None:
    """Scripts switched off: sign in, find, cancel and sign out by Tab and Enter."""
    session, people = await house.enrolled(1)
    context = await browser.new_context(base_url=house.stack.api_url, java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"/admin/enrollments/{session.id}/{people[0]}/cancel")
    await expect(page.get_by_label("Name")).to_be_focused()
    await page.keyboard.type(NAME)
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await page.get_by_label("Why?").focus()
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Unenrolled")).to_be_visible()
    assert {ReminderStatus.CANCELLED} == await house.statuses(session)
    await page.get_by_role("button", name="Sign out").press("Enter")
    await expect(page.get_by_role("heading", name="Session reminders")).to_be_visible()
    await context.close()


async def test_times_are_switched_on_a_phone_without_a_script(
    browser: Browser, house: House, desk: Page
) -> None:
    """To one's own zone, which is asked for once, and to UTC; where one was."""
    await desk.goto("/admin/people")
    await desk.locator(".times [name=zone]").evaluate("field => { field.value = '' }")
    await desk.get_by_role("button", name="Mine").click()
    assert [] == list(await hindrances(desk))
    context = await browser.new_context(
        base_url=house.stack.api_url,
        storage_state=await desk.context.storage_state(),
        java_script_enabled=False,
        viewport=PHONE,
    )
    page = await context.new_page()
    await page.goto(f"/admin/sessions/{house.session.id}?status=scheduled")
    await page.get_by_role("button", name="Mine").click()
    await page.get_by_label("Zone").select_option("Asia/Kathmandu")
    await page.get_by_role("button", name="Show times in it").click()
    await expect(page).to_have_url(re.compile(rf"{house.session.id}\?status=scheduled$"))
    start = page.locator("dl.facts time").first
    for zone in ("Asia/Kathmandu", "UTC"):
        shown = house.session.starts_at.astimezone(ZoneInfo(zone))
        await expect(start).to_have_text(f"{shown:%Y-%m-%d %H:%M}")
        await page.get_by_role("button", name="UTC").click()
    for name in ("Overview", "Audit log"):  # the first and the last are both in sight
        await expect(page.locator("nav").get_by_role("link", name=name)).to_be_in_viewport()
    await context.close()


async def test_the_story_is_told_after_temporal_has_forgotten_it(desk: Page, house: House) -> None:
    """Every reminder and every deed comes from PostgreSQL, and Temporal knows no such workflow."""
    session, user_id = (await house.enrolled(0))[0], uuid4()
    await house.person(user_id)
    planner = EnrollmentPlanner(house.platform.database, SystemClock())
    await planner.enroll(session.id, user_id)
    await planner.unenroll(session.id, user_id)
    with pytest.raises(RPCError, match="not found"):
        await house.status(session, user_id)
    await desk.goto(f"/admin/enrollments/{session.id}/{user_id}")
    await expect(desk.get_by_text("Temporal no longer has it")).to_be_visible()
    await expect(desk.get_by_text("Called off: the attendee is no longer enrolled.")).to_have_count(
        3
    )
    story = await house.platform.gateway.why(session.id, user_id)
    assert (None, 3) == (story.workflow_status, len(story.reminders))


async def test_an_open_page_outlives_an_outage(browser: Browser, house: House, desk: Page) -> None:
    """PostgreSQL dies and comes back: what was shown stays, is said to be old, and follows again."""
    session, people = await house.enrolled(1)
    await desk.goto("/admin/people")  # which asks for nothing meanwhile, and so has no errors
    context = await browser.new_context(
        base_url=house.stack.api_url, storage_state=await desk.context.storage_state()
    )
    page = await context.new_page()
    await page.goto(f"/admin/enrollments/{session.id}/{people[0]}")
    reminders = page.locator("ol.line > li:not(.start)")
    await expect(reminders).to_have_count(3)
    house.stack.postgres.kill()
    try:
        told = page.locator("#stale")
        await expect(told).to_contain_text("Not up to date", timeout=20_000)
        await expect(reminders).to_have_count(3)
        assert [] == list(await hindrances(page))
    finally:
        house.stack.postgres.start()
        await house.platform.database.engine.dispose()  # our own connections died with it
    await house.platform.gateway.unenroll(session.id, people[0])
    await expect(reminders.locator(".badge", has_text="cancelled")).to_have_count(3, timeout=20_000)
    await expect(told).to_be_empty()
    await context.close()
