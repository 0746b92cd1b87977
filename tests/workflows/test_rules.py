"""Rules change while everybody sleeps, on the real server: whom it reaches, and whom it does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from temporalio.client import WorkflowFailureError

from reminders.db.audit import Action, AuditLog, By
from reminders.domain.errors import SameLeadError, TemporalUnavailableError
from reminders.domain.model import Session, StatusReason
from reminders.domain.rules import Fate, RuleFields
from starter.gateway import ReminderGateway
from starter.services.rules import RuleReceipt
from tests.stage import PATIENCE, Handle, Stage, eventually
from tests.workflows.crowd import enrolled

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MANY_SESSIONS = """
INSERT INTO sessions (id, title, start_time)
SELECT gen_random_uuid(), 'T', now() + n * interval '1 hour' FROM generate_series(30, 53) n
"""
ONE_PERSON = "INSERT INTO users (id, email) VALUES (gen_random_uuid(), 'ana@hospital.example')"
IN_ALL_OF_THEM = """
INSERT INTO enrollments (session_id, user_id) SELECT s.id, u.id FROM sessions s CROSS JOIN users u
"""
ON, OFF = RuleFields(is_enabled=True), RuleFields(is_enabled=False)


async def changed(stage: Stage, reminder_type: str, fields: RuleFields, **more: Any) -> RuleReceipt:
    """A rule changed by an operator, and everybody told."""
    receipt = await stage.rules.change(
        reminder_type, more.get("session_id"), fields, by=By("test"), wait=PATIENCE
    )
    assert receipt.counts is not None
    return receipt


async def only(stage: Stage, reminder_type: str) -> None:
    """Switch the other rules off."""
    for other in {"24h", "2h", "30min"} - {reminder_type}:
        await changed(stage, other, OFF)


async def mails(stage: Stage) -> int:
    """How many e-mails the provider accepted."""
    return len(await stage.provider.accepted())


async def generations(stage: Stage, session: Session, reminder_type: str = "24h") -> list[int]:
    """The generations of a session's reminder that were sent."""
    rows = await stage.ledger(session)
    return sorted(r.generation for r in rows if r.reminder_type == reminder_type and r.sent_at)


async def test_a_rule_edited_switched_off_and_on_mails_once(stage: Stage) -> None:
    """Failure 5: 24 h becomes 12 h, off, on: each of three gets exactly one, at 12 h."""
    await only(stage, "24h")
    session = await stage.session(starts_in=30 * HOUR)
    users = await enrolled(stage, session, 3)
    moved = await changed(stage, "24h", RuleFields(lead=12 * HOUR))
    assert moved.counts is not None
    assert (1, 3, 3) == (moved.sessions, moved.counts.enrollments, moved.counts.replanned)
    await changed(stage, "24h", OFF)
    assert "skipped: rule_disabled" == (await stage.statuses(session))["24h"]
    await changed(stage, "24h", ON)
    handles = [stage.handle(session, user) for user in users]
    await stage.forward(18 * HOUR - MINUTE, *handles)
    assert 0 == await mails(stage)
    await stage.forward(2 * MINUTE, *handles)
    await stage.forward(13 * HOUR, *handles)
    assert 3 == len({tuple(mail["to"]) for mail in await stage.provider.accepted()})
    assert 3 == await mails(stage)
    sent = [r for r in await stage.ledger(session) if r.sent_at is not None]
    assert {(2, session.starts_at - 12 * HOUR)} == {(r.generation, r.due_at) for r in sent}


async def test_a_rule_for_what_is_past_mails_nobody_and_says_so_before(stage: Stage) -> None:
    """A dozen enrolled for tomorrow, a rule "2 days before": zero, as the diff said."""
    session = await stage.session(starts_in=25 * HOUR)
    users = await enrolled(stage, session, 12)
    fields = RuleFields(lead=2 * DAY, subject_template="{session_title} in two days")
    said = await stage.rules.diff("48h", None, fields)
    assert (12, True) == (said.looked_at, said.is_complete)
    assert {Fate.SKIPPED: 12} == dict(said.total.fates)
    assert {StatusReason.PAST_DUE: 12} == dict(said.total.skipped)
    assert not any(r.reminder_type == "48h" for r in await stage.ledger(session))
    done = await stage.rules.add("48h", None, fields, by=By("test"), wait=PATIENCE)
    assert done.counts is not None
    assert 12 == done.counts.replanned
    for user in users[:3]:
        await stage.forward(MINUTE, stage.handle(session, user))
    rows = [r for r in await stage.ledger(session) if r.reminder_type == "48h"]
    assert 12 == len(rows)
    assert {StatusReason.PAST_DUE} == {r.reason for r in rows}
    assert 0 == await mails(stage)


@pytest.mark.parametrize(
    ("moved_by", "sent", "says_moved"),
    [(7 * DAY, [1, 2], False), (2 * HOUR, [1, 2], True), (10 * MINUTE, [1], False)],
    ids=["a-week", "two-hours", "ten-minutes"],
)
async def test_moved_after_it_was_reminded(
    stage: Stage, moved_by: timedelta, sent: list[int], says_moved: bool
) -> None:
    """24 h sent, moved far: one more, generation 2; a small shift: none.

    It says from when, unless the start that was told has passed by then, as that of a weekly class.
    """
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await stage.forward(61 * MINUTE, handle)
    assert [1] == await generations(stage, session)
    moved = replace(session, starts_at=session.starts_at + moved_by)
    await stage.gateway.put_session(moved, wait=PATIENCE)
    await stage.forward(moved_by + HOUR, handle)
    assert sent == await generations(stage, session)
    texts = [mail["text"] for mail in await stage.provider.accepted(bodies=True)]
    assert [False, says_moved][: len(sent)] == ["Moved from:" in text for text in texts]


async def test_a_changed_lead_does_not_resend_what_was_sent(stage: Stage) -> None:
    """What went out stays, whatever lead its rule gets; what waits moves, both ways."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await stage.forward(61 * MINUTE, handle)
    said = await stage.rules.diff("24h", None, RuleFields(lead=20 * HOUR))
    assert {Fate.ALREADY_SENT: 1} == dict(said.total.fates)
    await changed(stage, "24h", RuleFields(lead=20 * HOUR))
    await changed(stage, "2h", RuleFields(lead=3 * HOUR))
    await stage.forward(20 * HOUR + 58 * MINUTE, handle)
    assert 1 == await mails(stage)
    await stage.forward(2 * MINUTE, handle)
    assert 2 == await mails(stage)


async def test_one_session_has_a_rule_of_its_own(stage: Stage) -> None:
    """Another lead and another subject there, none elsewhere, and the rule for all stays away."""
    special, usual = (
        await stage.session(starts_in=25 * HOUR, title="Special"),
        await stage.session(starts_in=25 * HOUR, title="Usual"),
    )
    there, elsewhere = await stage.enroll(special), await stage.enroll(usual)
    own = RuleFields(lead=23 * HOUR, subject_template="Own: {session_title}")
    receipt = await changed(stage, "24h", own, session_id=special.id)
    assert 1 == receipt.sessions
    await changed(stage, "2h", OFF, session_id=special.id)
    await stage.rules.add(
        "3h", special.id, replace(own, lead=3 * HOUR), by=By("test"), wait=PATIENCE
    )
    await stage.forward(HOUR + MINUTE, there, elsewhere)
    assert ["Usual"] == [m["subject"][10:15] for m in await stage.provider.accepted()]
    assert 1 == (await changed(stage, "24h", RuleFields(lead=22 * HOUR))).sessions
    await stage.forward(HOUR, there, elsewhere)
    assert "Own: Special" == (await stage.provider.accepted())[-1]["subject"]
    await stage.forward(23 * HOUR, there, elsewhere)
    assert {"24h": "sent", "3h": "sent", "2h": "skipped: rule_disabled", "30min": "sent"} == (
        await stage.statuses(special)
    )
    assert {"24h": "sent", "2h": "sent", "30min": "sent"} == await stage.statuses(usual)


async def test_a_session_without_its_own_rule_again(stage: Stage) -> None:
    """Deleted, the session's own rule gives way to the one for all."""
    session = await stage.session(starts_in=30 * HOUR)
    await stage.enroll(session)
    await changed(stage, "24h", OFF, session_id=session.id)
    done = await stage.rules.delete("24h", session.id, by=By("test"), wait=PATIENCE)
    assert done.change.after is not None
    assert (None, True) == (done.change.after.session_id, done.change.after.is_enabled)
    rows = [r for r in await stage.ledger(session) if r.reminder_type == "24h"]
    assert [(1, "skipped"), (2, "scheduled")] == sorted((r.generation, r.status) for r in rows)


async def test_nobody_who_was_called_off_is_revived_by_rules_and_moves(stage: Stage) -> None:
    """Failures 2, 18: unenrolled or cancelled by hand, no rule, move or sweep brings them back."""
    session = await stage.session(starts_in=50 * HOUR)
    unenrolled, by_hand, stays = [await stage.enroll(session) for _ in range(3)]
    await stage.forward(26 * HOUR + MINUTE, stays, by_hand)
    assert 2 == await mails(stage)
    await stage.gateway.unenroll(session.id, of(unenrolled))
    await by_hand.cancel()
    for handle in (unenrolled, by_hand):
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    moved = replace(session, starts_at=session.starts_at + 7 * DAY)
    for _ in range(2):
        await changed(stage, "2h", OFF)
        await changed(stage, "2h", ON)
        await changed(stage, "1h", ON)
        await stage.gateway.put_session(moved, wait=PATIENCE)
        await stage.sweep()
    user = of(by_hand)
    assert {
        "24h": "sent",
        "2h": "cancelled: workflow_cancelled",
        "30min": "cancelled: workflow_cancelled",
    } == await stage.statuses(session, user)
    await stage.forward(9 * DAY, stays)
    assert 2 + 4 == await mails(stage)
    assert 1 == len([r for r in await stage.ledger(session, user) if r.sent_at])


async def test_whoever_is_enrolled_anew_follows_moves_again(stage: Stage) -> None:
    """Called off, enrolled anew too late for anything: a later move reminds them once more."""
    session = await stage.session(starts_in=25 * HOUR)
    user = await stage.attendee()
    handle = await stage.enroll(session, user)
    await stage.gateway.unenroll(session.id, user)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    stage.clock.set(session.starts_at - 10 * MINUTE)
    again = await stage.gateway.enroll(session.id, user)
    assert {StatusReason.PAST_DUE} == {r.reason for r in again.reminders}
    assert not (await stage.gateway.enroll(session.id, user)).created
    moved = replace(session, starts_at=session.starts_at + 7 * DAY)
    await stage.gateway.put_session(moved, wait=PATIENCE)
    assert {"scheduled"} == set((await stage.statuses(session, user)).values())


async def test_a_rule_for_a_session_of_last_week(stage: Stage) -> None:
    """Failure 12: moved to last week, and then rules change: zero, `skipped: session_started`."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    past = replace(session, starts_at=session.starts_at - 8 * DAY)
    await stage.gateway.put_session(past, wait=PATIENCE)
    assert 0 == (await changed(stage, "24h", RuleFields(lead=12 * HOUR))).sessions
    await changed(stage, "1h", ON)
    await stage.gateway.session_changed(session.id, wait=PATIENCE)
    await handle.result()
    assert {"skipped: session_started"} == set((await stage.statuses(session)).values())
    assert 0 == await mails(stage)


async def test_a_process_that_dies_before_telling_anybody_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule is stored; nobody was told; the sweep finds everybody, and the old instant is dead."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)

    async def away(*_: Any, **__: Any) -> Any:
        raise TemporalUnavailableError

    with monkeypatch.context() as broken:
        broken.setattr(ReminderGateway, "replan", away)
        receipt = await stage.rules.change(
            "24h", None, RuleFields(lead=20 * HOUR), by=By("test"), wait=PATIENCE
        )
        assert (1, 0, None) == (receipt.sessions, receipt.begun, receipt.counts)
        await stage.rules.add(
            "5h",
            None,
            RuleFields(lead=5 * HOUR, subject_template="{session_title}"),
            by=By("test"),
            wait=PATIENCE,
        )
    await stage.forward(HOUR + MINUTE, handle)
    assert 0 == await mails(stage)
    assert 1 == (await stage.sweep()).processed
    plan = await stage.plan(handle)
    assert {"24h": 20 * HOUR, "5h": 5 * HOUR, "2h": 2 * HOUR, "30min": HOUR / 2} == {
        r.reminder_type: plan.starts_at - r.due_at for r in plan.reminders
    }


async def test_many_sessions_do_not_hold_a_caller_up(stage: Stage) -> None:
    """The call returns in time and says how far it is; without a worker nothing is lost."""
    async with stage.database.transaction() as connection:
        for statement in (MANY_SESSIONS, ONE_PERSON, IN_ALL_OF_THEM):
            await connection.execute(text(statement))
    await stage.stop_worker()
    receipt = await stage.rules.change(
        "24h", None, RuleFields(lead=20 * HOUR), by=By("test"), wait=timedelta(milliseconds=50)
    )
    assert (24, None) == (receipt.sessions, receipt.counts)
    assert receipt.begun < 24
    await stage.rules.all_reached()
    assert 24 == receipt.begun
    await stage.start_worker()

    async def planned() -> bool:
        async with stage.database.autocommit() as connection:
            rows = await connection.scalar(
                text("SELECT count(*) FROM session_reminder_emails WHERE email_status='scheduled'")
            )
        return bool(rows == 72)

    await eventually(planned, within=PATIENCE)


async def test_two_rules_are_never_due_at_one_instant(stage: Stage) -> None:
    """Refused when it is stored, and beforehand by the diff; nothing is changed."""
    session = await stage.session(starts_in=25 * HOUR)
    for ask in (stage.rules.diff("24h", None, RuleFields(lead=2 * HOUR)),
                changed(stage, "24h", RuleFields(lead=2 * HOUR)),
                changed(stage, "1h", RuleFields(lead=2 * HOUR, is_enabled=True),
                        session_id=session.id)):  # fmt: skip
        with pytest.raises(SameLeadError, match="'2h'"):
            await ask
    await changed(stage, "2h", OFF, session_id=session.id)
    await changed(stage, "1h", RuleFields(lead=2 * HOUR, is_enabled=True), session_id=session.id)
    leads = {r.reminder_type: r.lead for r in await stage.rules.of_session(None)}
    assert (24 * HOUR, HOUR) == (leads["24h"], leads["1h"])


async def test_every_change_has_its_entry(stage: Stage) -> None:
    """Who, what before and after, and why; the repetition of a call adds none."""
    await changed(stage, "24h", OFF)
    await changed(stage, "24h", OFF)
    await stage.rules.delete("24h", None, by=By("test", "no longer wanted"))
    deleted, switched = await AuditLog(stage.database).entries()
    assert (Action.RULE_DELETED, "test", "no longer wanted") == (
        deleted.action, deleted.actor, deleted.reason
    )  # fmt: skip
    assert Action.RULE_CHANGED is switched.action
    assert (True, False) == tuple(
        switched.details[name]["is_enabled"] for name in ("before", "after")
    )


def of(handle: Handle) -> UUID:
    """The user whose enrollment it is."""
    return UUID(handle.id.rpartition(":")[2])
