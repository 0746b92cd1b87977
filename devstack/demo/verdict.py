"""Whether exactly the expected e-mails arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from devstack.demo.platform import Arrival, Entry
from devstack.demo.scenario import MEETINGS, Mail, Person


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Expected against arrived, and the other things that had to be so."""

    expected: Counter[Mail]
    arrived: Counter[Mail]
    claims: Mapping[str, bool]
    """What was shown on the way, and whether it was true."""

    @property
    def missing(self) -> Counter[Mail]:
        """Expected and not arrived."""
        return self.expected - self.arrived

    @property
    def unexpected(self) -> Counter[Mail]:
        """Arrived and not expected; a second copy is not expected."""
        return self.arrived - self.expected

    @property
    def is_good(self) -> bool:
        """Whether everything was as it should be."""
        return not self.missing and not self.unexpected and all(self.claims.values())


def arrived(arrivals: Iterable[Arrival], ledger: Iterable[Entry]) -> Counter[Mail]:
    """The inbox, with every e-mail traced to its reminder by the tag that it carries.

    Args:
        arrivals: What the inbox has.
        ledger: All reminders of the demo.

    Returns:
        How often each arrived. One that carries no reminder of ours, or reached somebody else
        than its reminder was for, counts under its subject, and so is never an expected one.
    """
    entries = {entry.id: entry for entry in ledger}
    people = {person.id: person for meeting in MEETINGS for person in meeting.people}
    titles = {meeting.id: meeting.title for meeting in MEETINGS}

    def traced(arrival: Arrival) -> Mail:
        entry = entries.get(arrival.reminder_id)
        meant_for: Person | None = people.get(entry.user_id) if entry else None
        if entry is None or meant_for is None or meant_for.email != arrival.to:
            return Mail(arrival.to, "?", arrival.subject)
        return Mail(arrival.to, entry.reminder_type, titles[entry.session_id])

    return Counter(traced(arrival) for arrival in arrivals)
