"""People, and searches for them."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from tests.starter.admin.pages.conftest import House, searched


async def test_a_person_is_found_by_address_which_no_url_shows(desk: Page, house: House) -> None:
    """Everything they are enrolled in is on one page."""
    user_id = house.people[1]
    await desk.goto("/admin/people")
    await desk.get_by_label("Name, address or id").fill(f"{user_id.hex[:8]}@hospital.example")
    await desk.locator("main").get_by_role("button", name="Find").click()
    await expect(desk).to_have_url(re.compile(f"/admin/people/{user_id}$"))
    await expect(desk.get_by_role("link", name=house.session.title, exact=True)).to_be_visible()


async def on_roster(page: Page, house: House) -> str:
    """Where a search of a session's roster leads to."""
    await page.goto(f"/admin/sessions/{house.session.id}")
    await page.get_by_label("Name, address or id").fill("Ana")
    await page.locator("#roster").get_by_role("button", name="Show").click()
    await expect(page.get_by_role("link", name="Everybody")).to_be_visible()
    return page.url


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
