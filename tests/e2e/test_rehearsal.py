"""A rehearsal says what the performance then does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import text

from reminders.db.rules import RuleStore
from reminders.domain.model import StatusReason
from reminders.settings import Settings
from starter.services.mails import mail_composer
from starter.services.rehearsal import Move, Rehearsed, Script, rehearse, rehearsed
from tests.builders import NOW, a_session, an_attendee, the_rules
from tests.stage import Stage

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def outcomes(played: tuple[Rehearsed, ...]) -> list[tuple[str, int, str]]:
    """Type, generation, and status with its reason."""
    return [
        (r.reminder.reminder_type, r.reminder.generation, r.reminder.reason or r.reminder.status)
        for r in played
    ]


async def test_it_says_what_the_real_system_then_sends(stage: Stage, settings: Settings) -> None:
    """Same instants, same subjects: a session in ten days, moved by three after a reminder went out."""
    session = await stage.session(starts_in=10 * DAY, time_zone="Europe/Madrid", title="Sepsis")
    user = await stage.attendee(time_zone="America/New_York", locale="es")
    enrolled_at = stage.clock.now()
    move = Move(at=session.starts_at - 20 * HOUR, to=session.starts_at + 3 * DAY)
    script = Script(
        session=session,
        attendee=await stage.catalogue.user(user),
        rules=await RuleStore(stage.database).of_session(session.id),
        enrolled_at=enrolled_at,
        moves=(move,),
    )
    played = rehearse(script, mail_composer(settings))

    handle = await stage.enroll(session, user)
    await stage.wind_to(move.at, handle)
    await stage.gateway.put_session(replace(session, starts_at=move.to))
    await stage.wind_to(move.to, handle)
    rows = {r.id: r for r in await stage.ledger(session)}
    mails = {m["tags"]["reminder_id"]: m["subject"] for m in await stage.provider.accepted()}
    assert 4 == len(mails)
    assert {str(r.reminder.id): r.subject for r in played if r.subject} == mails
    assert len(rows) == len(played)
    for mine in (r.reminder for r in played):
        real = rows[mine.id]
        assert (mine.status, mine.reason) == (real.status, real.reason)
        assert (mine.due_at, mine.starts_at) == (real.due_at, real.starts_at)
        assert mine.sent_at is not None
        assert real.sent_at is not None
        assert abs(mine.sent_at - real.sent_at) < MINUTE


def test_any_day_of_the_calendar_can_be_rehearsed(settings: Settings) -> None:
    """Next year's session, enrolled for 90 minutes before it: one goes out, two come too late."""
    session = a_session(starts_in=400 * DAY)
    script = Script(
        session=session,
        attendee=an_attendee(),
        rules=tuple(the_rules()),
        enrolled_at=session.starts_at - 90 * MINUTE,
    )
    played = rehearse(script, mail_composer(settings))
    assert [("24h", 1, "past_due"), ("2h", 1, "past_due"), ("30min", 1, "sent")] == outcomes(played)
    (sent,) = [r.reminder for r in played if r.subject]
    assert sent.sent_at == session.starts_at - 30 * MINUTE


def test_a_session_brought_forward_skips_what_is_over_by_then(settings: Settings) -> None:
    """Moved from the day after tomorrow to in an hour: what waited is skipped but the last."""
    session = a_session(starts_in=2 * DAY)
    script = Script(
        session=session,
        attendee=an_attendee(),
        rules=tuple(the_rules()),
        enrolled_at=NOW,
        moves=(Move(at=NOW + HOUR, to=NOW + 2 * HOUR),),
    )
    played = rehearse(script, mail_composer(settings))
    assert [("24h", 1, "past_due"), ("2h", 1, "past_due"), ("30min", 1, "sent")] == outcomes(played)


def test_what_the_attendee_does_not_want_is_said(settings: Settings) -> None:
    """An opt-out from one kind of reminder is told as the reason."""
    script = Script(
        session=a_session(starts_in=2 * DAY),
        attendee=an_attendee(),
        rules=tuple(the_rules()),
        enrolled_at=NOW,
        stopped={"2h": StatusReason.OPTED_OUT},
    )
    played = rehearse(script, mail_composer(settings))
    assert [("24h", 1, "sent"), ("2h", 1, "opted_out"), ("30min", 1, "sent")] == outcomes(played)


async def test_a_large_session_s_move_is_rehearsed_with_the_time_that_its_notice_waits(
    stage: Stage,
) -> None:
    """As the planner reckons it, by how many are enrolled and how far apart they wake."""
    session = await stage.session(starts_in=10 * DAY)
    await stage.enroll(session)
    async with stage.database.transaction() as connection:
        await connection.execute(text("UPDATE reminder_installation SET wake_apart = '3 minutes'"))
    script, _ = await rehearsed(stage.parts, session.id)
    assert timedelta(minutes=4, seconds=30) == script.cooling
