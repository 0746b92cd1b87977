"""Worker, API, database and namespace: what operators run."""

from __future__ import annotations

from collections.abc import Iterable

import typer
from pydantic import BaseModel

from reminders import settings as environment
from reminders import temporal
from reminders.db import existing_platform, migrate
from reminders.domain.errors import ReminderError
from starter.api.answers.health import Readiness
from starter.assembly import Parts, connect
from starter.cli.options import AsJson, show
from starter.cli.printing import operation as printing
from starter.cli.running import ExitCode, ask, fail, in_loop
from starter.services.sweeps import ensure_sweep_schedule

app = typer.Typer()
_db = typer.Typer(no_args_is_help=True, help="The database.")
_temporal = typer.Typer(no_args_is_help=True, help="The Temporal namespace.")
app.add_typer(_db, name="db")
app.add_typer(_temporal, name="temporal")


class _Migrated(BaseModel):
    """What `db upgrade` did."""

    before: str | None
    after: str | None
    warnings: tuple[str, ...] = ()
    """What is odd in an existing platform's rows."""


class _Checked(BaseModel):
    """What `db check` found."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


class _SetUp(BaseModel):
    """What `temporal setup` did."""

    added: list[str]
    schedule: temporal.Ensured
    """What became of the sweep's Schedule."""


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Find out whether reminders will go out, and if not, why. Exit code 5 if not."""
    readiness = Readiness.of(ask(lambda parts: parts.examiner.examine()))
    show(readiness, printing.diagnosis, as_json=as_json)
    if not readiness.ready:
        raise typer.Exit(ExitCode.RED)


@_db.command("upgrade")
def upgrade(*, as_json: AsJson = False) -> None:
    """Bring the database to the schema of this release. Safe to repeat."""

    async def upgraded(parts: Parts) -> _Migrated:
        before = await migrate.current(parts.database)
        await migrate.upgrade(parts.database)
        return _Migrated(
            before=before,
            after=await migrate.current(parts.database),
            warnings=(await _examined(parts)).warnings,
        )

    def told(done: _Migrated) -> None:
        print(f"schema: {done.before or 'nothing'} -> {done.after}")  # noqa: T201
        _print_each("warning", done.warnings)

    show(ask(upgraded), told, as_json=as_json)


@_db.command("check")
def check(*, as_json: AsJson = False) -> None:
    """See whether an existing platform's tables can be read; exit code 5 if not."""

    async def checked(parts: Parts) -> _Checked:
        found = await _examined(parts)
        return _Checked(problems=found.problems, warnings=found.warnings)

    def told(done: _Checked) -> None:
        _print_each("problem", done.problems)
        _print_each("warning", done.warnings)
        if not done.problems:
            print("everything that is needed can be read")  # noqa: T201

    found = ask(checked)
    show(found, told, as_json=as_json)
    if found.problems:
        raise typer.Exit(ExitCode.RED)


async def _examined(parts: Parts) -> existing_platform.Examined:
    """What an existing platform's tables look like; where they are ours there is nothing to see."""
    if parts.database.host_schema is None:
        return existing_platform.Examined(columns={}, problems=())
    return await existing_platform.examine(parts.database)


def _print_each(kind: str, lines: Iterable[str]) -> None:
    for line in lines:
        print(f"{kind}: {line}")  # noqa: T201


@_temporal.command("setup")
def setup(*, as_json: AsJson = False) -> None:
    """Register search attributes and Schedule. Safe to repeat; a worker does it at its start."""

    async def registered() -> _SetUp:
        config, client = environment.load(), await connect(lazy=False)
        added = await temporal.ensure_search_attributes(client)
        return _SetUp(
            added=list(added),
            schedule=await ensure_sweep_schedule(
                client, config.sweep_cron, task_queue=config.temporal_task_queue
            ),
        )

    show(
        in_loop(registered),
        lambda done: print(  # noqa: T201
            f"added: {', '.join(done.added) or 'nothing was missing'}; schedule: {done.schedule}"
        ),
        as_json=as_json,
    )


@app.command()
def worker() -> None:
    """Run a worker until it is told to stop."""
    import worker as process  # noqa: PLC0415 - the other commands start without it

    raise typer.Exit(process.main())


@app.command()
def api() -> None:
    """Serve the HTTP API on API_ADDRESS until it is told to stop."""
    from starter import app as application  # noqa: PLC0415 - the other commands start without it

    try:
        application.run(environment.load())
    except ReminderError as error:
        fail(error)
