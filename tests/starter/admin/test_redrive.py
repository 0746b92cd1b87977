"""Failed reminders are sent again from the admin pages, a page of enrollments at a time."""

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
from reminders.db.ledger import ReminderQueries
from reminders.domain.model import Reminder
from reminders.settings import Settings
from starter.admin import reminders
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
def one_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """One enrollment a page."""
    monkeypatch.setattr(reminders, "PAGE", 1)


@pytest.mark.usefixtures("impatient", "one_a_page")
async def test_each_page_is_on_record_and_asks_whether_to_continue(
    pages: Pages, database: Database
) -> None:
    """With the same reason, until nothing is left: everybody once."""
    session_id = await failing(pages.api, database, 3)
    reason = 'the "key" & more'
    form = {"session": str(session_id), "reason": reason}
    for _ in range(3):
        answer = await pages.submit("/admin/redrive", **form)
        assert 200 == answer.status_code
        form = {name: unescape(value) for name, value in _HIDDEN.findall(answer.text)}
        form.pop("csrf", None)
        assert (str(session_id), reason) == (form["session"], form["reason"])
    assert 303 == (await pages.submit("/admin/redrive", **form)).status_code
    entries = await AuditLog(database).entries(session_id=session_id)
    assert {(reason, "admin:maria")} == {(e.reason, e.actor) for e in entries}
    pages_done = [e.details for e in entries if e.action is Action.FAILED_REDRIVEN]
    assert [(0, True), (1, False), (1, False), (1, False)] == [
        (d["resent"], d["is_complete"]) for d in pages_done
    ]


@pytest.mark.usefixtures("impatient")
async def test_a_page_that_was_never_offered_is_refused(pages: Pages, database: Database) -> None:
    """Where to continue is one of ours, or nothing is sent."""
    session_id = await failing(pages.api, database, 1)
    form = {"session": str(session_id), "reason": "x", "cursor": "made up"}
    assert 422 == (await pages.submit("/admin/redrive", **form)).status_code
    log = AuditLog(database)
    assert () == await log.entries(session_id=session_id, action=Action.REMINDER_RESENT)


@pytest.mark.usefixtures("one_a_page")
async def test_a_browser_continues_to_the_last_page(
    page: Page, admin_settings: Settings, client: Client, database: Database
) -> None:
    """Then every workflow waits for the new generation, which it was told."""
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
        await page.get_by_label("What was fixed?").fill("the key")
        await page.get_by_role("button", name="Send again").click()
        for _ in range(3):
            await expect(page.get_by_role("heading", name="Planned again")).to_be_visible()
            async with page.expect_navigation():
                await page.get_by_role("button", name="Continue").click()
        await expect(page.locator("#receipt")).to_be_visible()
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


@pytest.mark.usefixtures("impatient", "one_a_page")
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


async def test_what_is_past_is_listed_from_the_last(pages: Pages, database: Database) -> None:
    """Of today's bounces the alert leads to a list that has them, and each kind to its own."""
    session_id = await failing(pages.api, database, 1)
    async with database.transaction() as connection:
        for kind, status, ago in (
            ("24h", "bounced", 40),
            ("2h", "bounced", 0),
            ("30min", "complained", 0),
        ):
            await connection.execute(
                text(
                    "UPDATE session_reminder_emails SET email_status = :status, status_reason = NULL,"
                    " due_at = now() - :ago * interval '1 day',"
                    " sent_at = now() - :ago * interval '1 day' WHERE reminder_type = :kind"
                    " AND session_id = :session"
                ),
                {"kind": kind, "status": status, "ago": ago, "session": session_id},
            )
    overview = (await pages.get("/admin")).text
    for words, link in (
        (" bounced today", "bounced"),
        (" drew a complaint today", "complained"),
    ):
        alert = overview[overview.index(words) :].partition("</li>")[0]
        assert f"/admin/reminders?status={link}" in alert
    listed = (await pages.get("/admin/reminders?status=bounced")).text
    assert listed.index("<td>2h</td>") < listed.index("<td>24h</td>")
