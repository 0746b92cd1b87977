"""The service at work: sweeps by hand, past runs, and whether the provider takes e-mails."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starter.cli import progress, tables
from starter.cli.options import (
    AsJson,
    Cursor,
    ExitCode,
    Group,
    Reason,
    ask,
    by,
    filtered,
    parsed,
    show,
    show_named,
)

if TYPE_CHECKING:
    from reminders.db.lookups import Names
    from starter.api.operation import DeliveryStateOut, ResumedOut, RunOut, RunPageOut, SweepOut
    from starter.assembly import Parts

app = typer.Typer()
_delivery = typer.Typer(
    cls=Group, no_args_is_help=True, help="Delivery: held or not, and the provider's quotas."
)
app.add_typer(_delivery, name="delivery")


def _one_of(kind: str, words: str, help: str) -> Any:  # noqa: A002, ANN401 - typer's own
    return typer.Option(parser=parsed(f"starter.services.sweeps:{kind}"), metavar=words, help=help)


_Kind = Annotated[Any, _one_of("RunKind", "sweep|change", "Only these.")]
_State = Annotated[
    Any,
    _one_of("RunState", "running|completed|failed", "Only these; failed, also by a time-out."),
]


@app.command()
def sweep(
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for it, and print its counts.")
    ] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Find changes that were never reported, and repair them. Sends nothing; joins a running sweep."""
    from starter.api.operation import RunOut, SweepOut

    async def waited(parts: Parts) -> RunOut:
        with progress.bar("a sweep is under way", quiet=as_json):
            run = await parts.sweeps.finished(await parts.sweeps.start(by(reason)))
        return RunOut.of(run, parts.workflow_url(run.workflow_id, run.run_id))

    if not wait:
        started = ask(lambda parts: parts.sweeps.start(by(reason)))
        show(SweepOut.of(started), _print_sweep, as_json=as_json)
        return
    done = ask(waited)
    show(done, _print_run, as_json=as_json)
    if done.status != "completed":
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def runs(
    kind: _Kind = None,
    state: _State = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="At most this many.")
    ] = 20,
    cursor: Cursor = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List sweeps and session changes, the newest first, with what they did."""
    from starter.api import operation

    filters = filtered(operation.RunFilters, kind=kind, state=state, limit=limit, cursor=cursor)
    show_named(
        lambda p: operation.runs(filters, p), _print_runs, attrgetter("items"), as_json=as_json
    )


@_delivery.command("show")
def show_delivery(*, as_json: AsJson = False) -> None:
    """Show whether the provider accepts e-mails now, and how much of its quotas is left."""
    from starter.api import operation

    show(ask(operation.delivery_state), _print_delivery, as_json=as_json)


@_delivery.command()
def resume(reason: Reason = None, *, as_json: AsJson = False) -> None:
    """End the hold on delivery for every worker, once the key, sender or quota is fixed."""
    from starter.api.operation import ResumedOut

    held_because = ask(lambda parts: parts.provider.resume(by(reason)))
    show(ResumedOut(held_because=held_because), _print_resumed, as_json=as_json)


def _print_sweep(answer: SweepOut) -> None:
    """A sweep that runs."""
    how = "was started" if answer.started else "was running already"
    tables.lines(sweep=f"{answer.workflow_id}, {how}", run=answer.run_id)


def _print_run(answer: RunOut) -> None:
    """What one run did."""
    tables.lines(run=f"{answer.workflow_id}, {answer.status}", link=answer.url)
    kinds = (answer.result or {}).get("results", {})
    tables.table(
        {
            "kind": kind,
            "found": counts.get("found", 0),
            "repaired": counts.get("repaired", 0),
            "fine": counts.get("unchanged", 0),
            "failed": counts.get("failed", 0),
            "reminders": counts.get("reminders", 0),
            "note": counts.get("error") or ("stopped early" if counts.get("stopped_early") else ""),
        }
        for kind, counts in kinds.items()
    )


def _print_runs(answer: RunPageOut, names: Names) -> None:
    tables.table(
        {
            "started (UTC)": r.started_at,
            "ended (UTC)": r.closed_at,
            "title": names.sessions.get(r.session_id) if r.session_id else None,
            "workflow": r.workflow_id,
            "status": r.status,
            "result": _totals(r.result),
        }
        for r in answer.items
    )
    tables.more(answer.next_cursor)


def _totals(result: dict[str, Any] | None) -> str:
    """The counts of a run on one line."""
    return ", ".join(f"{n} {v}" for n, v in (result or {}).items() if isinstance(v, int))


def _print_delivery(answer: DeliveryStateOut) -> None:
    """Whether the provider accepts e-mails, and its quotas."""
    from starter.services import reasons

    held, sender = answer.held_because, answer.held_sender
    whose = f" for workers with key and sender {sender}" if sender else ""
    tables.lines(
        delivery=f"held{whose} ({held}): {reasons.hold(held)}" if held else "not held",
        said=answer.held_detail,
        retried=f"{tables.plain(answer.held_until)} UTC" if held else None,
    )
    tables.table(
        {
            "quota": q.name,
            "used": q.used,
            "limit": "none" if q.limit is None else q.limit,
            "renewed (UTC)": q.resets_at,
            "as of (UTC)": q.checked_at,
            "sent since": q.sent_since,
        }
        for q in answer.quotas
    )


def _print_resumed(answer: ResumedOut) -> None:
    """Whether there was anything to resume."""
    was = answer.held_because
    tables.lines(delivery=f"goes on; it was held ({was})" if was else "was not held")
