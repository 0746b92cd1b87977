"""Who takes part in the demo, when their sessions start, and which e-mails that must lead to.

Sessions are placed so that one of their reminders falls due within seconds, in real time: one that
starts in 30 minutes and 20 seconds has its `30min` reminder due in 20 seconds, and its `24h` and
`2h` reminders are too late. That is what late sign-ups look like.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

REMINDERS = {
    "24h": timedelta(hours=24),
    "2h": timedelta(hours=2),
    "30min": timedelta(minutes=30),
}
"""The rules that a new database has, by name; `1h` is switched off."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who enrolls."""

    name: str
    email: str
    time_zone: str
    locale: str
    id: UUID = field(default_factory=uuid4)

    @property
    def place(self) -> str:
        """Where they are, from their zone: `Sao Paulo`."""
        return self.time_zone.rpartition("/")[2].replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """A session, placed so that one of its reminders falls due soon."""

    title: str
    speaker: str
    time_zone: str
    reminder: str
    """The reminder that falls due first."""
    due_in: timedelta
    """How long after the beginning of the demo that is."""
    people: tuple[Person, ...]
    notes: str | None = None
    id: UUID = field(default_factory=uuid4)

    def starts_at(self, began_at: datetime) -> datetime:
        """When it starts, for a demo that began then."""
        return began_at + REMINDERS[self.reminder] + self.due_in


@dataclass(frozen=True, order=True)
class Mail:
    """An e-mail as the demo distinguishes them."""

    to: str
    reminder: str
    title: str

    def __str__(self) -> str:
        return f"{self.reminder:5}  {self.to}  ({self.title})"


def _person(name: str, time_zone: str, locale: str) -> Person:
    user = name.lower().replace(" ", ".")
    return Person(name=name, email=f"{user}@example.com", time_zone=time_zone, locale=locale)


ANA = _person("Ana Ruiz", "Europe/Madrid", "es-ES")
KENJI = _person("Kenji Sato", "Asia/Tokyo", "ja-JP")
TOM = _person("Tom Weber", "Europe/Berlin", "de-DE")
PRIYA = _person("Priya Sharma", "Asia/Kolkata", "en-IN")
CHIDI = _person("Chidi Okafor", "Africa/Lagos", "en-NG")
EMMA = _person("Emma Tremblay", "America/Toronto", "fr-CA")
LARS = _person("Lars Nilsson", "Europe/Stockholm", "sv-SE")
MARIA = _person("Maria Oliveira", "America/Sao_Paulo", "pt-BR")
FATIMA = _person("Fatima Mansour", "Asia/Dubai", "ar-AE")
NOAH = _person("Noah Kelly", "America/Los_Angeles", "en-US")

HEART = Meeting(
    title="Heart failure update",
    speaker="Dr. Joana Duarte",
    time_zone="Europe/Lisbon",
    reminder="30min",
    due_in=timedelta(seconds=20),
    people=(ANA, KENJI, TOM, PRIYA),
    notes="Have a quiet room and your questions ready.",
)
ECG = Meeting(
    title="ECG workshop",
    speaker="Prof. Samuel Boateng",
    time_zone="Africa/Accra",
    reminder="2h",
    due_in=timedelta(seconds=25),
    people=(ANA, CHIDI, EMMA),
    notes="Print the six strips from the handout.",
)
ROUNDS = Meeting(
    title="Grand rounds: sepsis",
    speaker="Dr. Mei Chen",
    time_zone="Asia/Singapore",
    reminder="24h",
    due_in=timedelta(seconds=30),
    people=(LARS, MARIA),
)
CASES = Meeting(
    title="Paediatric cases",
    speaker="Dr. Nora Haddad",
    time_zone="Asia/Amman",
    reminder="30min",
    due_in=timedelta(seconds=25),
    people=(FATIMA, NOAH),
)
MEETINGS = (HEART, ECG, ROUNDS, CASES)

MOVED = Meeting(
    id=CASES.id,
    title=CASES.title,
    speaker=CASES.speaker,
    time_zone=CASES.time_zone,
    reminder="2h",
    due_in=timedelta(seconds=35),
    people=CASES.people,
)
"""The same session, an hour and a half later."""

CANCELLED = (TOM, HEART)
"""The enrollment that the `temporal` command cancels."""
UNENROLLED = (PRIYA, HEART)
"""The enrollment that the platform deletes."""
REPEATED = (KENJI, HEART)
"""The enrollment that the platform asks for twice."""

LAST_DUE = MOVED.due_in


def expected() -> Counter[Mail]:
    """The e-mails that must arrive, once each, and nothing else."""
    nobody = {CANCELLED, UNENROLLED}
    return Counter(
        Mail(person.email, meeting.reminder, meeting.title)
        for meeting in (HEART, ECG, ROUNDS, MOVED)
        for person in meeting.people
        if (person, meeting) not in nobody
    )
