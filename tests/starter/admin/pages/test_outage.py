"""An open page while a server is away."""

from __future__ import annotations

from playwright.async_api import Browser, Page, expect

from tests.browser import hindrances
from tests.starter.admin.pages.conftest import House


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
