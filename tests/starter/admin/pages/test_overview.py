"""How things stand, and what is set going again from there."""

from __future__ import annotations

from playwright.async_api import Page, expect
from sqlalchemy import text

from reminders.db.audit import Action
from reminders.db.provider import ProviderState
from tests.starter.admin.pages.conftest import House


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
