"""What happens in a schedule, made up from its seed before it begins.

A story is a list of events, so it can be read, and a failing one can be made shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from tests.simulation.provider import Weather

MINUTE = 60.0
RULES = (("early", 30.0), ("late", 5.0)), (("early", 60.0), ("late", 20.0)), (("late", 10.0),)
"""Types and leads in minutes."""
NOTICED = 1_000_000
"""From this seed on people are told of what changes; otherwise a seed's story is what it was."""
WILDER = 3_000_000
"""From this seed on there are more knots; the same holds."""


@dataclass(order=True, frozen=True, slots=True)
class Event:
    """Something that happens at a second of the schedule."""

    at: float
    verb: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        """As a person reads it."""
        told = " ".join(str(a) for a in self.arguments)
        return f"{self.at:9.2f}  {self.verb} {told}".rstrip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """A schedule's beginning, and what happens then."""

    seed: int
    leads: tuple[tuple[str, float], ...]
    people: int
    starts: tuple[float, ...]
    """Second at which each session starts."""
    workers: int
    batch_size: int
    loses: float
    """Part of the calls to the database or Temporal that fail, before or after they are done."""
    skews: tuple[float, ...]
    """By how many seconds the clock of each worker's machine is ahead."""
    old_keys: tuple[bool, ...]
    lead_in: float
    bad_person: int | None
    dislikes: int | None
    has_notices: bool = False
    """Whether people are told that a session was cancelled or moved."""
    confirms: bool = False
    """Whether they are told that they are enrolled."""
    events: tuple[Event, ...] = field(repr=False)

    @property
    def ends_at(self) -> float:
        """When all is over, unless something still waits."""
        moved = [e.at for e in self.events]
        return max((*self.starts, *moved)) + 2 * MINUTE


def story(seed: int) -> Story:
    """The story of a seed."""
    r = Random(seed)
    leads = r.choice(RULES)
    people = r.choice((1, 1, 2, 2, 3, 5))
    first = leads[0][1] * MINUTE + r.choice((20.0, 90.0, 300.0))
    starts = [first]
    if r.random() < 0.5:
        starts.append(first + r.choice((0.0, 0.0, 7.0 * MINUTE, -10.0)))
    workers = r.choice((1, 2, 2, 3))
    instants = sorted({s - lead * MINUTE for s in starts for _, lead in leads})
    events = [
        Event(0.1 + 0.2 * p, "enroll", (p, s)) for p in range(people) for s in range(len(starts))
    ]
    for _ in range(r.choice((1, 1, 1, 2))):  # what goes wrong, goes wrong together
        moment = r.choice((*instants, *instants, starts[0], instants[0] - 30.0))

        def about(moment: float = moment) -> float:
            """A second around it, mostly while a reminder is on its way."""
            match r.randrange(6):
                case 0:
                    offset = r.gauss(0.0, 5.0)
                case 1:
                    offset = r.uniform(-60.0, 90.0)
                case _:
                    offset = r.uniform(-0.3, 0.9)
            return max(1.0, moment + offset)

        for _ in range(r.choice((0, 1, 1, 2))):
            events += _platform(r, about, people, len(starts))
        for _ in range(r.choice((0, 1, 1, 2, 2))):
            events += _trouble(r, about(), workers)
    dislikes = r.randrange(people) if r.random() < 0.5 else None
    knot = r.random()
    has_notices = seed >= NOTICED
    if seed >= WILDER and knot >= 0.2:
        has_notices = r.random() < 0.7
        is_news = has_notices and knot < 0.7
        kept = [e for e in events if _is_enrolling(e) or (is_news and e.verb in TROUBLES)]
        moment = instants[0] if is_news else r.choice(instants)
        events = kept + (_news if is_news else _wild_knot)(r, moment, starts[0], people, workers)
    elif knot < 0.5:
        closely = _knot if knot < 0.3 else _quiet_knot
        enrolled = [e for e in events if _is_enrolling(e)]
        events = enrolled + closely(r, r.choice(instants), workers)
        dislikes = 0 if people > 1 and knot < 0.3 else None
    return Story(
        seed=seed,
        leads=leads,
        people=people,
        starts=tuple(starts),
        workers=workers,
        batch_size=r.choice((1, 2, 100, 100)),
        loses=r.choice((0.0, 0.0, 0.0, 0.02, 0.1)),
        skews=tuple(
            r.choice((0.0, 0.0, 0.0, 0.4, -0.4, 3.0, -3600.0, 3600.0)) for _ in range(workers)
        ),
        old_keys=tuple(i == 1 and r.random() < 0.25 for i in range(workers)),
        lead_in=r.choice((0.0, 0.0, 3.0, 40.0)),
        bad_person=r.randrange(people) if r.random() < 0.05 else None,
        dislikes=dislikes,
        has_notices=has_notices,
        events=tuple(sorted(events)),
        confirms=has_notices and (seed < WILDER or r.random() < 0.5),
    )


def _is_enrolling(event: Event) -> bool:
    """Whether it is how a story begins."""
    return event.verb == "enroll" and event.at < 2.0


def _knot(r: Random, moment: float, workers: int) -> list[Event]:
    """Things that must come together closely, and seldom would by chance."""
    soon, lasts = moment + r.uniform(0.0, 0.6), r.choice((8.0, 30.0, 70.0, 150.0))
    change = r.choice(
        (
            Event(
                soon + r.uniform(0.1, 20.0), "move", (0, r.choice((1, 50, 90)) * MINUTE, "sweep")
            ),
            Event(soon + r.uniform(0.1, 20.0), "cancel", (0, r.choice(("call", "sweep")))),
        )
    )
    match r.randrange(6):
        case 0:  # a worker stands still with the answer in its hands, and the world changes
            stopped = [
                Event(soon + r.choice((0.0, 0.2)), "pause", (w,))
                for w in range(r.randint(1, workers))
            ]
            return [*stopped, change, *(Event(soon + lasts, "go on", e.arguments) for e in stopped)]
        case 1:  # of two sessions that start together one is moved, and nobody tells us
            earlier = -r.choice((0.5, 1.0, 3.0)) * MINUTE
            return [Event(moment - r.uniform(0.0, 1.0), "move", (r.randrange(2), earlier, "sweep"))]
        case 2:
            kind = r.choice((Weather.FIREWALL, Weather.REFUSES_ONE, Weather.REFUSES_KEY))
            return [
                Event(max(1.0, moment - 5.0), "weather", (kind,)),
                Event(moment + 10 * MINUTE, "weather", (Weather.FINE,)),
            ]
        case 3:
            kind = r.choice((Weather.QUOTA, Weather.HOUR, Weather.REFUSES_SENDER, Weather.DOWN))
            return [
                Event(max(1.0, moment - 5.0), "weather", (kind,)),
                Event(moment + lasts, "weather", (Weather.FINE,)),
            ]
        case 4:  # nothing certain is known of a request, and it is overtaken by the world
            silent = r.choice((Weather.DOWN, Weather.SILENT))
            return [
                Event(max(1.0, moment - 1.0), "weather", (silent,)),
                change,
                Event(moment + 4 * lasts, "weather", (Weather.FINE,)),
            ]
        case _:
            return [
                *(Event(soon, "die", (w,)) for w in range(workers)),
                *(Event(soon + 0.1, "revive", (w, "redirect")) for w in range(workers)),
                *(Event(soon + lasts, "revive", (w, "live")) for w in range(workers)),
            ]


def _quiet_knot(r: Random, moment: float, workers: int) -> list[Event]:
    """What nobody tells us of, shortly before it matters; and what lasts."""
    before = max(3.0, moment - r.uniform(0.05, 3.0))
    match r.randrange(5):
        case 0 | 1:
            return [
                r.choice(
                    (
                        Event(before, "unenroll", (0, 0, "sweep")),
                        Event(before, "cancel", (0, "sweep")),
                        Event(before, "opt out", (0,)),
                        Event(before, "rule off", ("late", "sweep")),
                    )
                )
            ]
        case 2:  # nobody is there until the next one is due as well
            gone = [Event(max(1.5, moment - 1.0), "die", (w,)) for w in range(workers)]
            back = moment + r.choice((25.0, 40.0)) * MINUTE + r.choice((20.0, 90.0))
            return gone + [Event(back, "revive", (w, "live")) for w in range(workers)]
        case 3:  # it moves, and nearly back
            return [
                Event(moment + 5.0, "move", (0, 90 * MINUTE, "call")),
                Event(moment + r.choice((9.0, 200.0)), "move", (0, -50 * MINUTE, "call")),
            ]
        case _:
            return [
                Event(moment + r.uniform(0.0, 0.6), "cancel by hand", (0, 0)),
                Event(moment + r.uniform(20.0, 90.0), "unenroll", (0, 1, "call")),
                Event(moment + r.uniform(100.0, 120.0), "enroll", (0, 1, "call")),
            ]


def _wild_knot(r: Random, moment: float, start: float, _people: int, workers: int) -> list[Event]:
    """What the others would bring together once in many thousand schedules."""
    away, soon = 50 * MINUTE, r.choice((5, 10, 20)) * MINUTE + 40.0
    match r.randrange(4):
        case 0:  # nobody could be reminded until the start; it moves before that is recorded
            return [
                Event(max(1.0, moment - 5.0), "weather", (Weather.UNREACHABLE,)),
                Event(start + r.uniform(-1.1, 0.1), "move", (0, soon, "call")),
                Event(start - 1.2, "database", (False,)),
                Event(start + 3.0, "database", (True,)),
                Event(start + 20.0, "weather", (Weather.FINE,)),
            ]
        case 1:  # it moves and moves back, and who passes on the first move dies
            before = max(3.0, moment - r.uniform(2.0, 30.0))
            dies = "call, and who passes it on dies"
            return [
                Event(before, "move", (0, away, dies)),
                Event(before + r.uniform(0.01, 0.2), "move", (0, -away, "call")),
            ]
        case 2:  # nothing certain is known of a request, and nothing can be asked
            return [
                Event(max(1.0, moment - 1.0), "weather", (Weather.SILENT,)),
                Event(moment + r.uniform(0.5, 12.0), "weather", (Weather.UNREACHABLE,)),
                Event(moment + r.choice((100.0, 200.0)), "weather", (Weather.FINE,)),
            ]
        case _:  # many speak of the same person at once, and some of them die
            at = max(3.0, moment - r.uniform(0.5, 60.0))
            calls = []
            for _ in range(r.randint(2, 5)):
                told = r.choice(("call", "call", "call and die"))
                verb = r.choice(("enroll", "unenroll", "move"))
                subject = (0, r.choice((-1, 1, 20)) * MINUTE) if verb == "move" else (0, 0)
                calls.append(Event(at, verb, (*subject, told)))
                at += r.choice((0.0, 0.01, 0.05, 0.1))
            last = Event(at + r.uniform(0.0, 0.1), "enroll", (0, 0, "call"))
            stopped = [Event(at + 0.3, "pause", (w,)) for w in range(workers) if r.random() < 0.1]
            return [
                *calls,
                last,
                *stopped,
                *(Event(at + 9.0, "go on", e.arguments) for e in stopped),
            ]


TROUBLES = frozenset(
    {"weather", "die", "revive", "pause", "go on", "database", "temporal", "lose answers"}
)


def _news(r: Random, instant: float, start: float, people: int, _workers: int) -> list[Event]:
    """What people are told of: a burst of changes, or two, of a session or a place in it."""
    events: list[Event] = []
    for _ in range(r.choice((1, 1, 2, 3))):
        at = max(3.0, r.choice((instant, instant, start)) - r.choice((2.0, 30.0, 130.0, 400.0)))
        told = r.choice(("call", "call", "call", "call and die", "sweep", "quiet"))
        soon = at + r.choice((0.2, 5.0, 40.0, 110.0, 125.0))
        shift = r.choice((-5, -1, 5, 50, 90, 24 * 60)) * MINUTE
        back = r.choice((-shift, shift, 5 * MINUTE))
        person = r.randrange(people)
        match r.randrange(6):
            case 0:
                burst = [Event(at, "move", (0, shift, told))]
            case 1:
                burst = [Event(at, "move", (0, shift, told)), Event(soon, "move", (0, back, told))]
            case 2:  # into the past, by mistake
                burst = [
                    Event(at, "move", (0, at - start - MINUTE, "call")),
                    Event(soon, "move", (0, start - at + 90 * MINUTE, "call")),
                ]
            case 3:
                burst = [Event(at, "cancel", (0, told)), Event(soon, "restore", (0, told))]
            case 4:
                burst = [Event(at, "cancel", (0, told))]
            case _:  # from the waiting list, while it moves
                burst = [
                    Event(at, "wait list", (person, 1)),
                    Event(at + 1.0, "move", (1, shift, told)),
                    Event(soon + 1.0, "enroll", (person, 1)),
                ]
        events += burst
    return events


def _platform(r: Random, about: Callable[[], float], people: int, sessions: int) -> list[Event]:
    """Something that people or the platform do."""
    person, session, at = r.randrange(people), r.randrange(sessions), about()
    told = r.choice(("call", "call", "call", "call and die", "sweep", "sweep"))
    shift = r.choice((-25, -3, -1, 1, 4, 20, 50, 90, 200)) * MINUTE
    soon = at + r.choice((0.01, 0.05, 0.2, 0.5, 4.0, 30.0))
    match r.randrange(10):
        case 0:
            return [Event(at, "unenroll", (person, session, told))]
        case 1 | 2:  # several calls about the same person at once
            verbs = r.choice((("unenroll", "enroll"), ("enroll", "unenroll"), ("enroll", "enroll")))
            first = r.choice(("unenroll", "cancel by hand"))
            calls = [Event(at, first, (person, session, told)[: 3 if first == "unenroll" else 2])]
            for verb in (*verbs, *r.choice(((), ("unenroll",)))):
                at += r.choice((0.01, 0.05, 0.15, 0.4, 6.0))
                calls.append(Event(at, verb, (person, session, "call")))
            return calls
        case 3:
            return [Event(at, "move", (session, shift, told))]
        case 4:  # and back, or on
            return [
                Event(at, "move", (session, shift, told)),
                Event(soon, "move", (session, r.choice((-shift, -shift, 60.0)), told)),
            ]
        case 5:
            return [Event(at, "cancel", (session, told))]
        case 6:
            return [Event(at, "cancel", (session, told)), Event(soon, "restore", (session, told))]
        case 7:
            return [Event(at, "cancel by hand", (person, session))]
        case 8:
            return [Event(at, "opt out", (person,))]
        case _:
            return [Event(at, "rule off", ("late", told))]


def _trouble(r: Random, at: float, workers: int) -> list[Event]:
    """Something that goes wrong."""
    worker = r.randrange(workers)
    lasts = r.choice((0.5, 3.0, 10.0, 25.0, 70.0, 150.0))
    match r.choice(
        (
            "weather",
            "weather",
            "weather",
            "weather",
            "die",
            "die",
            "die",
            "pause",
            "pause",
            "database",
            "temporal",
            "mode",
            "answers",
        )
    ):
        case "weather":
            kind = r.choice([w for w in Weather if w is not Weather.FINE])
            if kind in (Weather.REFUSES_KEY, Weather.FIREWALL):
                lasts *= 10  # until somebody has noticed
            return [Event(at, "weather", (kind,)), Event(at + lasts, "weather", (Weather.FINE,))]
        case "die":
            return [Event(at, "die", (worker,)), Event(at + lasts, "revive", (worker, "live"))]
        case "pause":
            return [Event(at, "pause", (worker,)), Event(at + min(lasts, 70.0), "go on", (worker,))]
        case "database":
            return [Event(at, "database", (False,)), Event(at + lasts, "database", (True,))]
        case "temporal":
            return [Event(at, "temporal", (False,)), Event(at + lasts, "temporal", (True,))]
        case "answers":
            return [Event(at, "lose answers", (0.5,)), Event(at + lasts, "lose answers", (0.0,))]
        case _:
            away = [Event(at, "die", (w,)) for w in range(workers)]
            other = [Event(at + 0.1, "revive", (w, "redirect")) for w in range(workers)]
            back = [Event(at + lasts, "die", (w,)) for w in range(workers)]
            again = [Event(at + lasts + 0.1, "revive", (w, "live")) for w in range(workers)]
            return away + other + back + again


def lead(minutes: float) -> timedelta:
    """As a rule has it."""
    return timedelta(minutes=minutes)
