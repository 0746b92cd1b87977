"""Whatever happens in whatever order: what people were told last is what is so, and told once."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reminders.domain.model import EnrollmentStatus, Notice, ReminderStatus, SessionStatus
from tests.builders import a_session
from tests.reminders.domain.enrollee import Enrollee

START = a_session().starts_at
STARTS = st.sampled_from([timedelta(hours=h) for h in (100, 101, 150, 40, -1)])
"""After `NOW`; the last one is a mistake."""
PAUSES = st.sampled_from([timedelta(seconds=s) for s in (0, 20, 119, 121, 3600)])


class Told(RuleBasedStateMachine):
    """One person, whose session is moved, cancelled and restored, and who comes and goes."""

    def __init__(self) -> None:
        """Enrolled."""
        super().__init__()
        self.person = Enrollee()
        self.person.enroll()
        self.person.wait(timedelta(seconds=1))
        self.has_left = False
        """Whether they were unenrolled since: what they then know, nobody can say."""

    @rule(to=STARTS)
    def move(self, to: timedelta) -> None:
        """The session moves, or is moved where it is."""
        if self.person.session.status is SessionStatus.SCHEDULED:
            self.person.move(to)

    @rule()
    def cancel(self) -> None:
        """The session is cancelled."""
        self.person.cancel()

    @rule()
    def restore(self) -> None:
        """And takes place after all."""
        self.person.restore()

    @rule()
    def plan(self) -> None:
        """A sweep looks, or somebody repeats a call."""
        self.person.plan()

    @rule(time=PAUSES)
    def wait(self, time: timedelta) -> None:
        """Time passes."""
        self.person.wait(time)

    @rule()
    def leave_and_return(self) -> None:
        """The person is unenrolled, and enrolled once more."""
        self.has_left = True
        self.person.enrollment = EnrollmentStatus.CANCELLED
        self.person.plan()
        self.person.enroll()

    @invariant()
    def at_most_one_of_each_waits(self) -> None:
        """A burst is one notice."""
        waiting = [
            r.reminder_type
            for r in self.person.rows.values()
            if r.status is ReminderStatus.SCHEDULED
        ]
        assert len(waiting) == len(set(waiting))

    @invariant()
    def nothing_is_told_twice(self) -> None:
        """Of two notices about the session that follow one another, the second tells another state."""
        said = [m for m in self.person.mails if m.kind in (Notice.CANCELLED, Notice.MOVED)]
        states = [(m.kind == Notice.CANCELLED, m.tells) for m in said]
        if not self.has_left:
            assert all(a != b for a, b in pairwise(states)), states

    @precondition(lambda self: not self.has_left)
    @rule()
    def come_to_rest(self) -> None:
        """When it has cooled, everybody who takes part knows what is so, while that is of use."""
        person = self.person
        person.plan()
        person.wait(timedelta(minutes=3))
        last = person.mails[-1] if person.mails else None
        knows = last is not None and last.kind == Notice.CANCELLED, last.tells if last else START
        starts_at = person.session.starts_at
        if min(knows[1], starts_at) > person.now:
            is_cancelled = person.session.status is SessionStatus.CANCELLED
            assert knows[0] == is_cancelled, person.told()
            assert is_cancelled or knows[1] == starts_at


Told.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestTold = Told.TestCase
