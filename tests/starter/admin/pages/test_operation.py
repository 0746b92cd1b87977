"""Sweeps, back-fills and the audit log."""

from __future__ import annotations

from uuid import uuid4

from playwright.async_api import Page, expect
from sqlalchemy import insert
from temporalio.client import WorkflowExecutionStatus

from reminders.db.audit import Action, AuditLog, By, Event
from reminders.db.tables import EnrollmentRow
from starter.services.sweeps import MANUAL_ID
from tests.browser import hindrances
from tests.starter.admin.pages.conftest import House


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


async def test_the_audit_log_tells_who_did_what_and_why(desk: Page, house: House) -> None:
    """The newest first, each with its receipt."""
    await house.platform.gateway.session_changed(house.session.id, By("admin:maria", "by hand"))
    await desk.goto("/admin/audit")
    row = desk.locator("tbody tr").first
    await expect(row).to_contain_text("admin:maria")
    await row.get_by_role("link").first.click()
    await expect(desk.locator("#receipt")).to_contain_text("admin:maria")
