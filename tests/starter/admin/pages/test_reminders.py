"""Reminders: followed while they go out, sent now or again, and those that failed."""

from __future__ import annotations

import re
from datetime import timedelta

from playwright.async_api import Page, expect
from sqlalchemy import text
from temporalio.client import WorkflowExecutionStatus

from reminders.db.audit import Action, AuditLog
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import ReminderStatus
from tests.stage import eventually
from tests.starter.admin.pages.conftest import House


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
