"""A person's page: what they are not reminded of, why, and how that is taken back."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from reminders.db.audit import Action, AuditLog
from reminders.db.engine import Database
from reminders.db.preferences import block
from reminders.domain.model import StatusReason
from tests.starter.admin.conftest import Pages
from tests.starter.conftest import ADDRESS


@pytest.mark.usefixtures("impatient")
async def test_stops_and_blocks_are_shown_and_taken_back(pages: Pages, database: Database) -> None:
    """Each by itself, with a reason, which the page then shows in the audit log."""
    session_id, user_id = await pages.api.enrolled(title="Sepsis in the first hour")
    stops = {"opt_outs": [{"session_id": str(session_id)}, {"reminder_type": "2h"}]}
    assert 200 == (await pages.api.put(f"/v1/users/{user_id}/preferences", json=stops)).status_code
    async with database.transaction() as connection:
        await block(connection, user_id, ADDRESS, StatusReason.ADDRESS_BOUNCED)
    here = f"/admin/people/{user_id}"
    page = (await pages.get(here)).text
    assert 3 == page.count("<summary>Remind again</summary>")
    assert "bounced for good" in page
    assert "2h of every session" in page
    assert f'anything of <a href="/admin/sessions/{session_id}">Sepsis' in page
    for path, fields in (
        ("unblock", {}),
        ("resume", {"session": str(session_id)}),
        ("resume", {"reminder_type": "2h"}),
    ):
        answer = await pages.submit(f"{here}/{path}", reason="by phone", **fields)
        assert (303, here) == (answer.status_code, answer.headers["location"])
    page = (await pages.get(here)).text
    assert "Remind again" not in page
    assert 3 == page.count("by phone")
    entries = await AuditLog(database).entries(user_id=user_id, actor="admin")
    assert {Action.PREFERENCES_CHANGED} == {entry.action for entry in entries}
    left = (await pages.api.get(f"/v1/users/{user_id}/preferences")).json()
    assert ([], []) == (left["opt_outs"], left["withheld"])
    story = (await pages.api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
    newest = {r["reminder_type"]: r["email_status"] for r in story["reminders"]}
    assert {"scheduled"} == set(newest.values())


async def test_somebody_without_name_and_address_is_shown_by_id(
    pages: Pages, database: Database
) -> None:
    """As a platform may have them; the pages say that nothing is sent."""
    session_id, user_id = await pages.api.enrolled()
    async with database.transaction() as connection:
        nameless = "UPDATE users SET email = '', full_name = NULL WHERE id = :id"
        await connection.execute(text(nameless), {"id": user_id})
    for path in (f"people/{user_id}", f"enrollments/{session_id}/{user_id}"):
        page = (await pages.get(f"/admin/{path}")).text
        assert f"<h1>{user_id}</h1>" in page
        assert "none, so nothing is sent" in page
    assert f"<small>{user_id}</small>" in (await pages.get(f"/admin/sessions/{session_id}")).text
