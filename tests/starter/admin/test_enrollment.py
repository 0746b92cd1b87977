"""The page of one enrollment: what it offers can be done, and nothing is without a reason."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text

from reminders.db.engine import Database
from reminders.db.tables import EnrollmentRow
from tests.starter.admin.conftest import Pages

_AGAIN, _NOW = "/resend", "/send-now"


async def offers(pages: Pages, session_id: UUID, user_id: UUID) -> set[str]:
    """What can be done to reminders on their page."""
    page = (await pages.get(f"/admin/enrollments/{session_id}/{user_id}")).text
    return {what for what in (_AGAIN, _NOW) if f'{what}" method="post"' in page}


async def ended(database: Database, session_id: UUID) -> None:
    """One reminder of a session was sent; the others wait."""
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'sent', sent_at = now()"
                " WHERE session_id = :id AND reminder_type = '24h'"
            ),
            {"id": session_id},
        )


@pytest.mark.usefixtures("impatient")
async def test_sending_is_offered_where_it_can_be_done(pages: Pages, database: Database) -> None:
    """What waits goes out now, what has ended once more; not to somebody who wants none."""
    session_id, user_id = await pages.api.enrolled()
    await ended(database, session_id)
    assert {_AGAIN, _NOW} == await offers(pages, session_id, user_id)
    path = f"/v1/users/{user_id}/preferences"
    stop = {"opt_outs": [{"reminder_type": "24h"}]}
    assert 200 == (await pages.api.put(path, json=stop)).status_code
    assert {_NOW} == await offers(pages, session_id, user_id)
    assert 200 == (await pages.api.put(path, json={"opt_outs": [{}]})).status_code
    assert set() == await offers(pages, session_id, user_id)


async def test_nothing_is_offered_once_the_session_has_begun(
    pages: Pages, database: Database
) -> None:
    """It would be refused: nobody is reminded of the past."""
    session_id, user_id = await pages.api.enrolled()
    await ended(database, session_id)
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE sessions SET start_time = now() - interval '1 s' WHERE id = :id"),
            {"id": session_id},
        )
    assert set() == await offers(pages, session_id, user_id)


async def test_an_enrollment_without_reminders_says_why(pages: Pages, database: Database) -> None:
    """Nobody reported it before its session began; page and API have the same words."""
    session_id, user_id = await pages.api.session(starts_in=-timedelta(hours=1)), uuid4()
    body = {"email": "ana@hospital.example"}
    await pages.api.put(f"/v1/users/{user_id}", json=body)
    async with database.transaction() as connection:
        await connection.execute(
            insert(EnrollmentRow), {"session_id": session_id, "user_id": user_id}
        )
    why = (await pages.api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
    assert "had begun before the enrollment was known" in why["nothing_planned"]
    page = await pages.get(f"/admin/enrollments/{session_id}/{user_id}")
    assert f"No reminders: {why['nothing_planned']}." in page.text


@pytest.mark.parametrize(
    ("path", "page"),
    [("/admin/", "/admin"), ("/admin/sessions/", "/admin/sessions"), ("/admin//", "/admin")],
)
async def test_a_slash_too_many_leads_to_the_page(pages: Pages, path: str, page: str) -> None:
    """As people type it."""
    answer = await pages.get(path)
    assert (303, page) == (answer.status_code, answer.headers["location"])


async def test_an_overdue_reminder_and_a_hold_are_said_as_they_are(
    pages: Pages, database: Database
) -> None:
    """On the pages where operators look for what is wrong."""
    session_id, user_id = await pages.api.enrolled()
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET due_at = now() - interval '10 min'"
                " WHERE session_id = :id AND reminder_type = '24h'"
            ),
            {"id": session_id},
        )
        await connection.execute(
            text(
                "UPDATE provider_pace SET held_until = now() + interval '1 h',"
                " held_because = 'misconfigured'"
            )
        )
    try:
        page = await pages.get(f"/admin/enrollments/{session_id}/{user_id}")
        assert "Overdue: its due instant has passed" in page.text
        overview = await pages.get("/admin")
        assert "The provider refuses our key or sender" in overview.text
        assert "until the session began" not in overview.text
    finally:
        async with database.transaction() as connection:
            await connection.execute(
                text("UPDATE provider_pace SET held_until = NULL, held_because = NULL")
            )


async def test_who_waited_for_a_seat_waits_for_it_again(pages: Pages) -> None:
    """An enrollment that was ended by mistake is begun as it was: nobody is confirmed by that."""
    session_id, user_id = await pages.api.session(), await pages.api.user()
    await pages.api.enroll(session_id, user_id, status="pending")
    path, page = (
        f"/v1/enrollments/{session_id}/{user_id}",
        f"/admin/enrollments/{session_id}/{user_id}",
    )
    await pages.api.delete(path)
    assert 'name="is_pending" value="on" checked' in (await pages.get(page)).text
    await pages.submit(f"{page}/enroll", is_pending="on", reason="by mistake")
    assert "pending" == (await pages.api.get(path)).json()["enrollment_status"]
