"""What an installation is made of: keys, a restored ledger, worker, API, database and namespace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from reminders.domain.errors import ConfigurationError, InvalidInputError, ReminderError
from starter.cli import tables
from starter.cli.options import (
    AsJson,
    DryRun,
    ExitCode,
    Group,
    Question,
    Reason,
    ask,
    by,
    fail,
    instant,
    show,
)

if TYPE_CHECKING:
    from starter.assembly import Parts
    from starter.health.probes import Readiness
    from starter.services.restoring import Reconciled

app = typer.Typer()
_db = typer.Typer(cls=Group, no_args_is_help=True, help="The database.")
_temporal = typer.Typer(cls=Group, no_args_is_help=True, help="The Temporal namespace.")
app.add_typer(_db, name="db")
app.add_typer(_temporal, name="temporal")
_installation = typer.Typer(
    cls=Group, no_args_is_help=True, help="Which installation a moved or copied database is."
)
app.add_typer(_installation, name="installation")


@dataclass(frozen=True, slots=True)
class _Checked:
    """What `db check` found."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@app.command("api-key")
def api_key(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who will use it; the audit log says so.")
    ],
    *,
    read_only: Annotated[bool, typer.Option("--read-only", help="The key may only read.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an API key: the key for the caller, and its hash for API_KEYS. Nothing is stored."""
    from reminders import api_keys

    def table(made: Mapping[str, str]) -> None:
        typer.echo(f"for the caller, shown this once:  {made['key']}")
        typer.echo(f"to be added to API_KEYS:          {made['entry']}")

    try:
        key, entry = api_keys.make(name, read_only=read_only)
    except ValueError as error:
        fail(ConfigurationError(f"NAME: {error}"))
    show({"key": key, "entry": entry}, table, as_json=as_json)


@app.command("ledger-restored")
def ledger_restored(
    down_since: Annotated[
        datetime,
        instant("Since when the lost database took no more writes, such as 2026-11-23T09:00:00Z."),
    ],
    *,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring a ledger that was restored from a backup up to date. Stop all workers first."""
    from reminders.db.restoring import RestoredLedger
    from starter.services.restoring import polling_now, reconcile

    async def reconciled(parts: Parts) -> Reconciled:
        await parts.namespace.memo()  # another's workflows say nothing of ours
        queue, now = parts.settings.temporal_task_queue, parts.clock.now()
        if down_since > now:
            raise InvalidInputError("lies in the future", field="--down-since")
        if await polling_now(parts.client, queue, now=now):
            raise ConfigurationError(
                "a worker has polled within the last 70 seconds; stop all workers, wait, and repeat"
            )
        return await reconcile(
            parts.client,
            RestoredLedger(parts.database, parts.clock),
            parts.clock,
            down_since=down_since,
            by=by(reason),
            dry_run=dry_run,
            task_queue=parts.settings.temporal_task_queue,
        )

    show(ask(reconciled), _print_reconciled, as_json=as_json)


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Find out whether reminders will go out, and if not, why. Exit code 5 if not."""
    from starter.health.probes import Readiness

    readiness = Readiness.of(ask(lambda parts: parts.examiner.examine()))
    show(readiness, _print_diagnosis, as_json=as_json)
    if not readiness.ready:
        raise typer.Exit(ExitCode.RED)


@app.command()
def worker() -> None:
    """Run a worker until it is told to stop."""
    import worker as process

    raise typer.Exit(process.main())


@app.command()
def api() -> None:
    """Serve the HTTP API on API_ADDRESS until it is told to stop."""
    from reminders import settings as environment
    from starter import app as application

    try:
        application.run(environment.load())
    except ReminderError as error:
        fail(error)


@_db.command("upgrade")
def upgrade(*, as_json: AsJson = False) -> None:
    """Bring the database to the schema of this release. Safe to repeat."""
    from reminders.db import migrate

    async def upgraded(parts: Parts) -> dict[str, Any]:
        before = await migrate.current(parts.database)
        await migrate.upgrade(parts.database)
        after = await migrate.current(parts.database)
        warnings = (await _checked(parts)).warnings
        return {"before": before, "after": after, "warnings": warnings}

    def table(done: Mapping[str, Any]) -> None:
        typer.echo(f"schema: {done['before'] or 'nothing'} -> {done['after']}")
        _print_each("warning", done["warnings"])

    show(ask(upgraded), table, as_json=as_json)


@_db.command("check")
def check(*, as_json: AsJson = False) -> None:
    """Check whether an existing platform's tables can be read; exit code 5 if not."""

    def table(done: _Checked) -> None:
        _print_each("problem", done.problems)
        _print_each("warning", done.warnings)
        if not done.problems:
            typer.echo("everything that is needed can be read")

    found = ask(_checked)
    show(found, table, as_json=as_json)
    if found.problems:
        raise typer.Exit(ExitCode.RED)


async def _checked(parts: Parts) -> _Checked:
    """What an existing platform's tables look like; where they are ours there is nothing to see."""
    from reminders.db import existing_platform, migrate, reading
    from reminders.domain.errors import DatabaseUnavailableError
    from starter.health.platform import odd_rows

    if parts.database.host_schema is None:
        return _Checked((), ())
    examined = await existing_platform.examine(parts.database)
    hidden, filtered = await reading.hidden(parts.database)
    problems, warnings = (*examined.problems, *hidden), filtered
    if not problems:
        warnings += await reading.slow_lookups(parts.database)
        if await migrate.current(parts.database) is not None:  # our views are over them
            try:
                warnings += tuple(map(str, await odd_rows(parts.database)))
            except DatabaseUnavailableError as error:  # the rest is known, and `db upgrade` is done
                warnings += (f"its rows could not be looked through: {error}",)
    return _Checked(problems, warnings)


def _print_each(kind: str, lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(f"{kind}: {line}")


@_temporal.command("setup")
def setup(
    *,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Take the namespace over from another installation, which is gone or has its own.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Register search attributes and Schedule. Safe to repeat; a worker does it at its start."""
    from reminders import temporal

    async def registered(parts: Parts) -> dict[str, Any]:
        config = parts.settings
        added = await temporal.ensure_search_attributes(parts.client)
        schedule = await parts.namespace.claim(
            config.sweep_cron, task_queue=config.temporal_task_queue, take_over=take_over
        )
        return {"added": added, "schedule": schedule}

    def table(done: Mapping[str, Any]) -> None:
        added = ", ".join(done["added"]) or "nothing was missing"
        typer.echo(f"added: {added}; schedule: {done['schedule']}")

    show(ask(registered), table, as_json=as_json)


@_installation.command("moved")
def moved(*, as_json: AsJson = False) -> None:
    """Declare that the installation now lives in this database: moved or restored, the old one is gone."""
    _settle(lambda parts: parts.namespace.installation.moved(), as_json=as_json)


@_installation.command("new")
def new(*, as_json: AsJson = False) -> None:
    """Declare that this database is a copy, and give it an installation id of its own, for a namespace of its own."""
    _settle(lambda parts: parts.namespace.installation.renewed(), as_json=as_json)


def _settle(question: Question[UUID], *, as_json: bool) -> None:
    """Say which installation this is from now on."""
    show(
        {"installation": ask(question)},
        lambda found: typer.echo(
            f"installation {found['installation']}; now start, or restart, workers and API"
        ),
        as_json=as_json,
    )


def _print_reconciled(answer: Reconciled) -> None:
    """What became of the reminders that a restored ledger had as pending."""
    tables.lines(
        pending=str(answer.looked_at),
        waiting=str(answer.still_waiting),
        added=str(answer.added),
        unenrolled=str(answer.unenrolled),
        cancelled=f"{answer.sessions_cancelled} sessions",
        moved=f"{answer.sessions_moved} sessions",
        unreadable=str(answer.unreadable) if answer.unreadable else None,
    )
    tables.table({"became": state, "reminders": n} for state, n in answer.ended.items())


def _print_diagnosis(answer: Readiness) -> None:
    """All checks, and what to do."""
    tables.table(
        {
            "": "RED" if c.level == "red" else c.level,
            "check": c.name,
            "found": c.detail,
            "remedy": c.remedy,
        }
        for c in answer.checks
    )
    if answer.cause:
        tables.lines(cause=answer.cause)
