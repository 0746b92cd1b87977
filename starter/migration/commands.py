"""From a cron job to us: take over, bring in, compare, cut over. `docs/migration.md` walks through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from reminders.domain.errors import InvalidInputError
from starter.cli import progress, tables
from starter.cli.options import (
    AsJson,
    DryRun,
    ExitCode,
    OnlySession,
    Reason,
    ask,
    by,
    show,
    show_named,
)

if TYPE_CHECKING:
    from reminders.db.lookups import Names
    from reminders.domain.ports import Enrollment
    from starter.assembly import Parts
    from starter.migration.ledger import Difference
    from starter.migration.shadow import CronMigration, CutoverReceipt

app = typer.Typer()

_IMPORTED = ("read", "added", "corrected", "known", "not_sent", "without_session")
_BACKFILLED = ("enrollments", "planned", "scheduled", "past_due", "gone", "failed")
"""Counts that are printed, and kept in the audit log."""

_Schema = Annotated[
    str,
    typer.Option("--schema", metavar="SCHEMA", help="Where the platform's old tables are."),
]


@app.command("import-cron")
def import_cron(
    schema: _Schema = "public",
    *,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take over a cron job's rules, and what it has sent. Safe to repeat; its tables are only read."""

    async def imported(parts: Parts) -> dict[str, Any]:
        with progress.bar("rows of the old log", quiet=as_json) as shown:
            done = await _migration(parts, schema).take_over(
                dry_run=dry_run, on_progress=shown.advance
            )
        counts = asdict(done.reminders)
        if not dry_run:
            rules = [rule.reminder_type for rule in done.rules]
            await _on_record(parts, "cron_imported", None, reason, {**counts, "rules": rules})
        return {"dry_run": dry_run, "rules": done.rules, **counts}

    show(ask(imported), _print_import, as_json=as_json)


_BEGUN = "the session has begun: nobody is reminded of the past, so nothing is planned for it"


@app.command()
def backfill(
    session: OnlySession = None,
    after: Annotated[
        str | None, typer.Option(metavar="SESSION:USER", help="Continue after this enrollment.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Look at no more than this many enrollments."),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            min=0.1, max=1000, metavar="N", help="At most this many enrollments per second."
        ),
    ] = 50,
    *,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Plan reminders for everybody who is already enrolled. Safe to repeat; sends nothing for the past."""
    import asyncio

    async def filled(parts: Parts) -> dict[str, Any]:
        clock = asyncio.get_running_loop().time
        began = clock()
        has_begun = session is not None and (
            (await parts.catalogue.session(session)).starts_at <= parts.clock.now()
        )
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
        seconds, behind = clock() - began, done.after
        counts = {name: getattr(done, name) for name in (*_BACKFILLED, "stopped_because")}
        if not dry_run:
            await _on_record(parts, "backfilled", session, reason, counts)
        return {
            "dry_run": dry_run,
            **counts,
            "per_second": round(done.enrollments / seconds, 1) if seconds else 0,
            "after": f"{behind.session_id}:{behind.user_id}" if behind else None,
            "note": _BEGUN if has_begun else None,
        }

    done = ask(filled)
    show(done, _print_backfill, as_json=as_json)
    if done["stopped_because"] is not None:
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if done["failed"]:
        raise typer.Exit(ExitCode.FAILED)


@app.command("shadow-diff")
def shadow_diff(
    schema: _Schema = "public",
    session: OnlySession = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="INSTANT", help="Start of the comparison, in UTC; by default our first record."
        ),
    ] = None,
    tolerance_minutes: Annotated[
        int,
        typer.Option(min=1, max=1440, metavar="N", help="Tolerated difference between the two."),
    ] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare shadow mode's record with the cron job's log. Exit code 5 if they differ."""
    found = show_named(
        lambda parts: _migration(parts, schema).difference(
            tolerance=timedelta(minutes=tolerance_minutes),
            since=since.replace(tzinfo=UTC) if since and since.tzinfo is None else since,
            session_id=session,
        ),
        _print_difference,
        attrgetter("examples"),
        as_json=as_json,
    )
    if not found.is_none:
        raise typer.Exit(ExitCode.RED)


@app.command()
def cutover(
    session: Annotated[
        UUID | None, typer.Argument(metavar="SESSION", help="Id of the session.")
    ] = None,
    schema: _Schema = "public",
    grace_minutes: Annotated[
        int,
        typer.Option(
            min=1, max=120, metavar="N", help="How long a run of the cron job takes at most."
        ),
    ] = 5,
    cron_minutes: Annotated[
        int, typer.Option(min=1, max=1440, metavar="N", help="How far apart its runs are.")
    ] = 15,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Every session, and all future ones.")
    ] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Take a session over from the cron job. Waits for its last run; safe to interrupt and repeat."""
    if (session is None) is not every:
        typer.echo("reminders: name a session, or say --all", err=True)
        raise typer.Exit(ExitCode.USAGE)
    grace = timedelta(minutes=grace_minutes)

    import asyncio

    async def taken_over(parts: Parts) -> CutoverReceipt:
        migration = _migration(parts, schema)
        if session is not None:  # one that is misspelt is not there
            await parts.catalogue.session(session)
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
        counts = {"imported": done.imported, "reopened": done.reopened}
        await _on_record(parts, "cut_over", session, reason, counts)
        return done

    show(ask(taken_over), _print_cutover, as_json=as_json)


def _migration(parts: Parts, schema: str) -> CronMigration:
    from starter.migration.shadow import CronMigration

    return CronMigration(parts.database, gateway=parts.gateway, clock=parts.clock, schema=schema)


async def _on_record(
    parts: Parts,
    action: str,
    session: UUID | None,
    reason: str | None,
    details: Mapping[str, Any],
) -> None:
    """Write down what was done; of a back-fill, the page of runs reads it too."""
    from reminders.db.audit import Action

    await parts.audit.record(by(reason).did(Action(action), session_id=session, details=details))


def _cursor(written: str | None) -> Enrollment | None:
    from reminders.domain.ports import Enrollment

    if written is None:
        return None
    try:
        session, user = written.split(":")
        return Enrollment(UUID(session), UUID(user))
    except ValueError as error:
        msg = f"--after is {written!r}; write SESSION:USER, as the run before printed it"
        raise InvalidInputError(msg, field="after") from error


def _print_counts(answer: Mapping[str, Any], names: tuple[str, ...]) -> None:
    tables.row({name.replace("_", " "): answer[name] for name in names})


def _print_import(answer: Mapping[str, Any]) -> None:
    """What was taken over from a cron job, or would be."""
    tables.table(
        {
            "rule": r.reminder_type,
            "change": r.change,
            "minutes before": r.minutes_before,
            "on": "yes" if r.is_enabled else "no",
            "subject": r.email_subject_template,
        }
        for r in answer["rules"]
    )
    _print_counts(answer, _IMPORTED)


def _print_backfill(answer: Mapping[str, Any]) -> None:
    """What a back-fill did, and where it stopped."""
    _print_counts(answer, _BACKFILLED)
    if answer["note"] is not None:
        typer.echo(answer["note"])
    if answer["after"] is not None:
        typer.echo(f"go on with: --after {answer['after']}")
    if answer["stopped_because"] is not None:
        typer.echo(f"reminders: {answer['stopped_because']}", err=True)


def _print_difference(answer: Difference, names: Names) -> None:
    """The old log and ours, side by side."""
    if answer.since is None:
        typer.echo("nothing was recorded in shadow mode yet")
        return
    tables.row(
        {
            "both": answer.both,
            "only the cron job": answer.only_cron,
            "only we": answer.only_ours,
            "too far apart": answer.apart,
            "median, s": f"{answer.median_seconds:.0f}",
            "largest, s": f"{answer.largest_seconds:.0f}",
        }
    )
    if answer.examples:
        tables.table(
            {
                "title": names.sessions.get(p.session_id),
                "name": names.people.get(p.user_id),
                "reminder": p.reminder_type,
                "cron job (UTC)": p.cron_at,
                "we (UTC)": p.shadow_at,
                "our ledger": ": ".join(filter(None, (p.email_status, p.status_reason))),
                "session": p.session_id,
                "user": p.user_id,
            }
            for p in answer.examples
        )


def _print_cutover(answer: CutoverReceipt) -> None:
    """What a cut-over did."""
    tables.row(
        {
            "left alone since (UTC)": answer.requested_at,
            "sent by the cron job": answer.imported,
            "open again": answer.reopened,
        }
    )
