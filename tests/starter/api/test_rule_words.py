"""A diff in sentences: of one, of many, and of ranges of instants."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from reminders.domain.model import StatusReason
from reminders.domain.rules import Counts, Fate, Range, RuleChange, RuleDiff
from starter.api.rules import in_words
from tests.builders import NOW, a_rule

HOUR = timedelta(hours=1)


def a_diff(count: int, span: timedelta) -> RuleDiff:
    """So many of everything, over so long."""
    fates = Counter(dict.fromkeys(Fate, count))
    return RuleDiff(
        change=RuleChange(reminder_type="2h", session_id=None, before=None, after=a_rule("2h")),
        total=Counts(fates=fates, skipped=Counter({StatusReason.PAST_DUE: count})),
        sessions=(),
        moved_from=Range(earliest=NOW, latest=NOW + span),
        moved_to=Range(earliest=NOW - HOUR, latest=NOW + span - HOUR),
        planned_for=Range(earliest=NOW, latest=NOW + span),
        looked_at=count,
        is_complete=True,
    )


def test_one_of_each() -> None:
    """In the singular, at one instant."""
    assert (
        "1 waiting reminder moves from 2026-11-23 09:00 UTC to 2026-11-23 08:00 UTC.",
        "1 reminder is newly planned, due 2026-11-23 09:00 UTC.",
        "1 waiting reminder is not sent: the rule is off.",
        "1 reminder is recorded as skipped (past_due) and not sent.",
        "1 reminder has been sent, and is not sent again.",
    ) == in_words(a_diff(1, timedelta()))[:-1]


def test_several_of_each() -> None:
    """In the plural, and it is clear where one range ends and the other begins."""
    assert (
        (
            "3 waiting reminders move from between 2026-11-23 09:00 and 2026-11-24 09:00 UTC"
            " to between 2026-11-23 08:00 and 2026-11-24 08:00 UTC."
        ),
        "3 reminders are newly planned, due between 2026-11-23 09:00 and 2026-11-24 09:00 UTC.",
        "3 waiting reminders are not sent: the rule is off.",
        "3 reminders are recorded as skipped (past_due) and not sent.",
        "3 reminders have been sent, and are not sent again.",
    ) == in_words(a_diff(3, timedelta(days=1)))[:-1]
