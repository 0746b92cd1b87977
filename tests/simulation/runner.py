"""Plays schedules by the thousand, and one with its trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.simulation.invariants import violations
from tests.simulation.provider import CheapComposer
from tests.simulation.story import Story, story
from tests.simulation.virtual import EndlessError
from tests.simulation.world import Evidence, World, quiet


@dataclass(frozen=True, slots=True)
class Failure:
    """A schedule in which something did not hold."""

    seed: int
    invariant: str
    seen: str


@dataclass(slots=True)
class Tally:
    """What came of many schedules."""

    schedules: int = 0
    accepted: int = 0
    steps: int = 0
    hours: float = 0.0
    """Of virtual time."""
    failures: list[Failure] = field(default_factory=list)


def judge(of: Story, **how: object) -> tuple[Evidence | None, list[tuple[str, str]]]:
    """Play a story, and say what did not hold."""
    world = World(of, **how)  # type: ignore[arg-type]
    try:
        evidence = world.play()
    except EndlessError as error:
        return None, [("it_ends", str(error))]
    return evidence, violations(evidence)


def play(
    seeds: Iterable[int],
    *,
    enough: Callable[[Tally], bool] = lambda _: False,
    composer: Callable[[str], object] = CheapComposer,
) -> Tally:
    """Play the schedules of these seeds, until it is enough."""
    tally = Tally()
    with quiet():
        for seed in seeds:
            evidence, found = judge(story(seed), composer=composer)
            tally.schedules += 1
            if evidence is not None:
                tally.accepted += len(evidence.provider.accepted)
                tally.steps += evidence.steps
                tally.hours += evidence.seconds / 3600
            tally.failures += [Failure(seed, *violation) for violation in found]
            if enough(tally):
                break
    return tally
