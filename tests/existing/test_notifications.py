"""Triggers of the platform's tell what has changed, and a worker follows at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from reminders.db import channel
from reminders.db.channel import Channel
from reminders.db.sweep import SweepQueries
from reminders.domain.errors import (
    DatabaseUnavailableError,
    SessionNotFoundError,
    TemporalUnavailableError,
)
from reminders.domain.ports import Enrollment
from starter.gateway import ReminderGateway
from starter.plugin import reconciler
from starter.services.notifications import TRIES, Notifications, ids_in
from starter.services.reconciler import EnrollmentReconciler
from starter.services.sweeps import Sweeps, SweepStart
from tests.existing.conftest import GUIDE
from tests.existing.host import ROOT, Host
from tests.existing.test_existing_platform import statuses
from tests.stage import Stage, eventually

HOUR = timedelta(hours=1)
CHANNEL = "session_reminders"
SESSION, USER = UUID(int=0xAB), UUID(int=0xCD)


def triggers() -> str:
    """The guide's."""
    written = (ROOT / "docs" / GUIDE).read_text(encoding="utf-8")
    section = written.split("\n## 5. Be told at once\n")[1].split("\n## ")[0]
    blocks: list[str] = re.findall(r"(?s)```sql\n(.*?)```", section)
    return "".join(blocks)


@asynccontextmanager
async def administering(host: Host) -> AsyncIterator[asyncpg.Connection]:
    """A connection that takes several statements at once."""
    connection = await asyncpg.connect(host.url.replace("+asyncpg", ""))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def listening(stage: Stage) -> AsyncIterator[Notifications]:
    """A worker's ears, once they are open."""
    told = Notifications(
        channel=Channel(stage.database, CHANNEL),
        reconciler=reconciler(stage.parts),
        gateway=stage.gateway,
        sweeps=stage.sweeps,
    )
    async with told.running():
        await eventually(told.channel.is_heard)
        yield told


async def test_a_committed_row_is_followed_at_once(stage: Stage, host: Host) -> None:
    """Enrolled, moved, left and deleted in the platform's tables only; nobody sweeps."""
    async with administering(host) as administrator:
        await administrator.execute(triggers())
    session = await host.session(stage.clock.now() + 25 * HOUR)
    ana, ben = await host.person("ana"), await host.person("ben")
    async with listening(stage):
        for user in (ana, ben):
            await host.enrolls(session, user)
        await eventually(lambda: are(stage, session, ana, {"scheduled"}))
        moved = (stage.clock.now() + 30 * HOUR).replace(microsecond=0)
        await host.run("UPDATE sessions SET scheduled_at = :at", at=moved)

        async def starts_then() -> bool:
            rows = await stage.queries.of_enrollment(session, ana)
            return {row.starts_at for row in rows} == {moved}

        await eventually(starts_then)
        await host.run("DELETE FROM session_enrollments WHERE user_id = :id", id=ana)
        await eventually(lambda: are(stage, session, ana, {"cancelled: unenrolled"}))
        assert {"scheduled"} == await statuses(stage, session, ben)
        other = await host.session(stage.clock.now() + 25 * HOUR)
        await host.enrolls(other, ana)
        await eventually(lambda: are(stage, other, ana, {"scheduled"}))
        await host.run("DELETE FROM sessions WHERE id = :id", id=other)
        await eventually(lambda: are(stage, other, ana, {"cancelled: session_deleted"}))


async def are(stage: Stage, session: UUID, user: UUID, wanted: set[str]) -> bool:
    """Whether a person's reminders are like this by now."""
    return await statuses(stage, session, user) == wanted


async def test_another_listens_when_the_connection_ends(
    stage: Stage, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two is told of a change; whoever begins to listen starts a sweep."""
    monkeypatch.setattr(channel, "TRIED_EVERY", timedelta(milliseconds=50))
    heard: list[tuple[str, str]] = []
    missed: list[str] = []

    def ears(name: str) -> asyncio.Task[None]:
        listens = Channel(stage.database, CHANNEL).listen(
            lambda words: heard.append((name, words)), lambda: missed.append(name)
        )
        return asyncio.create_task(listens)

    async def tell(words: str) -> tuple[str, str]:
        await host.run("SELECT pg_notify(:channel, :words)", channel=CHANNEL, words=words)

        async def is_heard() -> bool:
            return any(words == told for _, told in heard)

        await eventually(is_heard)
        return next(one for one in heard if one[1] == words)

    one, two = ears("one"), ears("two")
    await eventually(Channel(stage.database, CHANNEL).is_heard)
    first, _ = await tell("a")
    assert [("a",)] == [(words,) for _, words in heard]
    assert [first] == missed, "what was told before anybody listened"
    await host.run(
        "SELECT pg_terminate_backend(pid) FROM pg_locks"
        " WHERE locktype = 'advisory' AND objid = :key AND granted",
        key=channel.LISTENER,
    )

    async def is_taken_over() -> bool:
        return len(missed) > 1

    await eventually(is_taken_over)
    second, _ = await tell("b")
    assert [first, second] == missed
    assert 2 == len(heard)
    assert {first, second} <= {"one", "two"}
    for task in (one, two):
        task.cancel()
    await asyncio.gather(one, two, return_exceptions=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (f"{SESSION}", (SESSION, None)),
        (f" {SESSION} {USER} ", (SESSION, USER)),
        (f"{str(SESSION).upper()}:{USER}", (SESSION, USER)),
        ("", None),
        ("*", None),
        (f"{SESSION} {USER} {USER}", None),
        ("-" * 36, None),
    ],
)
def test_ids_are_read(words: str, told: tuple[UUID, UUID | None] | None) -> None:
    """A session, or a session and a user; whatever else somebody tells is no reason to stop."""
    assert told == ids_in(words)


async def test_a_flood_is_left_to_a_sweep(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is remembered is bounded; nobody is forgotten."""
    monkeypatch.setattr("starter.services.notifications.MOST", 2)
    swept = asyncio.Event()

    async def start(_self: object) -> SweepStart:
        swept.set()
        return a_sweep("r", started=True)

    monkeypatch.setattr(Sweeps, "start", start)
    async with listening(stage) as told:
        for _ in range(3):
            told.hear(f"{uuid4()}")
        await asyncio.wait_for(swept.wait(), 20)
        told.hear("nonsense")
    assert "has no id of a session" in caplog.text


def a_sweep(run_id: str, *, started: bool = False) -> SweepStart:
    """One that runs now."""
    return SweepStart(workflow_id="w", run_id=run_id, started=started)


@pytest.mark.parametrize(
    "answers",
    [
        [TemporalUnavailableError(), a_sweep("1"), a_sweep("1"), a_sweep("2", started=True)],
        [a_sweep("1"), a_sweep("2")],
    ],
    ids=["until one is started", "until one began later"],
)
async def test_a_sweep_that_ran_already_does_not_count(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, answers: Sequence[Exception | SweepStart]
) -> None:
    """It may be past what was missed: another is asked for."""
    monkeypatch.setattr(
        "starter.services.notifications.SWEEP_AGAIN_AFTER", timedelta(milliseconds=1)
    )
    asked: list[object] = []

    async def start(_self: object) -> SweepStart:
        answer = answers[len(asked)]
        asked.append(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def is_content() -> bool:
        return len(asked) == len(answers)

    monkeypatch.setattr(Sweeps, "start", start)
    async with listening(stage) as told:
        told.sweep()
        await eventually(is_content)
        await asyncio.sleep(0.05)  # nobody asks once more, for whom there would be no answer
    assert list(answers) == asked


async def test_what_others_tell_does_not_use_up_the_tries(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be looked at waits for its turn, however busy the platform is."""
    looked: list[Enrollment] = []
    others = asyncio.Event()

    async def repair(_self: object, one: Enrollment, *_: object) -> None:
        looked.append(one)
        if one.user_id == USER:
            raise DatabaseUnavailableError
        if len(looked) > 2 * TRIES:
            others.set()

    monkeypatch.setattr(EnrollmentReconciler, "repair", repair)
    monkeypatch.setattr("starter.services.notifications.GATHERED_FOR", timedelta())
    monkeypatch.setattr("starter.services.notifications.AGAIN_AFTER", timedelta(minutes=1))
    async with listening(stage) as told:
        told.hear(f"{SESSION} {USER}")
        while not others.is_set():
            told.hear(f"{SESSION} {uuid4()}")
            await asyncio.sleep(0.001)
    assert 1 == looked.count(Enrollment(SESSION, USER))


@pytest.mark.parametrize("words", [f"{SESSION}", f"{SESSION} {USER}"])
async def test_what_cannot_be_looked_at_is_tried_again(
    words: str, stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A part that is away for a moment makes nobody wait for the sweep; one that stays away does."""
    monkeypatch.setattr("starter.services.notifications.AGAIN_AFTER", timedelta(milliseconds=1))
    looked: list[object] = []
    given_up, found = asyncio.Event(), asyncio.Event()

    async def away(_self: object, *names: object, **_: object) -> Sequence[Enrollment]:
        looked.append(names[0])
        if len(looked) > TRIES + 1:
            found.set()
            return ()
        if len(looked) == TRIES:
            given_up.set()
        raise DatabaseUnavailableError

    async def deleted(_self: object, *_: object, **__: object) -> None:
        raise SessionNotFoundError(SESSION)

    monkeypatch.setattr(ReminderGateway, "replan", deleted)
    monkeypatch.setattr(SweepQueries, "waiting", away)
    monkeypatch.setattr(EnrollmentReconciler, "repair", away)
    async with listening(stage) as told:
        told.hear(words)
        await asyncio.wait_for(given_up.wait(), 20)
        told.hear(words)
        await asyncio.wait_for(found.wait(), 20)
    assert 1 == caplog.text.count("is left to the sweep: DatabaseUnavailableError")
    assert TRIES + 2 == len(looked)
