"""What a history says of a reminder that a restored ledger has as waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from reminders.db.restoring import Found
from reminders.domain.model import Reminder, ReminderStatus, StatusReason
from reminders.domain.ports import Enrollment
from starter.services.histories import Account
from starter.services.restoring import _Judging

DOWN_SINCE = datetime(2031, 5, 1, 14, 28, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("asked", "due", "moved_to", "is_lost"),
    [
        (-3, 2, 2, False),  # of a crowd: it waited for its instant, which never came
        (-3, -2, -2, True),
        (-3, 0.5, 0.5, True),  # an operator's clock is not PostgreSQL's
        (0.3, 0.32, 0.32, True),  # no crowd: asked for a second before
        (-3, 2, -2, True),  # moved to an earlier start while it waited
        (1, -2, -2, False),  # the database was gone by then
    ],
)
def test_what_was_asked_for_early_cannot_have_gone_out_before_its_instant(
    asked: float, due: float, moved_to: float, *, is_lost: bool
) -> None:
    """Thousands ask minutes before: what never left is sent, what may have left is not."""
    at = {name: DOWN_SINCE + n * MINUTE for name, n in (("due", due), ("moved", moved_to))}
    row = Reminder(
        id=uuid4(),
        session_id=uuid4(),
        user_id=uuid4(),
        reminder_type="30min",
        generation=1,
        due_at=at["moved"],
        starts_at=at["moved"] + 30 * MINUTE,
        status=ReminderStatus.SCHEDULED,
    )
    known = Found(
        session_id=row.session_id,
        user_id=row.user_id,
        reminder_type="30min",
        generation=1,
        due_at=row.due_at,
        starts_at=row.starts_at,
    )
    account = Account(known={row.id: known})
    account.asked[row.id] = (DOWN_SINCE + asked * MINUTE, at["due"])
    judging = _Judging(DOWN_SINCE, DOWN_SINCE + 5 * MINUTE)
    judging.judge(Enrollment(row.session_id, row.user_id), [row], account)
    ended = [(found.status, found.reason) for found in judging.since.ended]
    assert ended == is_lost * [(ReminderStatus.FAILED, StatusReason.OUTCOME_UNKNOWN)]
