"""Rules: what is acceptable, and what a change of one would do, before it is made."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.errors import InvalidInputError
from reminders.domain.model import Reminder, ReminderRule, ReminderStatus, StatusReason
from reminders.domain.plan import plan
from reminders.domain.revise import newest_of, revise
from reminders.domain.rules import Alike, Fate, RuleChange, RuleDiff, RuleFields, diff, with_fields
from tests.builders import NOW, SESSION, USER, a_reminder, a_rule, the_rules

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
A_WEEK = NOW + timedelta(days=7)


def compared(
    before: ReminderRule | None, after: ReminderRule | None, *recorded: Reminder, **fields: Any
) -> RuleDiff:
    """The diff of a change for seven people who are alike."""
    name = (before or after or a_rule()).reminder_type
    alike = Alike(
        session_id=SESSION,
        starts_at=fields.pop("starts_at", A_WEEK),
        people=7,
        user_id=USER,
        recorded=recorded,
        **fields,
    )
    change = RuleChange(reminder_type=name, session_id=None, before=before, after=after)
    return diff(change, [alike], now=NOW, threshold=HOUR, is_complete=True)


OFF = a_rule("24h", is_enabled=False)
LATER = a_rule("24h", lead=12 * HOUR)
WAITS = a_reminder("24h")
SENT = replace(WAITS, status=ReminderStatus.SENT)
CALLED_OFF = a_reminder(
    "2h", status=ReminderStatus.CANCELLED, reason=StatusReason.WORKFLOW_CANCELLED
)


@pytest.mark.parametrize(
    ("before", "after", "recorded", "fate"),
    [
        pytest.param(a_rule(), LATER, [WAITS], Fate.MOVED, id="lead"),
        pytest.param(a_rule(), OFF, [WAITS], Fate.SWITCHED_OFF, id="off"),
        pytest.param(a_rule(), None, [WAITS], Fate.SWITCHED_OFF, id="deleted"),
        pytest.param(None, a_rule("9h", lead=9 * HOUR), [WAITS], Fate.PLANNED, id="new"),
        pytest.param(None, a_rule("9d", lead=9 * 24 * HOUR), [WAITS], Fate.SKIPPED, id="new-past"),
        pytest.param(
            a_rule(), a_rule("24h", lead=9 * 24 * HOUR), [WAITS], Fate.SKIPPED, id="into-the-past"
        ),
        pytest.param(a_rule(), LATER, [SENT], Fate.ALREADY_SENT, id="sent"),
        pytest.param(a_rule(), OFF, [SENT], Fate.ALREADY_SENT, id="sent-then-off"),
        pytest.param(a_rule(), a_rule(), [WAITS], Fate.UNCHANGED, id="nothing"),
        pytest.param(
            None, a_rule("9h", lead=9 * HOUR), [CALLED_OFF], Fate.LEFT_ALONE, id="off-new"
        ),
        pytest.param(
            OFF,
            a_rule(),
            [replace(WAITS, status=ReminderStatus.SKIPPED, reason=StatusReason.RULE_DISABLED)],
            Fate.PLANNED,
            id="on-again",
        ),
    ],
)
def test_the_fate_of_a_reminder(
    before: ReminderRule | None, after: ReminderRule | None, recorded: list[Reminder], fate: Fate
) -> None:
    """Everybody who is alike is counted, under the one thing that the change does to them."""
    found = compared(before, after, *recorded)
    assert {fate: 7} == dict(found.total.fates)
    touched = fate in {Fate.MOVED, Fate.PLANNED, Fate.SKIPPED, Fate.SWITCHED_OFF}
    assert touched == bool(found.sessions)


def test_a_diff_says_from_when_to_when() -> None:
    """Moved reminders have the range of their instants before and after."""
    found = compared(a_rule(), LATER, WAITS)
    assert found.moved_from is not None
    assert found.moved_to is not None
    assert (A_WEEK - 24 * HOUR, A_WEEK - 12 * HOUR) == (
        found.moved_from.earliest, found.moved_to.latest
    )  # fmt: skip


def test_people_who_asked_for_nothing_are_left_alone() -> None:
    """A new rule is not counted as planned for who stopped their reminders."""
    found = compared(None, a_rule("9h", lead=9 * HOUR), is_stopped=True)
    assert {Fate.LEFT_ALONE: 7} == dict(found.total.fates)


@given(
    lead=st.integers(1, 14 * 24 * 60),
    was=st.integers(1, 14 * 24 * 60),
    is_enabled=st.booleans(),
    is_sent=st.booleans(),
)
def test_a_diff_is_what_the_planner_does(
    lead: int, was: int, is_enabled: bool, is_sent: bool
) -> None:
    """Whatever the change, the fate told beforehand is the row that planning writes."""
    before = a_rule("24h", lead=was * MINUTE)
    after = a_rule("24h", lead=lead * MINUTE, is_enabled=is_enabled)
    names: dict[str, Any] = {"session_id": SESSION, "user_id": USER, "starts_at": A_WEEK}
    rules = [*the_rules("2h", "30min")]
    options: dict[str, Any] = {**names, "threshold": HOUR, "enrolling": False}
    rows = revise(plan(A_WEEK, [before, *rules], now=NOW), [], **options).reminders
    if is_sent:
        rows = tuple(
            replace(r, status=ReminderStatus.SENT, reason=None) if r.reminder_type == "24h" else r
            for r in rows
        )
    (fate,) = compared(before, after, *rows).total.fates
    was_row = newest_of(rows)["24h"]
    row = newest_of(revise(plan(A_WEEK, [after, *rules], now=NOW), rows, **options).reminders)[
        "24h"
    ]
    assert {
        Fate.MOVED: row.due_at != was_row.due_at and row.generation == 1,
        Fate.PLANNED: row.generation == 2 and row.status is ReminderStatus.SCHEDULED,
        Fate.SKIPPED: row.reason is StatusReason.PAST_DUE and row != was_row,
        Fate.SWITCHED_OFF: row.reason is StatusReason.RULE_DISABLED,
        Fate.ALREADY_SENT: row == was_row and is_sent,
        Fate.UNCHANGED: row == was_row and not is_sent,
    }[fate]
    assert row.status is not ReminderStatus.SCHEDULED or row.due_at >= NOW


@pytest.mark.parametrize(
    ("name", "fields", "field"),
    [
        ("", {}, "reminder_type"),
        ("-24h", {}, "reminder_type"),
        ("é", {}, "reminder_type"),
        ("9h", {"lead": timedelta()}, "minutes_before"),
        ("9h", {"lead": timedelta(seconds=90)}, "minutes_before"),
        ("9h", {"lead": timedelta(days=366)}, "minutes_before"),
        ("9h", {"lead": None}, "minutes_before"),
        ("9h", {"subject_template": None}, "email_subject_template"),
        ("9h", {"display_name": " "}, "display_name"),
        ("9h", {"sort_order": 10_001}, "sort_order"),
    ],
)
def test_what_is_no_rule_is_refused(name: str, fields: dict[str, Any], field: str) -> None:
    """The error names the field and says what would do."""
    good: dict[str, Any] = {"lead": HOUR, "subject_template": "{session_title}"}
    with pytest.raises(InvalidInputError) as refused:
        with_fields(None, name, None, RuleFields(**{**good, **fields}))
    assert field == refused.value.field


def test_a_rule_of_one_session_begins_as_the_one_for_all() -> None:
    """What is not given is taken from the rule that counted so far."""
    session_id = UUID(int=7)
    own = with_fields(a_rule("24h"), "24h", session_id, RuleFields(is_enabled=False))
    assert replace(a_rule("24h"), is_enabled=False, session_id=session_id) == own


@pytest.mark.parametrize(
    ("kind", "moves"), [("24h", True), ("confirmed", True), ("moved", False), ("cancelled", False)]
)
def test_what_is_noted_beforehand_moves_with_its_rule(kind: str, moves: bool) -> None:
    """Nothing waits of a notice, but that somebody is not confirmed yet."""
    off, on = a_rule(kind, lead=HOUR, is_enabled=False), a_rule(kind, lead=HOUR)
    assert (
        moves
        == RuleChange(reminder_type=kind, session_id=None, before=off, after=on).moves_reminders
    )
    assert not RuleChange(
        reminder_type=kind, session_id=None, before=on, after=replace(on, sort_order=9)
    ).moves_reminders


@pytest.mark.parametrize("is_on", [True, False])
def test_another_lead_moves_reminders_while_the_rule_is_on(is_on: bool) -> None:
    """Of one that is off nobody waits."""
    rule = a_rule("24h", is_enabled=is_on)
    change = RuleChange(
        reminder_type="24h", session_id=None, before=rule, after=replace(rule, lead=HOUR)
    )
    assert is_on is change.moves_reminders


def test_the_preview_counts_why_reminders_would_be_skipped() -> None:
    """And from when to when the others would move."""
    rule = a_rule("2h")
    earlier = replace(rule, lead=8 * 24 * HOUR)
    counted = compared(rule, earlier, a_reminder("2h"))
    assert {StatusReason.PAST_DUE: 7} == dict(counted.total.skipped)
    spread = [
        Alike(
            session_id=SESSION,
            starts_at=starts_at,
            people=1,
            user_id=USER,
            recorded=(a_reminder("2h", starts_at=starts_at),),
        )
        for starts_at in (A_WEEK, A_WEEK + HOUR)
    ]
    change = RuleChange(
        reminder_type="2h", session_id=None, before=rule, after=replace(rule, lead=HOUR)
    )
    found = diff(change, spread, now=NOW, threshold=HOUR, is_complete=True)
    assert found.moved_to is not None
    assert (A_WEEK - HOUR, A_WEEK) == (found.moved_to.earliest, found.moved_to.latest)
    assert 2 == found.looked_at
