"""`reminders ...`: the commands. Each parses, asks the gateway, and prints."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import BaseModel

from reminders import settings as environment
from reminders import temporal
from reminders.db import migrate
from reminders.errors import ReminderError
from reminders.model import Reminder, ReminderStatus
from starter import printing
from starter.answers import (
    CancelReceiptOut,
    ChangesOut,
    EnrollmentOut,
    Readiness,
    ReminderOut,
    ReminderPageOut,
    RunOut,
    RunPageOut,
    SessionWithCounts,
    StoryOut,
    SweepOut,
    UnderWayOut,
)
from starter.assembly import Parts, connect
from starter.running import ExitCode, ask, fail, in_loop
from starter.sweeps import ensure_sweep_schedule

_A = TypeVar("_A", bound=BaseModel)
_LARGEST_PAGE = 200
_CHANGE_WAIT = timedelta(seconds=5)
"""How long a command waits for a session's change; a workflow goes on without it."""


app = typer.Typer(
    name="reminders",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Reminds every enrolled person of every session, on time, exactly once.",
    epilog=(
        "Exit codes: 0 done; 1 failed, and one line says the remedy; 2 wrong usage; 3 no such"
        " thing; 4 PostgreSQL or Temporal is away, repeat the command; 5 doctor found something."
    ),
)
_session = typer.Typer(no_args_is_help=True, help="Sessions.")
_db = typer.Typer(no_args_is_help=True, help="The database.")
_temporal = typer.Typer(no_args_is_help=True, help="The Temporal namespace.")
app.add_typer(_session, name="session")
app.add_typer(_db, name="db")
app.add_typer(_temporal, name="temporal")

Session = Annotated[UUID, typer.Argument(metavar="SESSION", help="Id of the session.")]
User = Annotated[UUID, typer.Argument(metavar="USER", help="Id of the user.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class _Migrated(BaseModel):
    """What `db upgrade` did."""

    before: str | None
    after: str | None


class _SetUp(BaseModel):
    """What `temporal setup` did."""

    added: list[str]
    schedule: temporal.Ensured
    """What became of the sweep's Schedule."""


@app.command()
def enroll(session: Session, user: User, *, as_json: AsJson = False) -> None:
    """Enroll a user: plan the reminders and start the workflow. Safe to repeat."""
    enrolled = ask(lambda parts: parts.gateway.enroll(session, user))
    _print(EnrollmentOut.of(enrolled), printing.enrollment, as_json=as_json)


@app.command()
def cancel(
    session: Session,
    user: Annotated[
        UUID | None, typer.Argument(metavar="USER", help="Only this user's enrollment.")
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a whole session with all its pending reminders, or unenroll one user."""
    if dry_run:
        receipt = ask(lambda parts: parts.gateway.expected(session, user))
    elif user is not None:
        receipt = ask(lambda parts: parts.gateway.unenroll(session, user))
    else:
        if not yes:
            _confirm(session)
        done = ask(lambda parts: parts.gateway.cancel_session(session, wait=_CHANGE_WAIT))
        if not done.is_done:
            _print(UnderWayOut.of(done), printing.under_way, as_json=as_json)
            return
        receipt = done.reminders
    _print(
        CancelReceiptOut.of(receipt),
        lambda answer: printing.receipt(answer, dry_run=dry_run),
        as_json=as_json,
    )


@app.command()
def why(session: Session, user: User, *, as_json: AsJson = False) -> None:
    """Say why a user was, will be or was not reminded of a session."""

    async def told(parts: Parts) -> StoryOut:
        story = await parts.gateway.why(session, user)
        return StoryOut.of(story, parts.workflow_url(story.workflow_id, story.run_id))

    _print(ask(told), printing.story, as_json=as_json)


@app.command("list")
def list_(
    status: Annotated[ReminderStatus | None, typer.Option(help="Only these.")] = None,
    session: Annotated[UUID | None, typer.Option(help="Only this session's.")] = None,
    user: Annotated[UUID | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List reminders by ascending due instant."""

    async def listed(parts: Parts) -> ReminderPageOut:
        found: list[Reminder] = []
        after = cursor
        while len(found) < limit:
            page = await parts.queries.list(
                session_id=session,
                user_id=user,
                status=status,
                cursor=after,
                limit=min(limit - len(found), _LARGEST_PAGE),
            )
            found += page.reminders
            after = page.next_cursor
            if after is None:
                break
        return ReminderPageOut(items=[ReminderOut.of(r) for r in found], next_cursor=after)

    _print(ask(listed), printing.reminders, as_json=as_json)


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Find out whether reminders will go out, and if not, why. Exit code 5 if not."""
    readiness = Readiness.of(ask(lambda parts: parts.examiner.examine()))
    _print(readiness, printing.diagnosis, as_json=as_json)
    if not readiness.ready:
        raise typer.Exit(ExitCode.RED)


@app.command()
def sweep(
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for it, and print its counts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look now for what nobody told us, and repair it. Sends nothing; a running one is found."""
    if not wait:
        started = ask(lambda parts: parts.sweeps.start())
        _print(SweepOut.of(started), printing.sweep, as_json=as_json)
        return

    async def waited(parts: Parts) -> RunOut:
        run = await parts.sweeps.finished(await parts.sweeps.start())
        return RunOut.of(run, parts.workflow_url(run.workflow_id, run.run_id))

    done = ask(waited)
    _print(done, printing.run, as_json=as_json)
    if done.status != "completed":
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def runs(
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List sweeps and session changes, the newest first, with what they did."""

    async def listed(parts: Parts) -> RunPageOut:
        page = await parts.sweeps.runs(limit=limit, cursor=cursor)
        return RunPageOut(
            items=[RunOut.of(r, parts.workflow_url(r.workflow_id, r.run_id)) for r in page.runs],
            next_cursor=page.next_cursor,
        )

    _print(ask(listed), printing.runs, as_json=as_json)


@_session.command("show")
def show(session: Session, *, as_json: AsJson = False) -> None:
    """Show a session, with its reminders counted by status."""

    async def shown(parts: Parts) -> SessionWithCounts:
        found = await parts.catalogue.session(session)
        return SessionWithCounts.of(found, await parts.catalogue.counts(session))

    _print(ask(shown), printing.session, as_json=as_json)


@_session.command("changed")
def changed(session: Session, *, as_json: AsJson = False) -> None:
    """Say that a session, or a rule, changed: plan every enrollment anew. Safe to repeat."""
    done = ask(lambda parts: parts.gateway.session_changed(session, wait=_CHANGE_WAIT))
    if done.is_done:
        _print(ChangesOut.of(done), printing.changes, as_json=as_json)
    else:
        _print(UnderWayOut.of(done), printing.under_way, as_json=as_json)


@_db.command("upgrade")
def upgrade(*, as_json: AsJson = False) -> None:
    """Bring the database to the schema of this release. Safe to repeat."""

    async def upgraded(parts: Parts) -> _Migrated:
        before = await migrate.current(parts.database)
        await migrate.upgrade(parts.database)
        return _Migrated(before=before, after=await migrate.current(parts.database))

    _print(
        ask(upgraded),
        lambda done: print(f"schema: {done.before or 'nothing'} -> {done.after}"),  # noqa: T201
        as_json=as_json,
    )


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

    _print(
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


def main() -> None:
    """The entry point: never returns, but exits with one of `ExitCode`."""
    # What a command has to say, it prints; workers and the API set up logs of their own.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    app()


def _confirm(session: UUID) -> None:
    """Ask on a terminal; without one, demand `--yes`."""
    if not sys.stdin.isatty():
        typer.echo(
            "reminders: nobody is there to confirm; add --yes, or --dry-run to see", err=True
        )
        raise typer.Exit(ExitCode.USAGE)
    pending = ask(lambda parts: parts.gateway.expected(session)).cancelled
    typer.confirm(f"Cancel the session and its {pending} pending reminders?", abort=True, err=True)


def _print(answer: _A, table: Callable[[_A], None], *, as_json: bool) -> None:
    if as_json:
        printing.as_json(answer)
    else:
        table(answer)
