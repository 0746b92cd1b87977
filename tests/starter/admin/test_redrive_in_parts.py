"""Thousands of failed reminders are sent again a part at a time, and the page says how far it is."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from uuid import UUID

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import Uuid, bindparam, text
from temporalio.client import Client

from reminders.db.audit import Action, AuditLog
from reminders.db.engine import Database
from reminders.db.queries import ReminderQueries
from reminders.model import Reminder
from reminders.settings import Settings
from starter.admin import resending
from tests.starter.admin.conftest import NAME, PASSWORD, Pages, planned, updates
from tests.starter.conftest import Api, a_worker, listening, serving

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


async def failing(api: Api, database: Database, people: int) -> UUID:
    """A session in which one reminder of everybody has failed."""
    session_id = await api.session(starts_in=timedelta(days=7))
    for _ in range(people):
        await api.enroll(session_id, await api.user())
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'failed',"
                " status_reason = 'misconfigured' WHERE session_id = :id AND reminder_type = '24h'"
            ),
            {"id": session_id},
        )
    return session_id


@pytest.fixture
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One enrollment a part."""
    monkeypatch.setattr(resending, "PAGE", 1)
    monkeypatch.setattr(resending, "PATIENCE", timedelta())


@pytest.mark.usefixtures("impatient", "in_small_parts")
async def test_each_part_says_how_far_it_is_and_asks_for_the_next(
    pages: Pages, database: Database
) -> None:
    """Until nothing is left: everybody once, counted over all parts, one entry as it begins and ends."""
    session_id = await failing(pages.api, database, 3)
    form = {"session": str(session_id), "reason": 'the "key" & more'}
    counted = []
    for _ in range(4):
        answer = await pages.submit("/admin/redrive", **form)
        assert 200 == answer.status_code
        going = answer.text.partition('id="redrive"')[2]
        found = re.search(r"planned again(?: so far)?</dt><dd>(\d+)", going)
        assert found is not None
        counted.append(int(found[1]))
        form = {name: unescape(value) for name, value in _HIDDEN.findall(going)}
        if not form:
            break
        assert 'hx-trigger="load, submit"' in going
        form.pop("csrf", None)
    assert [1, 2, 3, 3] == counted
    assert not form
    entries = await AuditLog(database).entries(session_id=session_id)
    ended, *resent, begun = [e for e in entries if e.action is not Action.REMINDER_RESENT]
    assert [] == resent
    assert (Action.FAILED_REDRIVEN, 3, True) == (
        ended.action,
        ended.details["resent"],
        ended.details["is_complete"],
    )
    assert (Action.REDRIVE_BEGUN, {}) == (begun.action, begun.details)
    assert {('the "key" & more', "admin:maria")} == {(e.reason, e.actor) for e in entries}


@pytest.mark.usefixtures("impatient", "in_small_parts")
async def test_what_the_parts_before_have_done_cannot_be_made_up(
    pages: Pages, database: Database
) -> None:
    """The form carries it signed, for one session of the browser: otherwise nothing is sent."""
    session_id = await failing(pages.api, database, 2)
    first = await pages.submit("/admin/redrive", session=str(session_id), reason="x")
    going = unescape(dict(_HIDDEN.findall(first.text))["going"])
    for made_up in ("x", f"{going}x", going[1:], going[:-1]):
        assert 403 == (await pages.submit("/admin/redrive", going=made_up)).status_code, made_up
    await pages.sign_in()
    assert 403 == (await pages.submit("/admin/redrive", going=going)).status_code
    resent = await AuditLog(database).entries(session_id=session_id, action=Action.REMINDER_RESENT)
    assert 1 == len(resent)


@pytest.mark.usefixtures("in_small_parts")
async def test_a_browser_goes_through_all_parts_by_itself(
    page: Page, admin_settings: Settings, client: Client, database: Database
) -> None:
    """Also in a hidden window; then every workflow waits for the new generation, which it was told."""
    await page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => true})")
    async with (
        serving(admin_settings) as api,
        listening(admin_settings) as url,
        a_worker(client, admin_settings),
    ):
        session_id = await failing(api, database, 3)
        await page.goto(f"{url}/admin/failed?session={session_id}")
        await page.get_by_label("Name").fill(NAME)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("link", name="Send again what still can be").click()
        would_be = page.locator("dl.figures div", has_text="would be sent")
        await expect(would_be).to_contain_text("at least 1")
        await page.get_by_label("What was mended?").fill("the key")
        await page.get_by_role("button", name="Send again").click()
        await expect(page.get_by_role("heading", name="Planned again")).to_be_visible()
        await expect(page.locator("#redrive dl.figures")).to_contain_text("3")
        await page.get_by_role("link", name="Receipt").click()
        await expect(page.locator("#receipt dl.figures div", has_text="resent")).to_contain_text(
            "3"
        )
        found = await ReminderQueries(database).list(session_id=session_id)
        again = [r for r in found.reminders if r.generation == 2]
        assert [("24h", "scheduled")] * 3 == [(r.reminder_type, r.status) for r in again]
        for reminder in again:
            plan = await planned(client, session_id, reminder.user_id)
            assert (2, "scheduled", reminder.due_at) == plan["24h"]
            assert 1 == await updates(client, session_id, reminder.user_id)
        await page.goto(f"{url}/admin/failed?session={session_id}")
        await expect(page.get_by_text("None can still be sent.")).to_be_visible()
        await expect(page.get_by_role("link", name="Send again what still can be")).to_have_count(0)


@pytest.mark.usefixtures("impatient", "in_small_parts")
async def test_a_redrive_is_offered_even_if_the_first_ones_counted_cannot_be_sent(
    pages: Pages, database: Database
) -> None:
    """What was counted is the least; of an `outcome_unknown` alone nothing is offered at all."""
    session_id = await failing(pages.api, database, 2)
    first = min((await ReminderQueries(database).list(session_id=session_id)).reminders, key=_order)
    unknown = text(
        "UPDATE session_reminder_emails SET status_reason = 'outcome_unknown'"
        " WHERE session_id = :id AND email_status = 'failed' AND (:user IS NULL OR user_id = :user)"
    ).bindparams(bindparam("user", type_=Uuid()))
    async with database.transaction() as connection:
        await connection.execute(unknown, {"id": session_id, "user": first.user_id})
    answer = await pages.get("/admin/redrive", params={"session": str(session_id)})
    assert "would be sent</dt><dd>at least 0<" in answer.text
    assert '<button type="submit">Send again</button>' in answer.text
    assert "Send again what" in (await pages.get(f"/admin/failed?session={session_id}")).text
    async with database.transaction() as connection:
        await connection.execute(unknown, {"id": session_id, "user": None})
    assert "Send again what" not in (await pages.get(f"/admin/failed?session={session_id}")).text


def _order(reminder: Reminder) -> str:
    """In which a redrive looks at enrollments of one session."""
    return str(reminder.user_id)
