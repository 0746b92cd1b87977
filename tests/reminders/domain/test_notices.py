"""Who is told of a change, and who is not: by the ledger alone, whoever noticed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from reminders.domain.model import (
    EnrollmentStatus,
    Notice,
    ReminderStatus,
    SessionStatus,
    StatusReason,
)
from reminders.domain.revise import call_off
from tests.builders import NOW, a_rule, a_session, the_rules
from tests.reminders.domain.enrollee import Enrollee, notice_rules

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WEEK = 7 * DAY
ONLY_CHANGES = [*the_rules(), *notice_rules(on=(Notice.CANCELLED, Notice.MOVED))]


@pytest.fixture
def ana() -> Enrollee:
    """Enrolled a week before the start, where cancelled and moved are on, as in a new installation."""
    ana = Enrollee(rules=ONLY_CHANGES)
    ana.enroll()
    return ana


def test_a_default_enrollment_has_no_row_of_a_notice(ana: Enrollee) -> None:
    """Nothing is planned, and nothing costs, before something changes."""
    assert {"24h", "2h", "30min"} == {r.reminder_type for r in ana.rows.values()}


@pytest.mark.parametrize("enrolls_again", [True, False])
def test_who_enrolls_while_a_session_is_off_is_reminded_once_it_is_held(
    ana: Enrollee, *, enrolls_again: bool
) -> None:
    """A cancel by hand is over with that, and with nothing else."""
    for row in list(ana.rows.values()):
        ana.rows[row.id] = replace(
            row, status=ReminderStatus.CANCELLED, reason=StatusReason.WORKFLOW_CANCELLED
        )
    ana.cancel()
    if enrolls_again:
        ana.enroll()
        ana.enroll()
    ana.restore()
    waiting = [r for r in ana.rows.values() if r.status is ReminderStatus.SCHEDULED]
    assert (3 if enrolls_again else 0) == len([r for r in waiting if r.notice is None])


def test_what_an_operator_asks_for_is_sent_although_nobody_was_to_be_told(ana: Enrollee) -> None:
    """One person is to hear of what was kept from all: the row that they asked for stays."""
    ana.cancel(is_quiet=True)
    [untold] = [r for r in ana.rows.values() if r.notice is Notice.CANCELLED]
    assert StatusReason.UNTOLD is untold.reason
    asked = replace(
        untold, status=ReminderStatus.SCHEDULED, reason=None, due_at=NOW, requested_at=NOW
    )
    ana.rows[untold.id] = asked
    ana.plan()
    assert ReminderStatus.SCHEDULED is ana.rows[untold.id].status


def test_a_cancelled_session_is_told_at_once_and_once(ana: Enrollee) -> None:
    """One e-mail, however often it is planned anew; the reminders are called off."""
    ana.cancel()
    ana.wait(timedelta())
    for _ in range(3):
        ana.plan()
    ana.wait(2 * WEEK)
    assert ["cancelled"] == ana.told()
    assert NOW == ana.mails[0].at


@pytest.mark.parametrize("change", [Enrollee.cancel, lambda ana: ana.move(9 * DAY)])
def test_who_enrolled_after_the_last_reminder_is_told(change: Callable[[Enrollee], None]) -> None:
    """Nothing was planned to go out to them, and they take part like everybody."""
    ben = Enrollee(rules=ONLY_CHANGES, session=a_session(starts_in=20 * MINUTE))
    ben.enroll()
    change(ben)
    ben.wait(10 * MINUTE)
    assert 1 == len(ben.told())


def test_a_moved_session_is_told_when_it_has_cooled(ana: Enrollee) -> None:
    """From the start that they knew to the one that counts, two minutes later."""
    ana.move(8 * DAY)
    ana.plan()
    ana.wait(MINUTE)
    assert [] == ana.told()
    ana.wait(MINUTE)
    (mail,) = ana.mails
    assert ("moved", NOW + WEEK, NOW + 8 * DAY) == (mail.kind, mail.moved_from, mail.tells)
    ana.wait(2 * WEEK)
    assert ["moved", "24h", "2h", "30min"] == ana.told()
    assert all(m.moved_from is None for m in ana.mails[1:])


def test_those_who_are_planned_one_after_the_other_are_told_together(ana: Enrollee) -> None:
    """Two minutes after the move, on the second; at once where nothing is waited for."""
    ana.wait(timedelta(milliseconds=300))
    ana.move(8 * DAY)
    assert NOW + timedelta(minutes=2, seconds=1) == ana.last(Notice.MOVED).due_at
    ana.cooling = timedelta()
    ana.move(9 * DAY)
    assert ana.now == ana.last(Notice.MOVED).due_at


def test_a_burst_is_one_notice_about_the_last_state(ana: Enrollee) -> None:
    """Moved twice within a minute, it is told once: from the first start to the last."""
    ana.move(8 * DAY)
    ana.wait(MINUTE / 2)
    ana.move(9 * DAY)
    ana.wait(HOUR)
    (mail,) = ana.mails
    assert (NOW + WEEK, NOW + 9 * DAY) == (mail.moved_from, mail.tells)
    assert NOW + 2.5 * MINUTE == mail.at


def test_a_move_that_is_taken_back_in_time_is_told_to_nobody(ana: Enrollee) -> None:
    """And what is moved again afterwards is told."""
    ana.move(8 * DAY)
    ana.wait(MINUTE)
    ana.move(WEEK)
    ana.wait(HOUR)
    assert [] == ana.told()
    assert ["taken_back"] == ana.why(Notice.MOVED)
    ana.move(8 * DAY)
    ana.wait(HOUR)
    ana.move(WEEK)
    ana.wait(HOUR)
    assert [NOW + 8 * DAY, NOW + WEEK] == [m.tells for m in ana.mails]


def test_a_move_that_nobody_reports_back_is_not_told_either(ana: Enrollee) -> None:
    """The platform has it back before the notice goes out, and has not said so yet."""
    ana.move(8 * DAY)
    ana.session = a_session()
    ana.wait(HOUR)
    ana.plan()
    ana.wait(HOUR)
    assert [] == ana.told()
    assert ["taken_back"] == ana.why(Notice.MOVED)


def test_who_was_told_while_it_cools_is_told_that_it_is_back(ana: Enrollee) -> None:
    """By a reminder that fell due: that was no news of the last state."""
    ana.move(DAY + MINUTE)
    ana.wait(MINUTE)
    ana.move(WEEK)
    ana.wait(HOUR)
    assert ["24h", "moved"] == ana.told()
    assert (NOW + DAY + MINUTE, NOW + WEEK) == (ana.mails[1].moved_from, ana.mails[1].tells)


def test_what_an_e_mail_told_counts_though_nobody_has_planned_for_it(ana: Enrollee) -> None:
    """The platform had moved it once more, and told us of the next move only."""
    ana.move(8 * DAY)
    ana.session = a_session(starts_at=NOW + 9 * DAY)
    ana.wait(HOUR)
    ana.move(10 * DAY)
    ana.wait(HOUR)
    assert [NOW + WEEK, NOW + 9 * DAY] == [m.moved_from for m in ana.mails]


@pytest.mark.parametrize("status", [ReminderStatus.SENDING, ReminderStatus.FAILED])
def test_who_may_believe_that_it_is_cancelled_is_told_otherwise(
    ana: Enrollee, status: ReminderStatus
) -> None:
    """Nobody knows whether that notice went out, and the worse mistake is to stay away."""
    ana.cancel()
    row = ana.last(Notice.CANCELLED)
    reason = StatusReason.OUTCOME_UNKNOWN if status is ReminderStatus.FAILED else None
    ana.rows[row.id] = replace(row, status=status, reason=reason)
    ana.restore()
    ana.wait(HOUR)
    assert ["after all"] == ana.told()


@pytest.mark.parametrize("by", [5 * MINUTE, -5 * MINUTE, MINUTE])
def test_five_minutes_are_told(ana: Enrollee, by: timedelta) -> None:
    """Whatever clocks show is a move."""
    ana.move(WEEK + by)
    ana.wait(HOUR)
    assert ["moved"] == ana.told()


def test_seconds_are_not_told(ana: Enrollee) -> None:
    """What clocks do not show is none."""
    ana.move(WEEK + timedelta(seconds=59))
    ana.wait(HOUR)
    assert [] == ana.told()


def test_moved_earlier_so_that_nothing_else_is_due_it_is_told(ana: Enrollee) -> None:
    """All reminders are past due by then: that person has nothing else."""
    ana.move(20 * MINUTE)
    ana.wait(HOUR)
    (mail,) = ana.mails
    assert ("moved", NOW + 20 * MINUTE) == (mail.kind, mail.tells)


def test_shortly_before_the_start_it_is_told_sooner(ana: Enrollee) -> None:
    """At most a quarter of the time that is left passes: it must be of use."""
    ana.move(4 * MINUTE)
    ana.wait(HOUR)
    assert NOW + MINUTE == ana.mails[0].at


def test_shortly_before_the_start_that_people_know_it_is_told_before_that(ana: Enrollee) -> None:
    """However far it was moved: they are about to join."""
    ana.wait(WEEK - 4 * MINUTE)
    told = len(ana.mails)
    ana.move(WEEK + DAY)
    ana.wait(HOUR)
    assert NOW + WEEK - 3 * MINUTE == ana.mails[told].at


@pytest.mark.parametrize("to", [-MINUTE, timedelta()])
def test_moved_into_the_past_it_is_told_to_nobody(ana: Enrollee, to: timedelta) -> None:
    """A mail that says the new time of what has begun helps nobody."""
    ana.move(to)
    ana.plan()
    ana.wait(HOUR)
    assert [] == ana.told()
    assert ["session_started"] == ana.why(Notice.MOVED)


@pytest.mark.parametrize("lasts", [timedelta(), HOUR])
def test_moved_into_the_past_by_mistake_and_on_it_is_told(ana: Enrollee, lasts: timedelta) -> None:
    """From the start that they reckon with: nobody was told of the one in the past."""
    ana.move(-MINUTE)
    ana.wait(lasts)
    ana.move(9 * DAY)
    ana.wait(HOUR)
    (mail,) = ana.mails
    assert (NOW + WEEK, NOW + 9 * DAY) == (mail.moved_from, mail.tells)


def test_moved_into_the_past_by_mistake_and_back_it_is_told_to_nobody(ana: Enrollee) -> None:
    """They reckon with the start that counts."""
    ana.move(-MINUTE)
    ana.move(WEEK)
    ana.wait(HOUR)
    assert [] == ana.told()


@pytest.mark.parametrize(
    "mistake",
    [
        lambda ana: ana.change(status=SessionStatus.CANCELLED, starts_at=NOW - MINUTE),
        lambda ana: (ana.move(-MINUTE), ana.cancel()),
    ],
)
def test_cancelled_with_a_date_in_the_past_by_mistake_it_is_told_once_that_is_mended(
    ana: Enrollee, mistake: Callable[[Enrollee], object]
) -> None:
    """And that it takes place after all; both name the start that people reckoned with."""
    mistake(ana)
    ana.plan()
    ana.wait(HOUR)
    assert [] == ana.told()
    ana.move(9 * DAY)
    ana.plan()
    ana.wait(HOUR)
    ana.restore()
    ana.wait(HOUR)
    cancelled, restored = ana.mails
    assert ("cancelled", NOW + WEEK) == (cancelled.kind, cancelled.moved_from)
    assert (True, NOW + 9 * DAY) == (restored.is_after_all, restored.tells)


def test_restored_to_the_time_that_the_cancellation_named_it_has_not_moved(ana: Enrollee) -> None:
    """Moved and cancelled in one burst: nobody was told of the start in between."""
    ana.move(8 * DAY)
    ana.cancel()
    ana.wait(HOUR)
    ana.change(status=SessionStatus.SCHEDULED, starts_at=NOW + WEEK)
    ana.wait(HOUR)
    assert ["cancelled", "after all"] == ana.told()
    assert ana.mails[-1].moved_from in (None, NOW + WEEK)
    ana.wait(2 * WEEK)
    assert [None] * 3 == [mail.moved_from for mail in ana.mails[2:]]


@pytest.mark.parametrize("why", [StatusReason.OPTED_OUT, StatusReason.ADDRESS_BOUNCED])
def test_who_could_not_be_told_of_the_cancel_is_told_once_they_can(
    ana: Enrollee, why: StatusReason
) -> None:
    """Another address, or they want e-mails again: otherwise they would travel."""
    ana.stopped = {"cancelled": why}
    ana.cancel()
    ana.plan()
    ana.wait(HOUR)
    assert ([], [why]) == (ana.told(), ana.why(Notice.CANCELLED))
    ana.stopped = {}
    ana.plan()
    ana.plan()
    ana.wait(HOUR)
    assert ["cancelled"] == ana.told()


def test_moved_and_restored_after_a_mistake_it_is_told_from_when(ana: Enrollee) -> None:
    """Nobody was told of the cancel, and nobody reckons with a start that had passed."""
    ana.change(status=SessionStatus.CANCELLED, starts_at=NOW - MINUTE)
    ana.move(9 * DAY)
    ana.restore()
    ana.wait(HOUR)
    (mail,) = ana.mails
    assert ("moved", NOW + WEEK, NOW + 9 * DAY) == (mail.kind, mail.moved_from, mail.tells)


def test_moved_and_cancelled_in_one_the_time_that_people_knew_is_named(ana: Enrollee) -> None:
    """They would not recognise the session by another."""
    ana.change(status=SessionStatus.CANCELLED, starts_at=NOW + 9 * DAY)
    ana.wait(HOUR)
    (mail,) = ana.mails
    assert ("cancelled", NOW + WEEK) == (mail.kind, mail.moved_from)


@pytest.mark.parametrize("since", [timedelta(), MINUTE])
@pytest.mark.parametrize(
    "change",
    [
        Enrollee.cancel,
        lambda ana: ana.move(9 * DAY),
        lambda ana: ana.change(status=SessionStatus.CANCELLED, starts_at=NOW + 9 * DAY),
    ],
)
def test_what_has_begun_is_told_to_nobody(
    ana: Enrollee, change: Callable[[Enrollee], None], since: timedelta
) -> None:
    """Neither that it was moved, nor that it was cancelled: who was there knows."""
    ana.wait(WEEK + since)
    told = ana.told()
    change(ana)
    ana.wait(HOUR)
    assert told == ana.told()


def test_cancelled_while_a_move_cools_it_is_one_e_mail(ana: Enrollee) -> None:
    """About the last state; it names the time that they knew."""
    ana.move(8 * DAY)
    ana.wait(MINUTE)
    ana.cancel()
    ana.wait(HOUR)
    (mail,) = ana.mails
    assert ("cancelled", NOW + WEEK) == (mail.kind, mail.moved_from)
    assert ["session_cancelled"] == ana.why(Notice.MOVED)


def test_restored_who_was_told_of_the_cancel_is_told_of_that(ana: Enrollee) -> None:
    """Or they would not come; once."""
    ana.cancel()
    ana.wait(HOUR)
    ana.restore()
    ana.plan()
    ana.wait(HOUR)
    ana.plan()
    ana.wait(2 * WEEK)
    assert ["cancelled", "after all", "24h", "2h", "30min"] == ana.told()


def test_restored_before_anybody_was_told_nobody_is(ana: Enrollee) -> None:
    """Not of the one, and not of the other."""
    ana.cancel()
    ana.restore()
    ana.wait(HOUR)
    assert [] == ana.told()
    assert ["taken_back"] == ana.why(Notice.CANCELLED)


def test_cancelled_again_while_the_restore_cools_nothing_is_new(ana: Enrollee) -> None:
    """They know that it is cancelled; after they were told otherwise, they are told once more."""
    ana.cancel()
    ana.wait(HOUR)
    ana.restore()
    ana.wait(MINUTE)
    ana.cancel()
    ana.wait(HOUR)
    assert ["cancelled"] == ana.told()
    ana.restore()
    ana.wait(HOUR)
    ana.cancel()
    ana.wait(HOUR)
    assert ["cancelled", "after all", "cancelled"] == ana.told()


def test_a_reminder_that_tells_the_new_time_makes_the_notice_needless(ana: Enrollee) -> None:
    """It says what was moved, and a second e-mail within minutes is one too many."""
    ana.move(DAY + MINUTE)
    ana.wait(HOUR)
    (mail,) = ana.mails
    assert ("24h", NOW + WEEK) == (mail.kind, mail.moved_from)
    assert ["already_told"] == ana.why(Notice.MOVED)


def test_tell_nobody(ana: Enrollee) -> None:
    """The ledger says why; the next change that is told begins from what was planned."""
    ana.move(8 * DAY, is_quiet=True)
    ana.plan()
    ana.wait(HOUR)
    ana.cancel(is_quiet=True)
    ana.plan()
    ana.wait(HOUR)
    assert [] == ana.told()
    assert ["untold"] == ana.why(Notice.MOVED) == ana.why(Notice.CANCELLED)
    ana.restore()
    ana.move(9 * DAY)
    ana.wait(HOUR)
    (mail,) = ana.mails
    assert NOW + 8 * DAY == mail.moved_from


def test_tell_nobody_stops_a_notice_that_waits(ana: Enrollee) -> None:
    """Said of the session as it is, with nothing changed: whoever says it means what is to be told."""
    ana.move(8 * DAY)
    ana.plan()
    ana.restore(is_quiet=True)
    ana.plan()
    ana.wait(HOUR)
    assert [] == ana.told()
    assert ["untold"] == ana.why(Notice.MOVED)


def test_moved_on_quietly_nothing_is_told_of_the_move_before(ana: Enrollee) -> None:
    """The notice that waits would tell the new start, which nobody is to be told."""
    ana.move(8 * DAY)
    ana.move(9 * DAY, is_quiet=True)
    ana.wait(HOUR)
    assert [] == ana.told()
    assert ["untold"] == ana.why(Notice.MOVED)


def test_what_was_told_to_nobody_may_be_known_all_the_same(ana: Enrollee) -> None:
    """They were told by telephone, say: moved back to what the last e-mail told, it is news."""
    ana.move(25 * HOUR)
    ana.wait(2 * HOUR)
    assert ["moved", "24h"] == ana.told()
    ana.move(30 * HOUR, is_quiet=True)
    ana.move(25 * HOUR)
    ana.wait(MINUTE * 5)
    assert ["moved", "24h", "moved"] == ana.told()


def test_restored_quietly_the_next_cancel_is_told(ana: Enrollee) -> None:
    """Whoever restored it quietly had told people otherwise: they come, unless they hear of this one."""
    ana.cancel()
    ana.wait(HOUR)
    ana.restore(is_quiet=True)
    ana.wait(HOUR)
    ana.cancel()
    ana.wait(HOUR)
    ana.restore()
    ana.wait(HOUR)
    assert ["cancelled", "cancelled", "after all"] == ana.told()


def test_restored_and_cancelled_quietly_the_next_restore_is_told(ana: Enrollee) -> None:
    """The only e-mail that they have says that it is cancelled."""
    ana.cancel()
    ana.wait(HOUR)
    ana.restore(is_quiet=True)
    ana.cancel(is_quiet=True)
    ana.wait(HOUR)
    ana.restore()
    ana.wait(HOUR)
    assert ["cancelled", "after all"] == ana.told()


WITHHELD: dict[str, Callable[[Enrollee], object]] = {
    "opted_out": lambda a: setattr(a, "stopped", {"moved": StatusReason.OPTED_OUT}),
    "address_bounced": lambda a: setattr(a, "stopped", {"moved": StatusReason.ADDRESS_BOUNCED}),
    "spam_complaint": lambda a: setattr(a, "stopped", {"moved": StatusReason.SPAM_COMPLAINT}),
    "unconfirmed": lambda a: setattr(a, "enrollment", EnrollmentStatus.PENDING),
}


@pytest.mark.parametrize("why", WITHHELD)
def test_whom_it_is_withheld_from(ana: Enrollee, why: str) -> None:
    """One row a change says so."""
    WITHHELD[why](ana)
    for _ in range(3):
        ana.move(8 * DAY)
    ana.wait(HOUR)
    assert [] == ana.told()
    assert [why] == ana.why(Notice.MOVED)


def test_somebody_who_stops_while_it_waits_is_not_told(ana: Enrollee) -> None:
    """The choice counts at the moment of sending, too; nor does a plan leave it waiting."""
    for planned_anew in (True, False):
        ana.stopped = {}
        ana.move(8 * DAY if planned_anew else 9 * DAY)
        ana.stopped = {"moved": StatusReason.OPTED_OUT}
        if planned_anew:
            ana.plan()
            assert ["opted_out"] == ana.why(Notice.MOVED)
        ana.wait(HOUR)
    assert ["opted_out", "opted_out"] == ana.why(Notice.MOVED)
    assert [] == ana.told()


def test_with_the_rules_off_everything_is_as_without_notices() -> None:
    """Not one row, whatever changes."""
    ben = Enrollee(rules=[*the_rules(), *notice_rules(on=())])
    ben.enroll()
    ben.move(8 * DAY)
    ben.cancel()
    ben.restore()
    ben.wait(2 * WEEK)
    assert ["24h", "2h", "30min"] == ben.told()
    assert not [r for r in ben.rows.values() if r.notice]


@pytest.mark.parametrize("on", [Notice.CANCELLED, Notice.MOVED])
@pytest.mark.parametrize("status", [EnrollmentStatus.CONFIRMED, EnrollmentStatus.PENDING])
def test_who_enrolls_while_no_reminder_is_on_is_told_of_changes(
    on: Notice, status: EnrollmentStatus
) -> None:
    """A row says in what they take part, and of one notice there is no second."""
    ben = Enrollee(rules=[a_rule(is_enabled=False), *notice_rules(on=(on,))])
    ben.enroll(status)
    if status is EnrollmentStatus.PENDING:
        ben.enroll()
    ben.plan()
    ben.wait(DAY)
    assert [("moved", 1, "taken_back")] == [
        (r.reminder_type, r.generation, r.reason) for r in ben.rows.values()
    ]
    ben.move(8 * DAY)
    ben.wait(DAY)
    ben.cancel()
    ben.plan()
    ben.wait(DAY)
    assert [on] == ben.told()


def test_who_enrolls_in_a_cancelled_session_without_reminders_is_told_once_it_is_moved() -> None:
    """That it takes place they see; what happens after that they do not."""
    ben = Enrollee(rules=notice_rules(on=(Notice.CANCELLED, Notice.MOVED)))
    ben.change(status=SessionStatus.CANCELLED)
    ben.enroll()
    ben.restore()
    ben.wait(HOUR)
    assert [] == ben.told()
    ben.move(8 * DAY)
    ben.wait(HOUR)
    assert ["moved"] == ben.told()


def test_a_rule_that_is_switched_off_stops_what_waits(ana: Enrollee) -> None:
    """And switched on again it tells nothing of before."""
    ana.move(8 * DAY)
    ana.rules = [*the_rules(), *notice_rules(on=())]
    ana.plan()
    ana.rules = ONLY_CHANGES
    ana.plan()
    ana.wait(HOUR)
    assert ["rule_disabled"] == ana.why(Notice.MOVED)


@pytest.mark.parametrize("status", [EnrollmentStatus.CANCELLED, None])
def test_who_is_no_longer_enrolled_is_not_told(
    ana: Enrollee, status: EnrollmentStatus | None
) -> None:
    """What waits ends with the enrollment."""
    ana.move(8 * DAY)
    ana.enrollment = status
    ana.plan()
    ana.cancel()
    ana.wait(HOUR)
    assert ["unenrolled"] == ana.why(Notice.MOVED)
    assert [] == ana.told()


def _by_hand(ana: Enrollee) -> None:
    for row in call_off(ana.rows.values(), StatusReason.WORKFLOW_CANCELLED).changed:
        ana.rows[row.id] = row


def test_who_was_called_off_by_hand_is_told_nothing(ana: Enrollee) -> None:
    """Neither what waited, nor what changes later; enrolled anew they are as new."""
    ana.move(8 * DAY)
    _by_hand(ana)
    ana.move(9 * DAY)
    ana.cancel()
    ana.wait(HOUR)
    assert [] == ana.told()
    ana.restore()
    ana.enroll()
    ana.plan()
    ana.wait(HOUR)
    assert [] == ana.told()
    ana.move(10 * DAY)
    ana.wait(HOUR)
    assert ["moved"] == ana.told()


def test_who_enrolls_anew_is_not_told_of_what_they_see(ana: Enrollee) -> None:
    """The session moved while they were not in it."""
    ana.enrollment = EnrollmentStatus.CANCELLED
    ana.plan()
    ana.move(8 * DAY)
    ana.enroll()
    ana.wait(HOUR)
    assert [] == ana.told()


def test_who_enrolls_in_a_cancelled_session_is_not_told() -> None:
    """Their platform has shown them what it is."""
    ben = Enrollee()
    ben.cancel()
    ben.enroll()
    ben.plan()
    ben.wait(HOUR)
    assert [] == ben.told()


def test_a_confirmation_is_told_once() -> None:
    """Whoever enrolls, and not whoever calls once more."""
    ben = Enrollee()
    ben.enroll()
    ben.wait(MINUTE)
    ben.enroll()
    ben.plan()
    ben.wait(HOUR)
    assert ["confirmed"] == ben.told()


def test_who_is_promoted_from_the_waiting_list_is_told() -> None:
    """By a call, or by a sweep that finds it."""
    for promote in (Enrollee.enroll, Enrollee.plan):
        ben = Enrollee()
        ben.enroll(EnrollmentStatus.PENDING)
        ben.plan()
        ben.wait(HOUR)
        assert [] == ben.told()
        assert ["unconfirmed"] == ben.why(Notice.CONFIRMED)
        ben.enrollment = EnrollmentStatus.CONFIRMED
        promote(ben)
        ben.plan()
        ben.wait(HOUR)
        assert ["confirmed"] == ben.told()


def test_who_is_promoted_after_the_rule_was_switched_on_is_told() -> None:
    """Though there was no such notice when they were put on the list."""
    ben = Enrollee(rules=ONLY_CHANGES)
    ben.enroll(EnrollmentStatus.PENDING)
    ben.rules = [*the_rules(), *notice_rules()]
    ben.enroll()
    ben.wait(HOUR)
    assert ["confirmed"] == ben.told()


def test_who_was_enrolled_before_us_is_not_told_that_they_are() -> None:
    """A back-fill, or a sweep, that finds them plans what lies ahead, and congratulates nobody."""
    ben = Enrollee()
    ben.plan()
    ben.plan(enrolling=True)
    ben.wait(HOUR)
    assert [] == ben.told()


def test_who_leaves_and_comes_back_is_confirmed_once_more() -> None:
    """It is another enrollment."""
    ben = Enrollee()
    ben.enroll()
    ben.wait(HOUR)
    ben.enrollment = EnrollmentStatus.CANCELLED
    ben.plan()
    ben.enroll()
    ben.enroll()
    ben.wait(HOUR)
    assert ["confirmed", "confirmed"] == ben.told()


def test_a_late_worker_sends_one_e_mail(ana: Enrollee) -> None:
    """Nobody was there for a day, and a reminder is due as well: it tells of the move."""
    ana.move(8 * DAY)
    row = ana.last(Notice.MOVED)
    ana.rows[row.id] = replace(row, due_at=NOW + WEEK - MINUTE)  # as if nobody had looked
    ana.wait(WEEK - MINUTE)
    assert ["moved"] == ana.told()
    assert ReminderStatus.SENT is ana.last(Notice.MOVED).status
