"""A session: cancelled and restored, planned anew, its roster."""

from __future__ import annotations

import os
import re
import signal
from datetime import timedelta

from playwright.async_api import Page, expect
from sqlalchemy import text
from temporalio.client import WorkflowExecutionStatus

from reminders.db.audit import Action, AuditLog
from reminders.domain.model import ReminderStatus
from tests.stage import eventually
from tests.starter.admin.pages.conftest import House


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

    async def all_ended() -> bool:
        found = [await house.status(session, user_id) for user_id in people]
        return set(found) == {WorkflowExecutionStatus.CANCELED}

    await eventually(all_ended)
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


async def test_counts_stand_below_the_words_they_count(desk: Page, house: House) -> None:
    """Header and numbers of a column end at the same edge, the header's badge notwithstanding."""
    await desk.goto(f"/admin/sessions/{house.session.id}")
    edges: list[float] = await desk.evaluate(
        """() => [...document.querySelectorAll(".matrix tr")].map(row => {
             const text = document.createRange();
             text.selectNodeContents(row.querySelector(".count").firstElementChild);
             return text.getBoundingClientRect().right;
           })"""
    )
    assert len(edges) > 1
    assert max(edges) - min(edges) < 1
