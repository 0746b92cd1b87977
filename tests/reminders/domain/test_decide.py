"""The decision at the moment of sending: what is true then counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.decide import (
    Close,
    Decision,
    Send,
    Settled,
    Wait,
    decide,
    moved_from,
    superseded_at,
)
from reminders.domain.model import (
    EnrollmentStatus,
    Notice,
    ReminderStatus,
    SessionStatus,
    StatusReason,
    Turn,
)
from tests.builders import NOW, a_reminder, a_rule, a_session, an_attendee, facts

HOUR = timedelta(hours=1)
MOVED = facts(
    reminder=a_reminder(Notice.MOVED, due_at=NOW, starts_at=NOW + HOUR, moved_from=NOW + 5 * HOUR),
    session=a_session(starts_in=HOUR),
    rule=a_rule(Notice.MOVED, lead=timedelta()),
    next_due_at=NOW + HOUR / 2,
)
"""A notice that it has moved, to the person who is to be told."""
CALLED_OFF = a_session(starts_in=HOUR, status=SessionStatus.CANCELLED)


def test_a_due_reminder_that_everybody_wants_is_sent() -> None:
    """Session ahead, attendee enrolled, rule on, lead reached: it goes out."""
    assert Send() == decide(facts(), now=NOW)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"session": None}, Close(ReminderStatus.CANCELLED, StatusReason.SESSION_DELETED)),
        (
            {"session": a_session(starts_in=24 * HOUR, status=SessionStatus.CANCELLED)},
            Close(ReminderStatus.CANCELLED, StatusReason.SESSION_CANCELLED),
        ),
        ({"attendee": None}, Close(ReminderStatus.CANCELLED, StatusReason.UNENROLLED)),
        ({"enrollment_status": None}, Close(ReminderStatus.CANCELLED, StatusReason.UNENROLLED)),
        (
            {"enrollment_status": EnrollmentStatus.CANCELLED},
            Close(ReminderStatus.CANCELLED, StatusReason.UNENROLLED),
        ),
        (
            {"enrollment_status": EnrollmentStatus.PENDING},
            Close(ReminderStatus.SKIPPED, StatusReason.UNCONFIRMED),
        ),
        (
            {"stopped": StatusReason.OPTED_OUT},
            Close(ReminderStatus.SKIPPED, StatusReason.OPTED_OUT),
        ),
        (
            {"stopped": StatusReason.ADDRESS_BOUNCED},
            Close(ReminderStatus.SKIPPED, StatusReason.ADDRESS_BOUNCED),
        ),
        (
            {"attendee": an_attendee(email=" ")},
            Close(ReminderStatus.SKIPPED, StatusReason.NO_ADDRESS),
        ),
        (
            {"attendee": an_attendee(email=""), "turn": Turn.THEIRS},
            Close(ReminderStatus.SKIPPED, StatusReason.NO_ADDRESS),
        ),
        (
            {"attendee": an_attendee(email=""), "session": a_session(starts_in=30 * HOUR)},
            Wait(NOW + 6 * HOUR, NOW + 30 * HOUR),
        ),
        ({"rule": None}, Close(ReminderStatus.SKIPPED, StatusReason.RULE_DISABLED)),
        (
            {"rule": a_rule(is_enabled=False)},
            Close(ReminderStatus.SKIPPED, StatusReason.RULE_DISABLED),
        ),
        (
            {"session": a_session(starts_in=-7 * 24 * HOUR)},
            Close(ReminderStatus.SKIPPED, StatusReason.SESSION_STARTED),
        ),
        (
            {"next_due_at": NOW - timedelta(minutes=1)},
            Close(ReminderStatus.SKIPPED, StatusReason.SUPERSEDED),
        ),
        (
            {"session": a_session(starts_in=30 * HOUR)},
            Wait(NOW + 6 * HOUR, NOW + 30 * HOUR),
        ),
        ({"rule": a_rule("24h", lead=12 * HOUR)}, Wait),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_changed_while_it_slept_is_respected(
    changed: dict[str, Any], expected: Decision | type[Decision]
) -> None:
    """Each change that nobody told the workflow of has its own outcome and reason."""
    decision = decide(facts(**changed), now=NOW)
    assert isinstance(decision, expected) if isinstance(expected, type) else expected == decision


def test_a_reminder_that_missed_its_own_session_has_expired() -> None:
    """Planned for this start and not sent before it: a failure, and called one."""
    late = facts().reminder.starts_at
    assert Close(ReminderStatus.FAILED, StatusReason.EXPIRED) == decide(facts(), now=late)


@pytest.mark.parametrize("status", [s for s in ReminderStatus if s is not ReminderStatus.SCHEDULED])
def test_what_has_ended_is_not_decided_again(status: ReminderStatus) -> None:
    """Only scheduled rows are decided; every other one is left as it is."""
    reminder = a_reminder("24h", status=status)
    assert Settled() == decide(facts(reminder=reminder), now=NOW)


@given(
    starts_in=st.timedeltas(timedelta(days=-2), timedelta(days=10)),
    lead=st.timedeltas(timedelta(minutes=1), timedelta(days=5)),
)
def test_nothing_is_sent_early_or_after_the_start(starts_in: timedelta, lead: timedelta) -> None:
    """`Send` implies start minus lead has been reached and the start has not."""
    session = a_session(starts_in=starts_in)
    decision = decide(facts(session=session, rule=a_rule(lead=lead), next_due_at=None), now=NOW)
    due_at: datetime = session.starts_at - lead
    assert isinstance(decision, Send) == (due_at <= NOW < session.starts_at)


def test_asked_for_once_more_it_goes_out_whatever_else_is_due() -> None:
    """Long after its own instant, and with a later reminder due: an operator wants it now."""
    asked = a_reminder("24h", starts_at=NOW + HOUR, due_at=NOW, requested_at=NOW)
    session = a_session(starts_in=HOUR)
    late = facts(reminder=asked, session=session, next_due_at=NOW)
    assert Send() == decide(late, now=NOW + timedelta(seconds=1))
    early = decide(late, now=NOW - timedelta(seconds=1))
    assert Wait(NOW, session.starts_at) == early


def test_moved_away_and_back_it_tells_nothing_new() -> None:
    """Told 12:00, planned again for 15:00, and 12:00 once more before the plan follows: no e-mail."""
    session = a_session(starts_in=23 * HOUR)
    elsewhere = a_reminder("24h", starts_at=NOW + 24 * HOUR, generation=2)
    told = facts(reminder=elsewhere, session=session, was_told=True)
    assert Close(ReminderStatus.SKIPPED, StatusReason.ALREADY_TOLD) == decide(told, now=NOW)
    assert Send() == decide(facts(reminder=elsewhere, session=session), now=NOW)
    asked = a_reminder("24h", starts_at=NOW + 24 * HOUR, due_at=NOW, requested_at=NOW)
    assert Send() == decide(facts(reminder=asked, session=session, was_told=True), now=NOW)
    planned = a_reminder("24h", starts_at=session.starts_at, generation=2)
    assert Send() == decide(facts(reminder=planned, session=session, was_told=True), now=NOW)


def test_asked_for_now_it_goes_out_before_its_instant() -> None:
    """A day ahead of start minus lead, for the start that was known; the start itself stays a bound."""
    asked = a_reminder("24h", starts_at=NOW + 48 * HOUR, due_at=NOW, requested_at=NOW)
    ahead = facts(reminder=asked, session=a_session(starts_in=48 * HOUR))
    assert Send() == decide(ahead, now=NOW)
    moved = facts(reminder=asked, session=a_session(starts_in=49 * HOUR))
    assert Wait(NOW + 25 * HOUR, NOW + 49 * HOUR) == decide(moved, now=NOW)


def test_asked_for_once_more_and_moved_it_waits_for_its_new_instant() -> None:
    """A session moved far away unannounced: start minus lead counts again."""
    asked = a_reminder("24h", starts_at=NOW + HOUR, due_at=NOW, requested_at=NOW)
    session = a_session(starts_in=timedelta(days=7))
    moved = decide(facts(reminder=asked, session=session, next_due_at=None), now=NOW)
    assert Wait(session.starts_at - 24 * HOUR, session.starts_at) == moved


def test_a_start_that_has_passed_is_no_move() -> None:
    """A weekly class that is kept in one row takes place, and is then set to next week."""
    week = timedelta(days=7)
    assert NOW + HOUR == moved_from(NOW + HOUR, NOW + week, now=NOW)
    assert moved_from(NOW + HOUR, NOW + HOUR + timedelta(microseconds=123_456), now=NOW) is None
    assert NOW + HOUR == moved_from(NOW + HOUR, NOW + HOUR + timedelta(minutes=1), now=NOW)
    for told in (NOW - timedelta(days=6), NOW, None, NOW + week):
        assert moved_from(told, NOW + week, now=NOW) is None


@pytest.mark.parametrize(
    ("changed", "status", "why"),
    [
        ({"session": None}, "cancelled", "session_deleted"),
        ({"session": CALLED_OFF}, "cancelled", "session_cancelled"),
        ({"attendee": None}, "cancelled", "unenrolled"),
        ({"enrollment_status": EnrollmentStatus.CANCELLED}, "cancelled", "unenrolled"),
        ({"enrollment_status": EnrollmentStatus.PENDING}, "skipped", "unconfirmed"),
        ({"stopped": StatusReason.OPTED_OUT}, "skipped", "opted_out"),
        ({"stopped": StatusReason.ADDRESS_BOUNCED}, "skipped", "address_bounced"),
        ({"stopped": StatusReason.SPAM_COMPLAINT}, "skipped", "spam_complaint"),
        ({"rule": None}, "skipped", "rule_disabled"),
        ({"session": a_session(starts_in=-HOUR)}, "skipped", "session_started"),
        ({"session": a_session(starts_in=5 * HOUR)}, "skipped", "taken_back"),
        ({"is_quiet": True}, "skipped", "untold"),
        ({"told_already": True}, "skipped", "already_told"),
        ({"next_due_at": NOW}, "skipped", "superseded"),
        ({"turn": Turn.THEIRS}, "skipped", "shadowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_a_notice_of_a_move_is_not_sent(changed: dict[str, Any], status: str, why: str) -> None:
    """Each reason that there is at the moment of sending; without one it goes out."""
    assert Send() == decide(MOVED, now=NOW)
    assert Close(ReminderStatus(status), StatusReason(why)) == decide(
        replace(MOVED, **changed), now=NOW
    )


def test_why_a_notice_of_a_cancellation_is_not_sent() -> None:
    """It takes place after all; or it has begun, and nobody could be told in time."""
    notice = replace(
        MOVED, reminder=replace(MOVED.reminder, reminder_type=Notice.CANCELLED), session=CALLED_OFF
    )
    assert Send() == decide(notice, now=NOW)
    untold = Close(ReminderStatus.SKIPPED, StatusReason.UNTOLD)
    assert untold == decide(replace(notice, is_quiet=True), now=NOW)
    asked_for = replace(notice, reminder=replace(notice.reminder, requested_at=NOW), is_quiet=True)
    assert Send() == decide(asked_for, now=NOW)
    held = replace(notice, session=a_session(starts_in=HOUR))
    assert Close(ReminderStatus.SKIPPED, StatusReason.TAKEN_BACK) == decide(held, now=NOW)
    assert Close(ReminderStatus.FAILED, StatusReason.EXPIRED) == decide(notice, now=NOW + HOUR)


@pytest.mark.parametrize(
    ("next_in", "apart"),
    [(HOUR, timedelta(minutes=1)), (timedelta(seconds=90), timedelta(seconds=45))],
)
def test_what_goes_out_now_is_not_repeated_shortly_before_the_next(
    next_in: timedelta, apart: timedelta
) -> None:
    """A minute, or half of what is left; the last one, or what was asked for, has no next."""
    late = facts(next_due_at=NOW + next_in)
    assert NOW + next_in - apart == superseded_at(late, now=NOW)
    assert superseded_at(replace(late, next_due_at=None), now=NOW) is None
    asked = replace(late, reminder=replace(late.reminder, requested_at=NOW))
    assert superseded_at(asked, now=NOW) is None
