"""Any interleaving of whatever can happen ends in the state of the newest truth.

Hypothesis makes up the stories; `interleaving.World` plays them on the real workflow, worker,
server, database and stand-in, and compares after every step. Stories that once went wrong are kept
below as plain tests. `python3 dev.py test --slow -k interleaving` plays hundreds more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from temporalio.client import Client

from devstack.postgres import EmbeddedPostgres
from devstack.provider.server import EmbeddedProvider
from devstack.temporal import EmbeddedTemporal
from reminders.db.engine import Database
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.stage import Stage
from tests.workflows.interleaving import DAY, HOUR, MINUTE, PEOPLE, RULES, Step, World
from tests.workflows.strict import StrictPlugin

pytestmark = pytest.mark.proof

_T = TypeVar("_T")

people = st.integers(0, PEOPLE - 1)
told = st.sampled_from(["call", "sweep"])
told_or_not = st.sampled_from(["call", "sweep", "nobody"])
shifts = st.sampled_from(
    [-5 * HOUR, -20 * MINUTE, 20 * MINUTE, 50 * MINUTE, 3 * HOUR, 5 * HOUR, 3 * DAY]
)
leads = {
    "24h": st.sampled_from([None, DAY, 12 * HOUR, 36 * HOUR]),
    "2h": st.sampled_from([None, 2 * HOUR, 3 * HOUR]),
    "30min": st.sampled_from([None, 30 * MINUTE, 45 * MINUTE]),
}


class Interleaving(RuleBasedStateMachine):
    """One story."""

    stage: ClassVar[Stage]
    runner: ClassVar[asyncio.Runner]

    @initialize(enrolled=st.sets(people, min_size=1))
    def begin(self, enrolled: set[int]) -> None:
        """A session tomorrow, and some who are enrolled."""
        self.world = self.run(World.begun(self.stage))
        for person in sorted(enrolled):
            self.play("enroll", person)

    def teardown(self) -> None:
        """Let the next story begin with nothing."""
        if hasattr(self, "world"):
            self.run(self.world.end())

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait for something, on the loop on which the worker lives."""
        return self.runner.run(work)

    def play(self, *step: Any) -> None:
        """Take one step, and look."""
        self.run(self.world.play(step))

    @rule(person=people, told=told)
    def enroll(self, person: int, told: str) -> None:
        """They enroll, for the first time or again."""
        self.play("enroll", person, told)

    @rule(person=people, told=told_or_not)
    def unenroll(self, person: int, told: str) -> None:
        """They leave."""
        self.play("unenroll", person, told)

    @rule(person=people)
    def cancel_by_hand(self, person: int) -> None:
        """An operator cancels a workflow."""
        self.play("cancel_by_hand", person)

    @rule(by=shifts, told=told)
    def move(self, by: timedelta, told: str) -> None:
        """The session moves."""
        self.play("move", by, told)

    @rule(by=st.sampled_from([20 * MINUTE, 3 * HOUR, 3 * DAY]))
    def move_untold(self, by: timedelta) -> None:
        """The session moves to a later start, and nobody tells us."""
        self.play("move", by, "nobody")

    @rule(kind=st.sampled_from(list(RULES)))
    def switch_off_untold(self, kind: str) -> None:
        """A rule is switched off, and nobody tells us."""
        self.play("change_rule", kind, None, "nobody")

    @rule(from_now=st.sampled_from([-DAY, 100 * MINUTE, 30 * HOUR]), told=told)
    def move_to(self, from_now: timedelta, told: str) -> None:
        """The session moves into the past, or to a new future."""
        self.play("move_to", from_now, told)

    @precondition(lambda self: self.world.truth.is_held)
    @rule(told=told_or_not)
    def cancel(self, told: str) -> None:
        """The session is cancelled."""
        self.play("cancel", told)

    @precondition(lambda self: not self.world.truth.is_held)
    @rule(told=told)
    def restore(self, told: str) -> None:
        """The session is held after all."""
        self.play("restore", told)

    @rule(data=st.data(), kind=st.sampled_from(list(RULES)), told=told)
    def change_rule(self, data: st.DataObject, kind: str, told: str) -> None:
        """A rule is switched off, or on with a lead."""
        self.play("change_rule", kind, data.draw(leads[kind]), told)

    @rule()
    def sweep(self) -> None:
        """The sweep finds nothing to do."""
        self.play("sweep")

    @rule()
    def restart_worker(self) -> None:
        """The worker goes, and comes back."""
        self.play("restart_worker")

    @precondition(lambda self: self.world.truth.live(self.stage.clock.now()))
    @rule(nth=st.integers(0, 2), side=st.sampled_from(["before", "at", "after"]))
    def advance(self, nth: int, side: str) -> None:
        """Time passes until about one of the next due instants."""
        self.play("advance", nth, side)


@contextlib.asynccontextmanager
async def a_stage(
    postgres: EmbeddedPostgres, temporal: EmbeddedTemporal, provider: EmbeddedProvider
) -> AsyncIterator[Stage]:
    """The whole system, for many stories one after the other."""
    name = f"test_{uuid4().hex}"
    await asyncio.to_thread(postgres.create_database, name, template="template")
    settings = Settings(
        database_url=postgres.url(name),
        temporal_task_queue=f"test-{uuid4().hex[:12]}",
        resend_api_url=provider.url,
        resend_api_key=provider.api_key,
        delivery_mode="live",
        email_from="Reminders <reminders@platform.example>",
        email_requests_per_second=1000,
        api_keys="test-key-5Jq8vXw2Zr7LmT4c",
    )
    client = await Client.connect(temporal.address, plugins=[StrictPlugin()])
    database = Database(postgres.url(name))
    try:
        async with (
            ProviderClient(provider.url) as control,
            Stage(settings, database, client, control) as stage,
        ):
            yield stage
    finally:
        await database.aclose()
        await asyncio.to_thread(postgres.drop_database, name)


@pytest.fixture
def machine(
    postgres: EmbeddedPostgres, temporal_server: EmbeddedTemporal, provider_server: EmbeddedProvider
) -> Iterator[type[Interleaving]]:
    """Stories on a stage of their own; Hypothesis is not asynchronous, so the loop is ours."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        Interleaving.runner = runner
        Interleaving.stage = runner.run(
            stack.enter_async_context(a_stage(postgres, temporal_server, provider_server))
        )
        yield Interleaving
        runner.run(stack.aclose())


def test_any_interleaving_ends_in_the_newest_truth(machine: type[Interleaving]) -> None:
    """Failures 1, 2, 4, 5, 12, 18, 19: one e-mail per live reminder, none early, none for the dead."""
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=4,
            stateful_step_count=8,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_hundreds_of_interleavings_end_in_the_newest_truth(machine: type[Interleaving]) -> None:
    """The same, for an hour; a story that goes wrong is kept in `.hypothesis` and told first."""
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=300,
            stateful_step_count=12,
            deadline=None,
            print_blob=True,
            database=DirectoryBasedExampleDatabase(Path(__file__).parents[2] / ".hypothesis"),
            suppress_health_check=list(HealthCheck),
        ),
    )


STORIES: dict[str, list[Step]] = {
    "enrolled-again-too-late-for-one-reminder-then-moved": [
        ("enroll", 0),
        ("unenroll", 0),
        ("pass_by", 5 * HOUR),
        ("enroll", 0),
        ("move", 3 * DAY),
    ],
    "enrolled-again-while-a-rule-was-off": [
        ("enroll", 0),
        ("unenroll", 0),
        ("change_rule", "2h", None),
        ("enroll", 0),
        ("change_rule", "2h", 2 * HOUR),
    ],
    "cancelled-by-hand-then-moved": [
        ("enroll", 0),
        ("advance", 0, "after"),
        ("cancel_by_hand", 0),
        ("move", 3 * DAY),
        ("sweep",),
    ],
    "moved-away-and-nearly-back": [
        ("enroll", 0),
        ("advance", 0, "at"),
        ("move", 5 * HOUR),
        ("move", -250 * MINUTE),
        ("sweep",),
        ("advance", 2, "after"),
    ],
    "left-and-back-by-sql": [
        ("enroll", 0),
        ("unenroll", 0, "sweep"),
        ("enroll", 0, "sweep"),
        ("advance", 2, "after"),
    ],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_a_story_that_once_went_wrong(stage: Stage, story: list[Step]) -> None:
    """It ends in the newest truth, too."""
    world = await World.begun(stage)
    await world.play(*story)
