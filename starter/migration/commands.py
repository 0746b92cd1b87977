"""From a cron job to us: take over, bring in, compare, cut over. `docs/migration.md` walks through."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from reminders.db.audit import Action, AuditLog, Event
from reminders.domain.errors import InvalidInputError
from reminders.domain.ports import Enrollment
from starter.assembly import Parts
from starter.cli import progress
from starter.cli.options import ACTOR, AsJson, Reason, show
from starter.cli.running import ExitCode, ask
from starter.migration import printing
from starter.migration.answers import (
    BACKFILLED,
    IMPORTED,
    BackfillOut,
    CronImportOut,
    CutoverOut,
    DifferenceOut,
)

app = typer.Typer()

Schema = Annotated[
    str,
    typer.Option("--schema", metavar="SCHEMA", help="Where the platform's old tables are."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]
OneSession = Annotated[
    UUID | None, typer.Option("--session", metavar="SESSION", help="Only this session.")
]


@app.command("import-cron")
def import_cron(
    schema: Schema = "public",
    *,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take over a cron job's rules, and what it has sent. Safe to repeat; its tables are only read."""

    async def imported(parts: Parts) -> CronImportOut:
        with progress.bar("rows of the old log", quiet=as_json) as shown:
            done = await parts.cron_migration(schema).take_over(
                dry_run=dry_run, on_progress=shown.advance
            )
        answer = CronImportOut.of(done, dry_run=dry_run)
        if not dry_run:
            rules = [rule.reminder_type for rule in answer.rules]
            counts = {name: getattr(answer, name) for name in IMPORTED}
            await _on_record(parts, Action.CRON_IMPORTED, None, reason, {**counts, "rules": rules})
        return answer

    show(ask(imported), printing.cron_import, as_json=as_json)


@app.command()
def backfill(
    session: OneSession = None,
    after: Annotated[
        str | None, typer.Option(metavar="SESSION:USER", help="Go on behind this enrollment.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Look at no more than so many.")] = None,
    rate: Annotated[
        float, typer.Option(min=0.1, max=1000, help="Enrollments a second at the most.")
    ] = 50,
    *,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Plan and start who is enrolled already. Safe to repeat; sends nothing for the past."""

    async def filled(parts: Parts) -> BackfillOut:
        clock = asyncio.get_running_loop().time
        began = clock()
        if session is not None:
            await parts.catalogue.session(session)
        total = await parts.backfill.expected(session)
        with progress.bar("enrollments", total, quiet=as_json) as shown:
            done = await parts.backfill.run(
                session_id=session,
                after=_cursor(after),
                limit=limit,
                rate=rate,
                dry_run=dry_run,
                on_progress=shown.advance,
            )
        if not dry_run:
            counts = {name: getattr(done, name) for name in BACKFILLED}
            stopped = {"stopped_because": done.stopped_because}
            await _on_record(parts, Action.BACKFILLED, session, reason, {**counts, **stopped})
        return BackfillOut.of(done, dry_run=dry_run, seconds=clock() - began)

    done = ask(filled)
    show(done, printing.backfill, as_json=as_json)
    if done.stopped_because is not None:
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if done.failed:
        raise typer.Exit(ExitCode.FAILED)


@app.command("shadow-diff")
def shadow_diff(
    schema: Schema = "public",
    session: OneSession = None,
    since: Annotated[
        datetime | None, typer.Option(help="From when on, in UTC; default: our first record.")
    ] = None,
    tolerance_minutes: Annotated[
        int, typer.Option(min=1, max=1440, help="How far apart is fine.")
    ] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare shadow mode's record with the cron job's log. Exit code 5 if they differ."""

    async def compared(parts: Parts) -> DifferenceOut:
        found = await parts.cron_migration(schema).difference(
            tolerance=timedelta(minutes=tolerance_minutes),
            since=since.replace(tzinfo=UTC) if since and since.tzinfo is None else since,
            session_id=session,
        )
        return DifferenceOut.of(found)

    found = ask(compared)
    show(found, printing.difference, as_json=as_json)
    if found.only_cron or found.only_ours or found.apart:
        raise typer.Exit(ExitCode.RED)


@app.command()
def cutover(
    session: Annotated[
        UUID | None, typer.Argument(metavar="SESSION", help="Id of the session.")
    ] = None,
    schema: Schema = "public",
    grace_minutes: Annotated[
        int, typer.Option(min=1, max=120, help="How long a run of the cron job takes at the most.")
    ] = 5,
    cron_minutes: Annotated[
        int, typer.Option(min=1, max=1440, help="How far apart its runs are.")
    ] = 15,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every session, and all to come.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Take a session over from the cron job. Waits for the grace; safe to break off and repeat."""
    if (session is None) is not every:
        typer.echo("reminders: name a session, or say --all", err=True)
        raise typer.Exit(ExitCode.USAGE)
    grace = timedelta(minutes=grace_minutes)

    async def taken_over(parts: Parts) -> CutoverOut:
        migration = parts.cron_migration(schema)
        requested_at = await migration.request_cutover(session)
        wait = int((requested_at + grace - parts.clock.now()).total_seconds()) + 1
        said = "seconds; the cron job leaves it alone by now"
        with progress.bar(said, max(wait, 0), quiet=as_json) as shown:
            for _ in range(wait):
                await asyncio.sleep(1)
                shown.advance(1)
        done = await migration.complete_cutover(
            session, grace=grace, cron_period=timedelta(minutes=cron_minutes)
        )
        answer = CutoverOut.of(done)
        counts = {"imported": answer.imported, "reopened": answer.reopened}
        await _on_record(parts, Action.CUT_OVER, session, reason, counts)
        return answer

    show(ask(taken_over), printing.cutover, as_json=as_json)


async def _on_record(
    parts: Parts,
    action: Action,
    session: UUID | None,
    reason: str | None,
    details: Mapping[str, Any],
) -> None:
    """Write down what was done; of a back-fill, the page of runs reads it too."""
    await AuditLog(parts.database).record(
        Event(action=action, actor=ACTOR, reason=reason, session_id=session, details=details)
    )


def _cursor(written: str | None) -> Enrollment | None:
    if written is None:
        return None
    try:
        session, user = written.split(":")
        return Enrollment(UUID(session), UUID(user))
    except ValueError as error:
        msg = f"--after is {written!r}; write SESSION:USER, as the run before printed it"
        raise InvalidInputError(msg, field="after") from error
