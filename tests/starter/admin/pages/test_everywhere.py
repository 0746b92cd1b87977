"""What holds on every page: it can be read, and used without a script."""

from __future__ import annotations

import re
from uuid import uuid4
from zoneinfo import ZoneInfo

from playwright.async_api import Browser, Page, expect

from reminders.domain.model import ReminderStatus, Session
from tests.browser import DESK, PHONE, Scheme, dressed, hindrances, overflow
from tests.starter.admin.pages.conftest import NAME, PASSWORD, House, searched


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
