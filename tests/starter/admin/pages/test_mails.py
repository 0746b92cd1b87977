"""The e-mail, as operators see it."""

from __future__ import annotations

from playwright.async_api import Browser, Page, expect

from devstack.stack import TEST_INBOX
from reminders.db.audit import Action
from tests.browser import hindrances
from tests.starter.admin.pages.conftest import House


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
