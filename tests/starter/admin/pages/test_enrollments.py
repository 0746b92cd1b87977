"""One enrollment: ended, begun again, followed, and its story."""

from __future__ import annotations

from uuid import uuid4

import pytest
from playwright.async_api import Page, expect
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from reminders.clock import SystemClock
from reminders.db.audit import Action
from reminders.db.planning import EnrollmentPlanner
from tests.stage import eventually
from tests.starter.admin.pages.conftest import House


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
