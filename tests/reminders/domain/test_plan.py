"""Planning: which reminders an enrollment gets, and what changes do to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.errors import InvalidInputError, NaiveInstantError
from reminders.domain.model import Reminder, ReminderRule, ReminderStatus, StatusReason
from reminders.domain.plan import DueReminder, plan, withheld
from reminders.domain.revise import Revision, call_off, is_called_off, revise
from tests.builders import NOW, SESSION, USER, a_reminder, a_rule, the_rules

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
instants = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.timezones(),
)
leads = st.lists(st.integers(min_value=1, max_value=60 * 24 * 60), max_size=6, unique=True).map(
    lambda minutes: [a_rule(f"{m}m", lead=timedelta(minutes=m)) for m in minutes]
)


def revised(recorded: list[Reminder], starts_at: datetime, **options: bool) -> Revision:
    """A revision of recorded rows for the default rules at `NOW`."""
    return revise(
        plan(starts_at, the_rules(), now=NOW),
        recorded,
        session_id=SESSION,
        user_id=USER,
        starts_at=starts_at,
        threshold=HOUR,
        enrolling=options.get("enrolling", False),
    )


def kinds(planned: tuple[DueReminder, ...]) -> dict[str, str]:
    """Reminder type to status or reason."""
    return {p.reminder_type: str(p.reason or p.status) for p in planned}


def test_a_lead_longer_than_the_calendar_spoils_no_other_rule() -> None:
    """A rule that somebody mistyped by thousands of years is past due; the others are planned."""
    mistyped = a_rule("typo", lead=timedelta(minutes=2**31 - 1))
    planned = plan(NOW + timedelta(days=7), [*the_rules(), mistyped], now=NOW)
    assert kinds(planned) == {
        "typo": "past_due",
        "24h": "scheduled",
        "2h": "scheduled",
        "30min": "scheduled",
    }
    assert planned[0].due_at.astimezone(ZoneInfo("Pacific/Honolulu")).year == 1


def test_a_week_ahead_everything_is_scheduled() -> None:
    """Every enabled rule gives one reminder, one lead before the start, earliest first."""
    starts_at = NOW + timedelta(days=7)
    planned = plan(starts_at, [*the_rules(), a_rule("1h", is_enabled=False)], now=NOW)
    assert [("24h", 24 * HOUR), ("2h", 2 * HOUR), ("30min", HOUR / 2)] == [
        (p.reminder_type, starts_at - p.due_at) for p in planned
    ]
    assert {ReminderStatus.SCHEDULED} == {p.status for p in planned}


def test_late_sign_up_gets_only_what_lies_ahead() -> None:
    """Ninety minutes before the start, the 24 h and 2 h reminders are skipped, not sent late."""
    planned = plan(NOW + timedelta(minutes=90), the_rules(), now=NOW)
    assert {"24h": "past_due", "2h": "past_due", "30min": "scheduled"} == kinds(planned)


def test_a_session_in_the_past_reminds_nobody() -> None:
    """Every reminder of a session that has begun is skipped, with that reason."""
    planned = plan(NOW - timedelta(days=7), the_rules(), now=NOW)
    assert {"session_started"} == set(kinds(planned).values())


def test_a_reminder_due_this_very_instant_is_scheduled() -> None:
    """The due instant itself is not past."""
    planned = plan(NOW + 2 * HOUR, the_rules("2h"), now=NOW)
    assert {"2h": "scheduled"} == kinds(planned)


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        pytest.param("America/New_York", datetime(2026, 3, 8, 9, 0), id="spring-forward"),  # noqa: DTZ001
        pytest.param("America/New_York", datetime(2026, 11, 1, 9, 0), id="fall-back"),  # noqa: DTZ001
        pytest.param("Australia/Lord_Howe", datetime(2026, 4, 5, 9, 0), id="half-hour-shift"),  # noqa: DTZ001
        pytest.param("Europe/Berlin", datetime(2026, 10, 25, 2, 30, fold=1), id="fold"),  # noqa: DTZ001
    ],
)
def test_leads_are_elapsed_time_across_clock_changes(zone: str, start: datetime) -> None:
    """A 24 h reminder is due 24 elapsed hours before the start, whatever the clocks do."""
    starts_at = start.replace(tzinfo=ZoneInfo(zone))
    (planned,) = plan(starts_at, the_rules("24h"), now=datetime(2026, 1, 1, tzinfo=UTC))
    assert starts_at.astimezone(UTC) - planned.due_at == 24 * HOUR


@given(starts_at=instants, now=instants, rules=leads)
def test_plans_are_ordered_bounded_and_never_in_the_past(
    starts_at: datetime, now: datetime, rules: list[ReminderRule]
) -> None:
    """Due instants ascend, precede the start by the lead, and what is scheduled lies ahead."""
    planned = plan(starts_at, rules, now=now)
    start = starts_at.astimezone(UTC)
    assert len(rules) == len(planned)
    assert [p.due_at for p in planned] == sorted(start - r.lead for r in rules)
    for item in planned:
        assert item.due_at < start
        assert (item.status is ReminderStatus.SCHEDULED) == (item.due_at >= now and start > now)
        assert (item.reason is None) == (item.status is ReminderStatus.SCHEDULED)


def test_naive_instants_are_refused_by_name() -> None:
    """An instant without a zone is an error that names it."""
    with pytest.raises(NaiveInstantError, match="starts_at"):
        plan(datetime(2026, 12, 1), the_rules(), now=NOW)  # noqa: DTZ001


def test_a_lead_must_be_positive() -> None:
    """A reminder after the start is refused."""
    with pytest.raises(InvalidInputError, match="'0m' must be positive"):
        plan(NOW, [a_rule("0m", lead=timedelta())], now=NOW)


def test_planning_twice_changes_nothing() -> None:
    """The second revision of the same plan is empty, and rows keep their ids."""
    starts_at = NOW + timedelta(days=7)
    first = revised([], starts_at)
    second = revised(list(first.added), starts_at, enrolling=True)
    assert (3, True) == (len(first.added), second.is_empty)
    assert first.reminders == second.reminders


def test_a_move_takes_waiting_reminders_along() -> None:
    """Rows that wait keep their identity and get the new instants."""
    before = revised([], NOW + timedelta(days=7))
    after = revised(list(before.added), NOW + timedelta(days=9))
    assert [r.id for r in before.reminders] == [r.id for r in after.reminders]
    assert {timedelta(days=2)} == {
        a.due_at - b.due_at for a, b in zip(after.reminders, before.reminders, strict=True)
    }


def test_what_waits_beyond_its_instant_is_late_wherever_the_session_moves() -> None:
    """It was to go out before, and is still to: its delivery decides, and not a move by a minute."""
    late = a_reminder("24h", due_at=NOW - 2 * MINUTE, starts_at=NOW + 24 * HOUR - 2 * MINUTE)
    revision = revised([late], NOW + 24 * HOUR - MINUTE)
    (row,) = revision.changed
    assert (ReminderStatus.SCHEDULED, NOW - MINUTE) == (row.status, row.due_at)


def test_a_move_closer_skips_what_is_past_due_now() -> None:
    """What the move put into the past is skipped, not sent late."""
    before = revised([], NOW + timedelta(days=7))
    after = revised(list(before.added), NOW + 3 * HOUR)
    assert {"24h": StatusReason.PAST_DUE, "2h": None, "30min": None} == {
        r.reminder_type: r.reason for r in after.reminders
    }


@pytest.mark.parametrize(
    ("moved_by", "generations"),
    [(timedelta(minutes=10), [1]), (timedelta(hours=1), [1]), (timedelta(days=7), [2])],
    ids=["a-little", "the-threshold", "a-week"],
)
@pytest.mark.parametrize("status", [ReminderStatus.SENT, ReminderStatus.FAILED])
def test_a_sent_reminder_goes_out_again_only_after_a_far_move(
    status: ReminderStatus, moved_by: timedelta, generations: list[int]
) -> None:
    """A second generation needs a move beyond the threshold, and an instant that lies ahead."""
    starts_at = NOW + 25 * HOUR
    ended = a_reminder("24h", starts_at=starts_at, status=status)
    again = revised([ended], starts_at + moved_by)
    assert generations == [r.generation for r in again.reminders if r.reminder_type == "24h"]


@pytest.mark.parametrize(
    ("reason", "enrolling", "generation"),
    [
        (StatusReason.UNENROLLED, True, 2),
        (StatusReason.UNENROLLED, False, 2),
        (StatusReason.WORKFLOW_CANCELLED, True, 2),
        (StatusReason.WORKFLOW_CANCELLED, False, 1),
        (StatusReason.SESSION_CANCELLED, False, 2),
    ],
)
def test_cancelled_reminders_come_back_only_when_asked_for(
    reason: StatusReason, enrolling: bool, generation: int
) -> None:
    """By hand, it lasts until they enroll again; by the tables, until these say otherwise."""
    rows = [
        a_reminder(kind, status=ReminderStatus.CANCELLED, reason=reason)
        for kind in ("24h", "2h", "30min")
    ]
    again = revised(rows, NOW + timedelta(days=7), enrolling=enrolling)
    assert {generation} == {r.generation for r in again.reminders}


def test_a_new_rule_does_not_revive_a_cancelled_enrollment() -> None:
    """Once called off, an enrollment gets no reminder of a rule that came later."""
    off = a_reminder("24h", status=ReminderStatus.CANCELLED, reason=StatusReason.WORKFLOW_CANCELLED)
    after = revised([off], NOW + timedelta(days=7))
    assert after.is_empty
    assert (off,) == after.unchanged


def test_a_move_does_not_revive_a_cancelled_enrollment() -> None:
    """What was sent before the cancel is not sent once more for another start."""
    sent = a_reminder("24h", status=ReminderStatus.SENT)
    off = a_reminder("2h", status=ReminderStatus.CANCELLED, reason=StatusReason.WORKFLOW_CANCELLED)
    assert revised([sent, off], NOW + timedelta(days=9)).is_empty


def test_enrolling_again_leaves_nothing_called_off() -> None:
    """Also what is too late, or has no rule now, is no longer cancelled: a move may bring it back."""
    reason = StatusReason.WORKFLOW_CANCELLED
    rows = [
        a_reminder(kind, status=ReminderStatus.CANCELLED, reason=reason)
        for kind in ("24h", "2h", "30min", "3h")
    ]
    starts_at = NOW + timedelta(hours=5)
    again = revised(rows, starts_at, enrolling=True)
    assert {"24h": "past_due", "2h": None, "30min": None, "3h": "rule_disabled"} == {
        r.reminder_type: r.reason for r in again.added
    }
    assert revised(list(again.added), starts_at, enrolling=True).is_empty
    moved = revised(list(again.added), NOW + timedelta(days=3)).reminders
    assert {"24h", "2h", "30min"} == {r.reminder_type for r in moved if r.status.is_pending}


@pytest.mark.parametrize(
    ("back_to", "status"),
    [
        (0, "skipped: already_told"),
        (50, "skipped: already_told"),
        (60, "skipped: already_told"),
        (70, "scheduled"),
    ],
)
def test_moved_away_and_nearly_back_tells_nothing_twice(back_to: int, status: str) -> None:
    """The second e-mail is for another start; without one it is not sent."""
    starts_at = NOW + timedelta(hours=26)
    sent = a_reminder("24h", starts_at=starts_at, status=ReminderStatus.SENT)
    (away,) = [
        r for r in revised([sent], starts_at + timedelta(hours=5)).added if r.generation == 2
    ]
    back = revised([sent, away], starts_at + timedelta(minutes=back_to))
    (again,) = [r for r in back.reminders if r.reminder_type == "24h"]
    assert status == (f"{again.status}: {again.reason}" if again.reason else again.status)
    assert revised([sent, *back.reminders], starts_at + timedelta(minutes=back_to)).is_empty


def test_a_rule_switched_off_skips_what_waits_and_keeps_what_was_sent() -> None:
    """Rows whose rule is gone end as `rule_disabled`, unless they have ended already."""
    waits = a_reminder("1h")
    sent = a_reminder("3h", status=ReminderStatus.SENT)
    after = {r.reminder_type: r for r in revised([waits, sent], NOW + timedelta(days=7)).reminders}
    assert StatusReason.RULE_DISABLED is after["1h"].reason
    assert sent == after["3h"]


def test_what_is_being_sent_is_left_alone() -> None:
    """A move does not touch a row that is frozen in a request."""
    frozen = a_reminder("24h", status=ReminderStatus.SENDING)
    after = revised([frozen], NOW + timedelta(days=9))
    assert frozen in after.unchanged


def test_calling_off_ends_only_what_waits() -> None:
    """Scheduled rows are cancelled; sent and frozen ones keep their status."""
    rows = [
        a_reminder("24h", status=ReminderStatus.SENT),
        a_reminder("2h", status=ReminderStatus.SENDING),
        a_reminder("30min"),
    ]
    after = call_off(rows, StatusReason.UNENROLLED)
    assert ["30min"] == [r.reminder_type for r in after.changed]
    assert ["24h", "2h"] == [r.reminder_type for r in after.unchanged]
    assert {ReminderStatus.CANCELLED} == {r.status for r in after.changed}


@given(
    starts_at=instants,
    moves=st.lists(st.timedeltas(timedelta(days=-30), timedelta(days=30)), max_size=5),
    data=st.data(),
)
def test_no_history_of_moves_schedules_a_reminder_for_the_past(
    starts_at: datetime, moves: list[timedelta], data: st.DataObject
) -> None:
    """Whatever ended and moved before, scheduled rows lie ahead, one a type, generations ascend."""
    recorded: dict[UUID, Reminder] = {}
    for move in [timedelta(), *moves]:
        starts_at = starts_at + move
        revision = revised(list(recorded.values()), starts_at)
        for row in revision.reminders:
            if row.status is ReminderStatus.SCHEDULED:
                assert row.due_at >= NOW
                assert starts_at - row.due_at in {24 * HOUR, 2 * HOUR, HOUR / 2}
            recorded[row.id] = row
        waiting = [r.reminder_type for r in recorded.values() if r.status.is_pending]
        assert len(set(waiting)) == len(waiting)
        for row in list(recorded.values()):
            if row.status is ReminderStatus.SCHEDULED and data.draw(st.booleans()):
                ended = a_reminder(
                    row.reminder_type,
                    generation=row.generation,
                    starts_at=row.starts_at,
                    status=ReminderStatus.SENT,
                )
                recorded[row.id] = ended


def test_nothing_but_enrolling_revives_what_was_called_off() -> None:
    """Sent, then cancelled by hand, then moved a week: no second generation of any."""
    sent = a_reminder("24h", status=ReminderStatus.SENT)
    off = a_reminder("2h", status=ReminderStatus.CANCELLED, reason=StatusReason.WORKFLOW_CANCELLED)
    assert revised([sent, off], NOW + timedelta(days=14)).is_empty
    again = revised([sent, off], NOW + timedelta(days=14), enrolling=True)
    assert {"24h": 2, "2h": 2, "30min": 1} == {r.reminder_type: r.generation for r in again.added}


def test_enrolling_anew_follows_every_cancellation_by_a_generation() -> None:
    """What is past due by then, or has no rule, is skipped anew: nothing is called off any more."""
    off = [
        a_reminder(kind, status=ReminderStatus.CANCELLED, reason=StatusReason.UNENROLLED)
        for kind in ("24h", "2h", "30min", "1h")
    ]
    again = revised(off, NOW + 3 * HOUR, enrolling=True)
    assert {
        "24h": StatusReason.PAST_DUE,
        "2h": None,
        "30min": None,
        "1h": StatusReason.RULE_DISABLED,
    } == {r.reminder_type: r.reason for r in again.added}
    assert not is_called_off(again.reminders)
    assert revised([*off, *again.added], NOW + 3 * HOUR, enrolling=True).is_empty


@pytest.mark.parametrize(
    ("starts_in", "due_in", "reason"),
    [
        (25 * HOUR, HOUR, None),
        (2 * HOUR, timedelta(), None),
        (timedelta(), timedelta(hours=-24), StatusReason.SESSION_STARTED),
    ],
    ids=["moved-away", "moved-closer", "moved-into-the-past"],
)
def test_what_an_operator_asked_for_waits_through_plans(
    starts_in: timedelta, due_in: timedelta, reason: StatusReason | None
) -> None:
    """Past its own instant it is not past due; moved away it waits for its new instant."""
    starts_at = NOW + 3 * HOUR
    asked = a_reminder("24h", starts_at=starts_at, due_at=NOW, requested_at=NOW, generation=2)
    assert asked in revised([asked], starts_at).unchanged
    after = {r.reminder_type: r for r in revised([asked], NOW + starts_in).reminders}["24h"]
    assert (2, NOW + due_in, reason) == (after.generation, after.due_at, after.reason)


def test_what_an_operator_asked_for_now_stays_so_until_its_session_moves() -> None:
    """No plan puts it off; moved, it waits for its new instant, as any other from then on."""
    starts_at = NOW + 48 * HOUR
    asked = a_reminder("24h", starts_at=starts_at, due_at=NOW, requested_at=NOW)
    assert asked in revised([asked], starts_at).unchanged
    for days in (3, 2):
        after = revised([asked], NOW + days * 24 * HOUR).reminders
        asked = next(r for r in after if r.reminder_type == "24h")
        assert (NOW + (days - 1) * 24 * HOUR, None) == (asked.due_at, asked.requested_at)


def test_what_is_past_its_own_instant_stays_asked_for_when_its_session_moves() -> None:
    """Or the plan after the next would take it for past due."""
    starts_at = NOW + 23 * HOUR
    asked = a_reminder("24h", starts_at=starts_at, due_at=NOW, requested_at=NOW)
    for moved_to in (starts_at - HOUR, starts_at - HOUR):
        (asked,) = (r for r in revised([asked], moved_to).reminders if r.reminder_type == "24h")
        assert (NOW, NOW, None) == (asked.due_at, asked.requested_at, asked.reason)


def test_asked_for_once_more_and_nearly_moved_it_stays_asked_for() -> None:
    """Told already, a person gets it again because an operator said so, and the ledger says that."""
    told = a_reminder("24h", starts_at=NOW + 48 * HOUR, status=ReminderStatus.SENT)
    asked = a_reminder("24h", starts_at=NOW + 48 * HOUR, due_at=NOW, requested_at=NOW, generation=2)
    after = revised([told, asked], NOW + 48 * HOUR + timedelta(minutes=5)).reminders
    asked = next(r for r in after if r.reminder_type == "24h")
    assert (2, ReminderStatus.SCHEDULED, NOW) == (
        asked.generation,
        asked.status,
        asked.requested_at,
    )


def test_what_a_person_does_not_want_is_planned_as_skipped() -> None:
    """By type; what is past due stays past due."""
    starts_at = NOW + 23 * HOUR
    stopped = dict.fromkeys(("24h", "2h"), StatusReason.OPTED_OUT)
    planned = withheld(plan(starts_at, the_rules(), now=NOW), stopped)
    assert kinds(planned) == {
        "24h": "past_due",
        "2h": "opted_out",
        "30min": "scheduled",
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (a_reminder("24h"), (0, 1)),
        (a_reminder("24h", status=ReminderStatus.SENDING), (0, 0)),
        (a_reminder("24h", status=ReminderStatus.SENT), (0, 0)),
        (a_reminder("24h", status=ReminderStatus.SKIPPED, reason=StatusReason.OPTED_OUT), (0, 0)),
    ],
    ids=["waits", "in flight", "sent", "skipped already"],
)
def test_a_stop_ends_what_waits_and_nothing_else(row: Reminder, expected: tuple[int, int]) -> None:
    """However far the session moves: rows added and rows changed."""
    starts_at = NOW + timedelta(days=9)
    rules = the_rules("24h")
    stopped = {"24h": StatusReason.OPTED_OUT}
    revision = revise(
        withheld(plan(starts_at, rules, now=NOW), stopped),
        [row],
        session_id=SESSION,
        user_id=USER,
        starts_at=starts_at,
        threshold=HOUR,
        enrolling=True,
    )
    assert expected == (len(revision.added), len(revision.changed))
    assert all(r.reason is StatusReason.OPTED_OUT for r in revision.changed)


@pytest.mark.parametrize(
    ("reason", "moved_by", "again"),
    [
        (StatusReason.EXPIRED, 45 * MINUTE, True),
        (StatusReason.QUOTA, 45 * MINUTE, True),
        (StatusReason.MISCONFIGURED, 45 * MINUTE, True),
        (StatusReason.MISCONFIGURED, 20 * MINUTE, False),
        (StatusReason.EXPIRED, timedelta(), False),
        (StatusReason.REJECTED, 45 * MINUTE, False),
        (StatusReason.OUTCOME_UNKNOWN, 45 * MINUTE, False),
        (StatusReason.REJECTED, 2 * HOUR, True),
    ],
)
def test_a_reminder_that_ran_out_of_time_is_wanted_once_there_is_time_again(
    reason: StatusReason, moved_by: timedelta, again: bool
) -> None:
    """The session began, and then it did not: whoever was told nothing yet is told now."""
    began = NOW - MINUTE
    row = a_reminder(
        "30min",
        due_at=began - HOUR / 2,
        starts_at=began,
        status=ReminderStatus.FAILED,
        reason=reason,
    )
    revision = revised([row], began + moved_by)
    added = [r for r in revision.added if r.status is ReminderStatus.SCHEDULED]
    assert [2] * again == [r.generation for r in added if r.reminder_type == "30min"]
