"""What `doctor` notices although reminders go out: sweeps that do not help, webhooks that do not come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from temporalio.client import (
    Schedule,
    ScheduleCalendarSpec,
    WorkflowExecutionAsyncIterator,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode

from devstack.postgres import EmbeddedPostgres
from reminders import temporal
from reminders.db.engine import Database
from reminders.settings import Settings
from starter.assembly import assembled
from starter.health.diagnosis import Check, Level
from starter.services.namespace import look_ahead, sweep_schedule
from starter.services.sweeps import Sweeps
from tests.reminders.db.pgbouncer import PgBouncer, binary
from tests.starter.conftest import serving


@pytest.fixture
def settings(settings: Settings, database_url: str) -> Settings:
    """Settings with a database of this test's own."""
    return settings.model_copy(update={"database_url": SecretStr(database_url)})


async def warnings(settings: Settings) -> dict[str, Check]:
    """The checks that somebody should look at, although reminders go out."""
    async with assembled(settings) as parts:
        checks = (await parts.examiner.examine()).checks
    return {check.name: check for check in checks if check.level is Level.WARNING}


@pytest.mark.parametrize(
    ("scheduled", "named"),
    [
        ({"cron": "*/20 * * * *"}, "SWEEP_CRON"),
        ({"task_queue": "another"}, "TEMPORAL_TASK_QUEUE"),
    ],
)
async def test_a_schedule_of_other_settings(
    scheduled: dict[str, str], named: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's settings differ from ours: a warning that names the variable."""
    values: dict[str, Any] = {"cron": settings.sweep_cron}
    values |= {"task_queue": settings.temporal_task_queue, **scheduled}
    monkeypatch.setattr(temporal, "schedule", described(sweep_schedule(**values)))
    found = (await warnings(settings))["schedule"]
    assert named in found.detail
    assert "temporal setup" in (found.remedy or "")


@pytest.mark.parametrize(
    ("hours", "is_seen"),
    [(1, True), (24, True), (24 * 7, False)],
)
async def test_sweeps_so_seldom_that_some_are_missed(
    hours: int, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, is_seen: bool
) -> None:
    """Sweeps look as far ahead as they are apart, up to days; beyond that `doctor` says so."""
    every = timedelta(hours=hours)
    schedule = sweep_schedule(settings.sweep_cron, task_queue=settings.temporal_task_queue)
    monkeypatch.setattr(temporal, "schedule", described(schedule, every=every))
    assert is_seen == ("schedule" not in (await warnings(settings)))
    assert (look_ahead(every) is not None) is is_seen


@pytest.mark.parametrize(
    ("status", "ago", "said"),
    [
        (WorkflowExecutionStatus.TIMED_OUT, 1, "ended as timed_out"),
        (WorkflowExecutionStatus.COMPLETED, 46, "no sweep was completed for 0:46:0"),
        (WorkflowExecutionStatus.COMPLETED, 44, None),
        (None, None, "no sweep was completed for 1:00:0"),
    ],
)
async def test_sweeps_that_fail_or_stay_away(
    status: WorkflowExecutionStatus | None,
    ago: int | None,
    said: str | None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last one timed out, or none was completed for three periods: a warning."""
    schedule = sweep_schedule(settings.sweep_cron, task_queue=settings.temporal_task_queue)
    monkeypatch.setattr(temporal, "schedule", described(schedule))

    async def newest(self: Sweeps) -> WorkflowExecutionStatus | None:
        return status

    async def completed(self: Sweeps) -> datetime | None:
        return None if ago is None else datetime.now(UTC) - timedelta(minutes=ago)

    monkeypatch.setattr(Sweeps, "newest_ended", newest)
    monkeypatch.setattr(Sweeps, "last_completed_at", completed)
    found = (await warnings(settings)).get("sweeps")
    assert (said is None) == (found is None)
    if found is not None:
        assert said is not None
        assert said in found.detail


async def test_visibility_that_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of runs are a 503, and a warning; reminders go out without them."""
    schedule = sweep_schedule(settings.sweep_cron, task_queue=settings.temporal_task_queue)
    monkeypatch.setattr(temporal, "schedule", described(schedule))

    async def away(*_: object, **__: object) -> None:
        raise RPCError("visibility is away", RPCStatusCode.INTERNAL, b"")

    monkeypatch.setattr(WorkflowExecutionAsyncIterator, "fetch_next_page", away)
    async with serving(settings) as api:
        answers = [await api.get("/v1/runs"), await api.get("/metrics")]
    assert [503, 200] == [answer.status_code for answer in answers]
    found = (await warnings(settings))["sweeps"]
    assert "visibility does not answer" in found.detail


def described(
    schedule: Schedule, *, every: timedelta = timedelta(minutes=15)
) -> Callable[..., Awaitable[Any]]:
    """Answers for the server: this Schedule, an hour old, next due so far apart."""
    now = datetime.now(UTC)
    crons = [ScheduleCalendarSpec(comment=cron) for cron in schedule.spec.cron_expressions]
    spec = replace(schedule.spec, calendars=crons, cron_expressions=[])
    info = SimpleNamespace(
        next_action_times=[now + every * n for n in range(1, 11)],
        created_at=now - timedelta(hours=1),
        running_actions=(),
    )

    async def asked(*_: object) -> Any:
        return SimpleNamespace(schedule=replace(schedule, spec=spec), info=info)

    return asked


@pytest.mark.parametrize(
    ("due_ago", "heard", "is_silent"),
    [
        (timedelta(hours=4), False, True),
        (timedelta(hours=4), True, False),
        (timedelta(hours=2), False, False),
    ],
)
async def test_webhooks_that_do_not_come(
    due_ago: timedelta, settings: Settings, database: Database, *, heard: bool, is_silent: bool
) -> None:
    """E-mails were accepted hours ago, and nobody told us what became of any: a warning."""
    listening = settings.model_copy(update={"resend_webhook_secret": (SecretStr("whsec_AAAA"),)})
    async with serving(settings) as api:
        session_id, _ = await api.enrolled(starts_in=timedelta(minutes=90))
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE session_reminder_emails SET due_at = $1, sent_at = $1, email_status = 'sent',"
            " attempts = 1"
            " WHERE session_id = $2 AND email_status = 'scheduled'",
            (datetime.now(UTC) - due_ago, session_id),
        )
        if heard:
            await connection.exec_driver_sql(
                "INSERT INTO webhook_events (svix_id, type, occurred_at)"
                " VALUES ('msg_1', 'email.delivered', now())"
            )
    assert is_silent == ("webhooks" in (await warnings(listening)))
    assert "webhooks" not in (await warnings(settings))


@pytest.mark.skipif(binary() is None, reason="PgBouncer is not installed")
async def test_a_channel_behind_a_transaction_pooler(
    settings: Settings, database_url: str, postgres: EmbeddedPostgres
) -> None:
    """Nobody can listen there, and it is said; directly, it is said that nobody does."""
    settings = settings.model_copy(update={"database_channel": "session_reminders"})
    found = (await warnings(settings))["channel"]
    assert "no worker listens to session_reminders" in found.detail
    name = make_url(database_url).database
    assert name is not None
    with PgBouncer(postgres, "transaction") as bouncer:
        pooled = settings.model_copy(update={"database_url": SecretStr(bouncer.url(name))})
        found = (await warnings(pooled))["channel"]
    assert (
        "session_reminders cannot be listened to: a pooler is in front of PostgreSQL"
        in found.detail
    )
    assert "DATABASE_URL" in (found.remedy or "")
