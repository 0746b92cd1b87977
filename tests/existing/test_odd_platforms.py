"""Platforms as they are: the same row twice, people who come back, zones by other names."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from reminders.domain.model import ProviderEvent, ReminderStatus, StatusReason
from tests.existing.host import Host
from tests.existing.test_existing_platform import handle_of, statuses
from tests.stage import Stage

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

USERS_TWICE = """
CREATE OR REPLACE VIEW reminders_host.users AS
SELECT u.id, u.email, p.full_name, p.timezone AS time_zone, p.locale
  FROM auth.users u LEFT JOIN public.profiles p ON p.id = u.id
 UNION ALL
SELECT u.id, NULL, 'An old account', NULL, NULL FROM auth.users u
"""
SESSIONS_TWICE = """
CREATE OR REPLACE VIEW reminders_host.sessions AS
SELECT id, title, scheduled_at AS start_time, NULL::timestamptz AS end_time,
       timezone AS time_zone, speaker AS speaker_name, meeting_url AS join_url,
       CASE n WHEN 2 THEN 'scheduled' ELSE 'cancelled' END AS status
  FROM public.sessions, generate_series(1, 3) AS n
"""
ENROLLMENTS_TWICE = """
CREATE OR REPLACE VIEW reminders_host.enrollments AS
SELECT id, session_id, user_id, 'cancelled'::text AS status, created_at
  FROM public.session_enrollments
 UNION ALL
SELECT id, session_id, user_id, 'confirmed', created_at FROM public.session_enrollments
"""


@pytest.mark.parametrize(
    "view",
    [USERS_TWICE, SESSIONS_TWICE, ENROLLMENTS_TWICE],
    ids=["users", "sessions", "enrollments"],
)
async def test_a_row_that_is_there_twice(stage: Stage, host: Host, view: str) -> None:
    """One counts: the person is planned, swept, mailed once at its address, and can stop it all."""
    session = await host.session(stage.clock.now() + 40 * MINUTE)
    ana, ben = await host.person("ana"), await host.person("ben")
    for user in (ana, ben):
        await host.enrolls(session, user)
    await host.run(view)
    await stage.gateway.enroll(session, ana)
    assert 1 == (await stage.sweep()).processed, "the one of whom nobody told us"
    assert 0 == (await stage.sweep()).processed
    assert await stage.parts.calendar.entry(session, ana)
    assert (await stage.parts.gateway.why(session, ana)).session.starts_at
    await stage.forward(15 * MINUTE, handle_of(stage, session, ana), handle_of(stage, session, ben))
    mails = await stage.provider.accepted()
    assert ["ana@hospital.example", "ben@hospital.example"] == sorted(m["to"][0] for m in mails)
    complaint = ProviderEvent(
        svix_id="msg_1",
        type="email.complained",
        occurred_at=stage.clock.now(),
        email_id=mails[0]["id"],
        reminder_id=UUID(mails[0]["tags"]["reminder_id"]),
        recipients=tuple(mails[0]["to"]),
        status=ReminderStatus.COMPLAINED,
        stops=StatusReason.SPAM_COMPLAINT,
    )
    assert await stage.parts.provider_events.record(complaint)
    choices = [await stage.parts.preferences.of(user) for user in (ana, ben)]
    assert 1 == sum(c.withheld == (StatusReason.SPAM_COMPLAINT,) for c in choices)


async def test_who_comes_back_by_the_table_is_reminded_again(stage: Stage, host: Host) -> None:
    """Left by a call and by the table, came back by the table only; and left once more by a call."""
    session, ana = await host.session(stage.clock.now() + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, ana)
    await stage.gateway.enroll(session, ana)
    await stage.gateway.unenroll(session, ana)
    assert {"cancelled: unenrolled"} == await statuses(stage, session, ana)
    await leaves(host, session, ana)
    await host.enrolls(session, ana)
    assert 1 == (await stage.sweep()).processed
    assert {"cancelled: unenrolled", "scheduled"} == await statuses(stage, session, ana)
    await stage.gateway.unenroll(session, ana)
    assert 0 == (await stage.sweep()).processed
    assert {"cancelled: unenrolled"} == await statuses(stage, session, ana)


async def leaves(host: Host, session: UUID, user: UUID) -> None:
    """The platform deletes its row."""
    await host.run(
        "DELETE FROM session_enrollments WHERE session_id = :session AND user_id = :user",
        session=session,
        user=user,
    )
