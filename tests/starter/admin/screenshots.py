"""Takes the pictures of `docs/admin.md` anew: `python -m tests.starter.admin.screenshots`.

A day in the life of a platform, on the real stack. Needs Chromium. Then look at them.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from playwright.async_api import Page, ViewportSize
from sqlalchemy import insert

from devstack.stack import LocalStack
from reminders.db.tables import EnrollmentRow, ReminderRow, SessionRow, UserRow
from reminders.domain.keys import reminder_id, session_reminder_workflow_id
from reminders.domain.model import Session
from tests.browser import chromium, dressed, launched
from tests.e2e.platform import Platform, a_platform

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"
SCREEN = ViewportSize(width=1200, height=800)
NAME, PASSWORD = "maria", "correct horse battery"
HOUR = timedelta(hours=1)

AHEAD = {
    "Cardiology update: heart failure in 2026": (2.6, 38),
    "Sepsis in the first hour": (4.4, 21),
    "Airway management, live from theatre": (9.1, 41),
    "Diabetes technology for the practice": (13.2, 12),
    "Stroke: the new door-to-needle pathway": (18.7, 32),
    "Palliative care grand round": (25.3, 27),
    "Paediatric ECG, case by case": (30.5, 19),
    "Antibiotic stewardship": (51.0, 24),
}
"""Hours until each session starts, and how many are enrolled."""
BEFORE = {"Journal club: GLP-1 and the heart": (-3.0, 44), "Radiology quiz": (-6.5, 26)}
FIRST = ("Amelie", "Jonas", "Ines", "Kwame", "Yuki", "Sofia", "Tomasz")
LAST = ("Laurent", "Weber", "Carvalho", "Mensah", "Tanaka", "Rossi", "Nowak", "Okafor", "Larsen")


async def a_day(platform: Platform) -> tuple[UUID, UUID]:
    """Fill the platform.

    Returns:
        A session, and somebody in it.
    """
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for title, (hours, count) in BEFORE.items():
        await _held(platform, title, now + hours * HOUR, count)
    shown: tuple[UUID, UUID] | None = None
    for title, (hours, count) in AHEAD.items():
        session = Session(id=uuid4(), title=title, starts_at=now + hours * HOUR)
        await platform.gateway.put_session(session)
        people = await _people(platform, count)
        for user_id in people:
            await platform.gateway.enroll(session.id, user_id)
        shown = shown or (session.id, people[0])
    assert shown is not None
    return shown


async def _people(platform: Platform, count: int) -> list[UUID]:
    people = [uuid4() for _ in range(count)]
    names = zip(cycle(FIRST), cycle(LAST), strict=False)
    rows = [
        {
            "id": user,
            "full_name": f"{first} {last}",
            "email": f"{first}.{last}@hospital.example".lower(),
        }
        for user, (first, last) in zip(people, names, strict=False)
    ]
    async with platform.database.transaction() as connection:
        await connection.execute(insert(UserRow), rows)
    return people


async def _held(platform: Platform, title: str, starts_at: datetime, count: int) -> None:
    """A session of this morning, with what became of its reminders."""
    session_id, people = uuid4(), await _people(platform, count)
    rows: list[dict[str, Any]] = []
    for n, user in enumerate(people):
        for kind, lead in (("2h", 2 * HOUR), ("30min", HOUR / 2)):
            due_at = starts_at - lead
            ended: dict[str, Any] = {"email_status": "delivered", "resend_email_id": str(uuid4())}
            if n % 19 == 7:
                ended = {"email_status": "failed", "status_reason": "invalid_address"}
            rows.append(
                {
                    "id": reminder_id(session_id, user, kind, 1),
                    "session_id": session_id,
                    "user_id": user,
                    "reminder_type": kind,
                    "due_at": due_at,
                    "starts_at": starts_at,
                    "sent_at": due_at if ended["email_status"] == "delivered" else None,
                    "status_reason": None,
                    "resend_email_id": None,
                    "attempts": 1,
                    "workflow_id": session_reminder_workflow_id(session_id, user),
                    **ended,
                }
            )
    async with platform.database.transaction() as connection:
        await connection.execute(
            insert(SessionRow), [{"id": session_id, "title": title, "start_time": starts_at}]
        )
        enrolled = [{"session_id": session_id, "user_id": user} for user in people]
        await connection.execute(insert(EnrollmentRow), enrolled)
        await connection.execute(insert(ReminderRow), rows)


async def _take(page: Page, url: str, name: str, *, dark: bool = False) -> None:
    await dressed(page, scheme="dark" if dark else "light", screen=SCREEN)
    await page.goto(url)
    await page.screenshot(path=IMAGES / name)


async def main() -> None:
    """The pages that are worth showing."""
    program = chromium()
    if program is None:
        raise SystemExit("no Chromium on this machine: apt-get install chromium, or set CHROMIUM")
    signing_in = {"ADMIN_USERNAME": NAME, "ADMIN_PASSWORD": PASSWORD}
    with LocalStack(with_ui=False, settings=signing_in) as stack:
        async with a_platform(stack) as platform, launched(program) as browser:
            session, user = await a_day(platform)
            page = await browser.new_page(viewport=SCREEN, locale="en-GB")
            admin = f"{stack.api_url}/admin"
            await page.goto(admin)
            await page.fill("[name=username]", NAME)
            await page.fill("[name=password]", PASSWORD)
            await page.keyboard.press("Enter")
            await page.get_by_role("button", name="Sign out").wait_for()
            await _take(page, admin, "admin-overview.png")
            await _take(page, f"{admin}/sessions/{session}", "admin-session.png")
            await _take(page, f"{admin}/failed", "admin-failed.png")
            await _take(page, f"{admin}/preview?session={session}", "admin-email.png")
            enrollment = f"{admin}/enrollments/{session}/{user}"
            await _take(page, enrollment, "admin-enrollment.png", dark=True)


if __name__ == "__main__":
    asyncio.run(main())
