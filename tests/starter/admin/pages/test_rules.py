"""Rules: changed, added and deleted."""

from __future__ import annotations

from datetime import timedelta

from playwright.async_api import Page, expect

from reminders.db.audit import Action, AuditLog
from reminders.domain.model import ReminderStatus
from tests.browser import hindrances
from tests.stage import eventually
from tests.starter.admin.pages.conftest import House


async def test_a_rule_of_one_session_is_added_and_deleted(desk: Page, house: House) -> None:
    """What it would do is said before either; its reminder comes and goes, in workflow and ledger."""
    session, people = await house.enrolled(1)

    async def waiting() -> set[str]:
        plan = await house.planned(session, people[0])
        return {kind for kind, (_, status, _) in plan.items() if status == "scheduled"}

    async def ledger() -> dict[str, ReminderStatus]:
        rows = await house.platform.queries.of_enrollment(session.id, people[0])
        return {r.reminder_type: r.status for r in rows}

    async def is_planned() -> bool:
        return "3d" in await waiting()

    async def is_gone() -> bool:
        return "3d" not in await waiting()

    await desk.goto(f"/admin/rules?session={session.id}")
    await desk.get_by_role("link", name="Add a rule").click()
    await desk.get_by_label("Type").fill("3d")
    await desk.get_by_label("Minutes before the start").fill("4320")
    await desk.get_by_role("button", name="See what it would do").click()
    await expect(desk.locator("#effect dl div", has_text="planned")).to_contain_text("1")
    assert "3d" not in await ledger()
    await desk.get_by_label("Why?").fill("it needs reading")
    await desk.get_by_role("button", name="Add the rule").click()
    await expect(desk.locator("#receipt")).to_contain_text("stored")
    await eventually(is_planned)
    assert ReminderStatus.SCHEDULED is (await ledger())["3d"]
    await desk.goto(f"/admin/rules/edit?reminder_type=3d&session={session.id}")
    await desk.get_by_role("button", name="Delete it").click()
    await desk.get_by_label("Why?").fill("nobody reads")
    await desk.get_by_role("button", name="Delete the rule").click()
    await expect(desk.locator("#receipt")).to_contain_text("deleted")
    await eventually(is_gone)
    assert ReminderStatus.SKIPPED is (await ledger())["3d"]
    entries = await AuditLog(house.platform.database).entries(session_id=session.id, limit=2)
    assert [
        (Action.RULE_DELETED, "admin:maria", "nobody reads"),
        (Action.RULE_ADDED, "admin:maria", "it needs reading"),
    ] == [(e.action, e.actor, e.reason) for e in entries]


async def test_a_rule_is_changed_after_seeing_what_it_would_do(desk: Page, house: House) -> None:
    """The diff counts and stores nothing; then every sleeping workflow has the new instant."""
    session, people = await house.enrolled(1)
    await desk.goto(f"/admin/rules?session={session.id}")
    await desk.get_by_role("link", name="Edit 2h").click()
    await desk.get_by_label("Minutes before the start").fill("180")
    await desk.get_by_label("Subject").fill("Soon: {session_title}")
    await desk.get_by_role("button", name="See what it would do").click()
    await expect(desk.locator("#effect dl div", has_text="moved")).to_contain_text("1")
    await expect(desk.locator("tr", has_text="as people get it")).to_contain_text("Soon: Sample")
    rows = (await house.platform.queries.list(session_id=session.id)).reminders
    before = next(r for r in rows if r.reminder_type == "2h")
    assert session.starts_at - timedelta(hours=2) == before.due_at
    await desk.get_by_label("Why?").fill("people come from far away")
    await desk.get_by_role("button", name="Save").click()
    await expect(desk.locator("#receipt")).to_contain_text("stored")

    async def moved() -> bool:
        _, _, due_at = (await house.planned(session, people[0]))["2h"]
        return due_at == session.starts_at - timedelta(hours=3)

    await eventually(moved)
    rows = await house.platform.queries.of_enrollment(session.id, people[0])
    assert [session.starts_at - timedelta(hours=3)] == [
        r.due_at for r in rows if r.reminder_type == "2h"
    ]
    changed = (Action.RULE_CHANGED, "admin:maria", "people come from far away")
    assert changed == await house.newest()


async def test_a_rule_that_cannot_be_is_refused_in_words(desk: Page, house: House) -> None:
    """A subject with an unknown name never reaches the ledger."""
    session, _ = await house.enrolled(1)
    await desk.goto(f"/admin/rules/edit?session={session.id}")
    await desk.get_by_label("Type").fill("12h")
    await desk.get_by_label("Minutes before the start").fill("720")
    await desk.get_by_label("Subject").fill("{nonsense}")
    await desk.get_by_role("button", name="See what it would do").click()
    await expect(desk.get_by_role("alert")).to_contain_text("has {nonsense}, which is none of")
    assert [] == list(await hindrances(desk))
    await expect(desk.get_by_label("Type")).to_have_value("12h")
    await expect(desk.get_by_label("Minutes before the start")).to_have_value("720")
    await desk.get_by_label("Subject").fill("Soon: {session_title}")
    await desk.get_by_role("button", name="See what it would do").click()
    await expect(desk.get_by_role("heading", name="Add 12h?")).to_be_visible()
