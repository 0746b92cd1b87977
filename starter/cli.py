"""`reminders ...`: the commands. Each parses, asks the gateway, and prints."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import BaseModel

from reminders import settings as environment
from reminders import temporal
from reminders.db import migrate
from reminders.errors import EnrollmentNotFoundError, ReminderError
from reminders.model import Reminder, ReminderStatus, SessionStatus
from starter import printing
from starter.answers import (
    CancelReceiptOut,
    EnrollmentOut,
    Readiness,
    ReminderOut,
    ReminderPageOut,
    SessionWithCounts,
    StoryOut,
)
from starter.assembly import Parts, connect
from starter.gateway import CancelReceipt
from starter.running import ExitCode, ask, fail, in_loop

_A = TypeVar("_A", bound=BaseModel)
_LARGEST_PAGE = 200


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
        receipt = ask(lambda parts: _expected(parts, session, user))
    elif user is not None:
        receipt = ask(lambda parts: parts.gateway.unenroll(session, user))
    else:
        if not yes:
            _confirm(session)
        receipt = ask(lambda parts: _cancel_session(parts, session))
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


@_session.command("show")
def show(session: Session, *, as_json: AsJson = False) -> None:
    """Show a session, with its reminders counted by status."""

    async def shown(parts: Parts) -> SessionWithCounts:
        found = await parts.catalogue.session(session)
        return SessionWithCounts.of(found, await parts.catalogue.counts(session))

    _print(ask(shown), printing.session, as_json=as_json)


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
    """Register the search attributes. Safe to repeat; a worker does it at its start."""

    async def registered() -> _SetUp:
        return _SetUp(
            added=list(await temporal.ensure_search_attributes(await connect(lazy=False)))
        )

    _print(
        in_loop(registered),
        lambda done: print(f"added: {', '.join(done.added) or 'nothing was missing'}"),  # noqa: T201
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


async def _expected(parts: Parts, session: UUID, user: UUID | None) -> CancelReceipt:
    """What a cancel would do."""
    await parts.catalogue.session(session)
    if user is not None and await parts.catalogue.enrollment_status(session, user) is None:
        raise EnrollmentNotFoundError
    tally = await parts.queries.tally(session, user)
    return CancelReceipt(
        cancelled=tally.get(ReminderStatus.SCHEDULED, 0),
        already_sent=sum(n for status, n in tally.items() if status.is_accepted),
        in_flight=tally.get(ReminderStatus.SENDING, 0),
    )


async def _cancel_session(parts: Parts, session_id: UUID) -> CancelReceipt:
    """Cancel the session itself, so that whoever enrolls later is not reminded either."""
    session = await parts.catalogue.session(session_id)
    _, receipt = await parts.gateway.put_session(replace(session, status=SessionStatus.CANCELLED))
    return receipt.reminders


def _confirm(session: UUID) -> None:
    """Ask on a terminal; without one, demand `--yes`."""
    if not sys.stdin.isatty():
        typer.echo(
            "reminders: nobody is there to confirm; add --yes, or --dry-run to see", err=True
        )
        raise typer.Exit(ExitCode.USAGE)
    pending = ask(lambda parts: _expected(parts, session, None)).cancelled
    typer.confirm(f"Cancel the session and its {pending} pending reminders?", abort=True, err=True)


def _print(answer: _A, table: Callable[[_A], None], *, as_json: bool) -> None:
    if as_json:
        printing.as_json(answer)
    else:
        table(answer)
