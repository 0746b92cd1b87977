"""What is said of a reminder, a hold and an enrollment is true at the moment it is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from reminders.domain.model import EnrollmentStatus, ReminderStatus, SessionStatus, StatusReason
from starter.services import reasons
from starter.services.receipts import Story
from tests.builders import NOW, USER, a_reminder, a_session

STORY = Story(
    session=a_session(),
    user_id=USER,
    enrollment_status=EnrollmentStatus.CONFIRMED,
    workflow_id="session-reminder:s:u",
    workflow_status=None,
    run_id=None,
    reminders=(),
)


def test_an_overdue_reminder_does_not_wait_for_its_instant() -> None:
    """Its instant has passed; whether somebody has to act shows in the first word."""
    scheduled = ReminderStatus.SCHEDULED
    waiting = reasons.decision(scheduled, None, due_at=NOW, now=NOW + reasons.OVERDUE)
    overdue = reasons.decision(
        scheduled, None, due_at=NOW, now=NOW + reasons.OVERDUE + timedelta(seconds=1)
    )
    assert ("waits for its due instant", "overdue") == (waiting, overdue.partition(":")[0])
    sent = reasons.decision(ReminderStatus.SENT, None, due_at=NOW, now=NOW + timedelta(days=9))
    assert "accepted by the provider" == sent


@pytest.mark.parametrize("why", [StatusReason.QUOTA, StatusReason.MISCONFIGURED])
def test_a_hold_is_said_as_one_that_lasts(why: StatusReason) -> None:
    """Not in the words of a reminder that failed because of one, which look back."""
    said = reasons.hold(why)
    assert "until the session began" not in said
    assert said != str(why)


def test_an_enrollment_without_reminders_has_a_reason() -> None:
    """Whatever it is; with reminders, they have their own."""
    begun = replace(STORY, session=a_session(starts_in=timedelta()))
    cancelled = replace(STORY, session=a_session(status=SessionStatus.CANCELLED))
    ended = replace(STORY, enrollment_status=EnrollmentStatus.CANCELLED)
    said = [reasons.nothing_planned(story, now=NOW) for story in (begun, cancelled, ended, STORY)]
    for told, words in zip(
        said, ("had begun before", "was cancelled", "ended before", "next sweep"), strict=True
    ):
        assert told is not None
        assert words in told
    assert reasons.nothing_planned(replace(STORY, reminders=(a_reminder(),)), now=NOW) is None
    of_notices = replace(STORY, reminders=(a_reminder(reminder_type="moved"),))
    assert reasons.nothing_planned(of_notices, now=NOW) == said[-1]
