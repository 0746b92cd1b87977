"""Thousands of failed reminders are sent again a part at a time, and the page says how far it is."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from uuid import UUID

import pytest
from sqlalchemy import text

from reminders.db.audit import Action, AuditLog
from reminders.db.engine import Database
from starter.admin import resending
from tests.starter.admin.conftest import Pages

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


async def failing(pages: Pages, database: Database, people: int) -> UUID:
    """A session in which one reminder of everybody has failed."""
    session_id = await pages.api.session(starts_in=timedelta(days=7))
    for _ in range(people):
        await pages.api.enroll(session_id, await pages.api.user())
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'failed',"
                " status_reason = 'misconfigured' WHERE session_id = :id AND reminder_type = '24h'"
            ),
            {"id": session_id},
        )
    return session_id


@pytest.mark.usefixtures("impatient")
async def test_each_part_says_how_far_it_is_and_asks_for_the_next(
    pages: Pages, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until nothing is left: everybody once, counted over all parts, one entry a part."""
    session_id = await failing(pages, database, 3)
    monkeypatch.setattr(resending, "PAGE", 1)
    monkeypatch.setattr(resending, "PATIENCE", timedelta())
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
    entries = await AuditLog(database).entries(session_id=session_id, action=Action.FAILED_REDRIVEN)
    assert [0, 1, 1, 1] == [entry.details["resent"] for entry in entries]
    assert {'the "key" & more'} == {entry.reason for entry in entries}


@pytest.mark.parametrize("field", ["resent", "left"])
@pytest.mark.parametrize("value", ["-1", "x", "9" * 30, "²"])
async def test_a_count_that_is_none_is_refused(pages: Pages, field: str, value: str) -> None:
    """Before anything is sent."""
    answer = await pages.submit("/admin/redrive", reason="x", **{field: value})
    assert 422 == answer.status_code
