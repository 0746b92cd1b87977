"""Sweeps by hand, and past runs."""

from __future__ import annotations

from typing import Annotated

import typer

from starter.api.operation import RunOut, RunPageOut, SweepOut
from starter.assembly import Parts
from starter.cli import progress
from starter.cli.options import AsJson, Reason, by, show
from starter.cli.printing import sweeps as printing
from starter.cli.running import ExitCode, ask

app = typer.Typer()


@app.command()
def sweep(
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for it, and print its counts.")
    ] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Look now for what nobody told us, and repair it. Sends nothing; a running one is found."""
    if not wait:
        started = ask(lambda parts: parts.deeds.sweep(by(reason))).receipt
        show(SweepOut.of(started), printing.sweep, as_json=as_json)
        return

    async def waited(parts: Parts) -> RunOut:
        with progress.bar("a sweep is under way", quiet=as_json):
            run = await parts.sweeps.finished((await parts.deeds.sweep(by(reason))).receipt)
        return RunOut.of(run, parts.workflow_url(run.workflow_id, run.run_id))

    done = ask(waited)
    show(done, printing.run, as_json=as_json)
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

    show(ask(listed), printing.runs, as_json=as_json)
