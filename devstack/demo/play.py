"""The demo's plot, in real time: sign up, sleep, cancel, move, and watch the e-mails arrive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from rich.markup import escape

from devstack import process
from devstack.demo import scenario
from devstack.demo.board import Scene, Screen, span
from devstack.demo.platform import Arrival, Entry, Platform
from devstack.demo.scenario import MEETINGS, MOVED, Mail, Meeting, Person
from devstack.program import foreign_environment
from devstack.stack import LocalStack
from devstack.temporal import find_temporal
from reminders.clock import SystemClock

TICK_SECONDS = 0.25

LEDGER_EVERY = timedelta(seconds=1)
"""How often the ledger is asked; between, the board only counts down."""

PATIENCE = timedelta(seconds=20)
"""How late the last e-mail may be."""

QUIET = timedelta(seconds=2)
"""How long is watched for e-mails that nobody expects, once the last one is there."""

REPEAT_AT, CANCEL_AT, UNENROLL_AT, MOVE_AT = (timedelta(seconds=s) for s in (4, 7, 10, 14))
"""When each scene is played, from the beginning."""


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


class Play:
    """Plays the scenes and keeps what it sees."""

    def __init__(self, screen: Screen, stack: LocalStack, platform: Platform) -> None:
        self._screen = screen
        self._stack = stack
        self._platform = platform
        self._clock = SystemClock()
        self._began_at = self._clock.now()
        self._meetings: dict[Meeting, Meeting] = {}
        self._runs: dict[tuple[object, object], str] = {}
        self._expected = scenario.expected()
        self._arrivals: list[Arrival] = []
        self._entries: list[Entry] = []
        self._ledger_at = self._began_at
        self._claims: dict[str, bool] = {}

    def play(self) -> Verdict:
        """Play it to the end; every wait is bounded.

        Raises:
            EmbeddedServerError: If a part dies, or an answer is not what it should be.
        """
        self._sign_up()
        self._watch_until(REPEAT_AT)
        self._enroll_again()
        self._watch_until(CANCEL_AT)
        self._cancel_by_hand()
        self._watch_until(UNENROLL_AT)
        self._unenroll()
        self._watch_until(MOVE_AT)
        self._move()
        self._watch_until(scenario.CASES.due_in + QUIET)
        self._note_the_silence()
        self._watch_until(scenario.LAST_DUE)
        deadline = scenario.LAST_DUE + PATIENCE
        while len(self._arrivals) < self._expected.total() and self._elapsed() < deadline:
            self._watch_until(self._elapsed() + timedelta(seconds=TICK_SECONDS))
        self._say(f"Watching {span(QUIET)} more for e-mails that nobody expects.")
        self._watch_until(self._elapsed() + QUIET)
        self._look_at_the_workflows()
        return Verdict(
            expected=self._expected,
            arrived=arrived(self._arrivals, self._entries),
            claims=self._claims,
        )

    def scene(self) -> Scene:
        """How things stand."""
        return Scene(
            now=self._clock.now(),
            began_at=self._began_at,
            meetings=[(m, m.starts_at(self._began_at)) for m in self._meetings.values()],
            entries=self._entries,
            arrivals=self._arrivals,
            wanted=self._expected.total(),
        )

    # ------------------------------------------------------------ the scenes

    def _sign_up(self) -> None:
        people = {person.id: person for meeting in MEETINGS for person in meeting.people}
        for person in people.values():
            self._platform.put_person(person)
        self._began_at = self._clock.now()
        for meeting in MEETINGS:
            self._platform.put_session(meeting, meeting.starts_at(self._began_at))
            self._meetings[meeting] = meeting
            for person in meeting.people:
                run_id, _ = self._platform.enroll(person, meeting)
                self._runs[person, meeting] = run_id
        self._say(
            f"A platform has signed up {len(people)} people for {len(MEETINGS)} sessions "
            f"([bold]POST /v1/enrollments[/], {len(self._runs)} times). Each enrollment is a "
            "workflow that now sleeps in Temporal until a reminder is due."
        )

    def _enroll_again(self) -> None:
        person, meeting = scenario.REPEATED
        run_id, is_new = self._platform.enroll(person, meeting)
        same = run_id == self._runs[person, meeting] and not is_new
        self._claims["a repeated enrollment finds the same run"] = same
        self._say(
            f"{person.name}'s enrollment is sent [bold]again[/], as after a lost answer: "
            + ("the same run, nothing is doubled." if same else "[red]another run![/]")
        )

    def _cancel_by_hand(self) -> None:
        person, meeting = scenario.CANCELLED
        workflow_id = self._platform.workflow(person, meeting)["id"]
        arguments = ["workflow", "cancel", "--workflow-id", workflow_id]
        self._say(f"An operator [bold]cancels[/] {person.name}'s workflow by hand:")
        self._screen.quote(f"$ temporal {' '.join(arguments)}", style="cyan")
        environment = {**foreign_environment(), **self._stack.environment()}
        answer = process.run([find_temporal(), *arguments], env=environment)
        self._screen.quote(answer, style="dim")

    def _unenroll(self) -> None:
        person, meeting = scenario.UNENROLLED
        receipt = self._platform.unenroll(person, meeting)
        self._say(
            f"{person.name} [bold]unenrolls[/] (DELETE /v1/enrollments/...): "
            f"{receipt['cancelled']} reminder cancelled."
        )

    def _move(self) -> None:
        meeting = scenario.CASES
        earlier = meeting.starts_at(self._began_at)
        later = MOVED.starts_at(self._began_at)
        changes = self._platform.put_session(MOVED, later)
        self._meetings[meeting] = MOVED
        silent_in = self._began_at + meeting.due_in - self._clock.now()
        self._claims["a move reaches the sleeping workflows"] = changes["replanned"] == len(
            meeting.people
        )
        self._say(
            f"{meeting.title} [bold]moves[/] by {span(later - earlier)} (PUT /v1/sessions/...): "
            f"{changes['replanned']} sleeping workflows have the new plan. Their old instant, in "
            f"{span(silent_in)}, must pass in silence."
        )

    def _note_the_silence(self) -> None:
        names = " and ".join(person.name for person in MOVED.people)
        moved = {person.email for person in MOVED.people}
        silent = not any(arrival.to in moved for arrival in self._arrivals)
        self._claims["the old instant of a moved session is silent"] = silent
        if silent:
            self._say(f"Nothing for {names}: their old instant has passed in silence.")

    def _look_at_the_workflows(self) -> None:
        """See that inbox, ledger and Temporal say the same."""
        sent = sorted(e.id for e in self._entries if e.sent_at is not None)
        self._claims["the ledger has what the inbox has"] = sent == sorted(
            arrival.reminder_id for arrival in self._arrivals
        )
        for whom, status in (
            (scenario.CANCELLED, "canceled"),
            (scenario.UNENROLLED, "canceled"),
            (scenario.REPEATED, "completed"),
            ((scenario.LARS, scenario.ROUNDS), "running"),
        ):
            found = self._platform.workflow(*whom)["status"]
            self._claims[f"Temporal has {whom[0].name}'s workflow as {status}"] = found == status

    # ------------------------------------------------------------ watching

    def _watch_until(self, elapsed: timedelta) -> None:
        """Show how things stand until so long after the beginning.

        Raises:
            EmbeddedServerError: If a part dies.
        """
        while True:
            self._look()
            left = (elapsed - self._elapsed()).total_seconds()
            if left <= 0:
                return
            time.sleep(min(left, TICK_SECONDS))

    def _look(self) -> None:
        known = len(self._arrivals)
        self._arrivals = self._platform.inbox()
        now = self._clock.now()
        if len(self._arrivals) > known or now - self._ledger_at >= LEDGER_EVERY:
            self._ledger_at = now
            self._stack.check()
            self._entries = [e for meeting in MEETINGS for e in self._platform.ledger(meeting)]
        for arrival in self._arrivals[known:]:
            self._announce(arrival)
        self._screen.show(self.scene())

    def _announce(self, arrival: Arrival) -> None:
        name = next((p.name for m in MEETINGS for p in m.people if p.email == arrival.to), None)
        self._say(f"[green]✉ {escape(name or arrival.to)}[/]: {escape(arrival.subject)}")

    def _elapsed(self) -> timedelta:
        return self._clock.now() - self._began_at

    def _say(self, markup: str) -> None:
        self._screen.say(markup, at=self._elapsed())
