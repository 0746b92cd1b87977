"""What an operator may have sent once more, or now, and why not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reminders.domain.errors import SendRefusedError
from reminders.domain.model import EnrollmentStatus, ReminderStatus, SessionStatus, StatusReason
from reminders.domain.resending import (
    Circumstances,
    Refusal,
    at_once,
    failed_ones,
    once_more,
    successor,
)
from tests.builders import NOW, a_reminder, a_rule, a_session

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEK = 7 * DAY
CANCELLED = a_session(status=SessionStatus.CANCELLED)
SENT = a_reminder(status=ReminderStatus.SENT)
WAITS = a_reminder()
OFF_BY_HAND = a_reminder(
    "2h", status=ReminderStatus.CANCELLED, reason=StatusReason.WORKFLOW_CANCELLED
)


def so(**changes: Any) -> Circumstances:
    """A week before the start, of somebody who takes part."""
    rule = a_rule(changes.pop("kind", "24h"))
    usual = {"session": a_session(), "enrollment": EnrollmentStatus.CONFIRMED, "rule": rule}
    return Circumstances(**{**usual, "stopped": None, "now": NOW, **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"session": CANCELLED}, Refusal.SESSION_CANCELLED),
        ({"now": NOW + WEEK}, Refusal.SESSION_STARTED),
        ({"enrollment": None}, Refusal.NOT_ENROLLED),
        ({"enrollment": EnrollmentStatus.PENDING}, Refusal.NOT_ENROLLED),
        ({"stopped": StatusReason.OPTED_OUT}, Refusal.STOPPED),
        ({"rule": None}, Refusal.RULE_OFF),
        ({"rule": a_rule(is_enabled=False)}, Refusal.RULE_OFF),
    ],
)
def test_what_nobody_is_to_get_is_refused(changes: dict[str, Any], why: Refusal) -> None:
    """Once more and now alike."""
    for row, ask in ((SENT, once_more), (WAITS, at_once)):
        with pytest.raises(SendRefusedError) as refused:
            ask(row, [row], so(**changes))
        assert why == refused.value.why


def test_a_notice_is_sent_once_more_only_while_it_is_true() -> None:
    """That of a cancellation while the session is cancelled; any other while it takes place."""
    cancelled, moved = (replace(SENT, reminder_type=kind) for kind in ("cancelled", "moved"))
    rule = a_rule("cancelled", lead=timedelta())
    assert NOW == once_more(cancelled, [cancelled], so(session=CANCELLED, rule=rule)).due_at
    assert NOW == once_more(moved, [moved], so(rule=replace(rule, reminder_type="moved"))).due_at
    for row, where in ((cancelled, so(rule=rule)), (moved, so(session=CANCELLED, rule=rule))):
        with pytest.raises(SendRefusedError):
            once_more(row, [row], where)


def test_once_more_it_is_the_next_generation_at_its_instant_or_now() -> None:
    """What is due later is an ordinary reminder; what is over is asked for."""
    ahead = once_more(SENT, [SENT], so())
    assert (2, NOW + 6 * DAY, None) == (ahead.generation, ahead.due_at, ahead.requested_at)
    late = once_more(SENT, [SENT], so(now=NOW + 6 * DAY + HOUR))
    assert (NOW + 6 * DAY + HOUR,) * 2 == (late.due_at, late.requested_at)
    assert ahead is successor(SENT, [SENT, ahead])
    assert successor(ahead, [SENT, ahead]) is None


@pytest.mark.parametrize(
    ("row", "ask", "why"),
    [
        (WAITS, once_more, Refusal.STILL_WAITS),
        (a_reminder(status=ReminderStatus.SENDING), once_more, Refusal.IN_FLIGHT),
        (SENT, at_once, Refusal.ENDED),
    ],
)
def test_what_has_not_ended_or_has_is_asked_for_otherwise(row: Any, ask: Any, why: Refusal) -> None:
    """The message says how."""
    with pytest.raises(SendRefusedError) as refused:
        ask(row, [row], so())
    assert why == refused.value.why


def test_who_was_called_off_by_hand_is_sent_nothing() -> None:
    """Whichever reminder is asked for."""
    for row, ask in ((SENT, once_more), (WAITS, at_once)):
        with pytest.raises(SendRefusedError) as refused:
            ask(row, [row, OFF_BY_HAND], so())
        assert Refusal.CALLED_OFF == refused.value.why


def test_now_it_is_due_now_and_tells_the_start_that_counts() -> None:
    """Asked twice, it stays as it is."""
    moved = so(session=a_session(starts_in=8 * DAY))
    asked = at_once(WAITS, [WAITS], moved)
    assert (NOW, NOW, NOW + 8 * DAY) == (asked.due_at, asked.requested_at, asked.starts_at)
    assert asked is at_once(asked, [asked], moved)
    due = replace(WAITS, due_at=NOW)
    assert due is at_once(due, [due], so())
    assert NOW + 8 * DAY == at_once(due, [due], moved).starts_at
    for done in (
        replace(asked, status=ReminderStatus.SENT),
        replace(WAITS, status=ReminderStatus.SENDING),
    ):
        assert done is at_once(done, [done], so())


def test_of_what_failed_the_latest_is_sent() -> None:
    """Unless a later one serves; what may have been accepted is left to a person."""
    failed = ReminderStatus.FAILED
    day, two, half = (a_reminder(kind, status=failed) for kind in ("24h", "2h", "30min"))
    assert (half, (Refusal.SUPERSEDED,) * 2) == failed_ones([day, two, half], now=NOW)
    assert (two, (Refusal.SUPERSEDED,)) == failed_ones([day, two, half], now=NOW, refused={half.id})
    waits = replace(half, status=ReminderStatus.SCHEDULED)
    assert (two, (Refusal.SUPERSEDED,)) == failed_ones([day, two, waits], now=NOW)
    for serves, now in ((waits, waits.due_at), (replace(half, status=ReminderStatus.SENT), NOW)):
        assert (None, (Refusal.SUPERSEDED,) * 2) == failed_ones([day, two, serves], now=now)
    unknown = replace(half, reason=StatusReason.OUTCOME_UNKNOWN)
    assert (two, (Refusal.OUTCOME_UNKNOWN, Refusal.SUPERSEDED)) == failed_ones(
        [day, two, unknown], now=NOW
    )
