"""What the commands share: their arguments, and how an answer is shown."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError

from starter.api import fields
from starter.assembly import Parts
from starter.cli import progress
from starter.cli.running import ExitCode, ask
from starter.services import reports as lookups
from starter.services.deeds import By, Done
from starter.services.receipts import ChangeReceipt

_A = TypeVar("_A", bound=BaseModel)
ChangeDeed = Callable[[Parts], Awaitable[Done[ChangeReceipt]]]
ACTOR = "cli"
"""Who acts, as the audit log says it."""
CHANGE_WAIT = timedelta(seconds=5)
"""How long a command waits for a session's change; a workflow goes on without it."""
LOOK_EVERY = timedelta(seconds=0.5)
"""How often somebody at a terminal sees how far it is."""
STILL = timedelta(minutes=2)
"""Whoever has seen nothing move for so long is not kept waiting: there may be no worker."""

Session = Annotated[UUID, typer.Argument(metavar="SESSION", help="Id of the session.")]
User = Annotated[UUID, typer.Argument(metavar="USER", help="Id of the user.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def parsed(kind: Any) -> Any:  # noqa: ANN401 - any annotated type
    """A parser of an option, with the words that the HTTP API has for what is wrong."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def parse(text: str) -> Any:  # noqa: ANN401 - what the type says
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise typer.BadParameter(error.errors()[0]["msg"]) from None

    return parse


_REASON = typer.Option(
    "--reason", parser=parsed(fields.Reason), metavar="TEXT", help="Why, for the audit log."
)
Reason = Annotated[str | None, _REASON]
NeededReason = Annotated[str, _REASON]


def by(reason: str | None) -> By:
    """Somebody at a terminal."""
    return By(ACTOR, reason)


def confirmed(question: Callable[[], str]) -> None:
    """Ask on a terminal; without one, demand `--yes`.

    Args:
        question: Made only if there is somebody to answer it.
    """
    if not sys.stdin.isatty():
        typer.echo(
            "reminders: nobody is there to confirm; add --yes, or --dry-run to see", err=True
        )
        raise typer.Exit(ExitCode.USAGE)
    typer.confirm(question(), abort=True, err=True)


def waited_for(change: ChangeDeed, session_id: UUID, *, quiet: bool) -> ChangeReceipt:
    """What a session's change did; a big one is followed with a bar where somebody looks on.

    Args:
        change: Starts it, and waits a little.
        session_id: Whose.
        quiet: Do not wait longer: a program asks.

    Returns:
        The receipt, perhaps of a change that is still under way.
    """

    async def done(parts: Parts) -> ChangeReceipt:
        receipt = (await change(parts)).receipt
        if quiet or not sys.stderr.isatty():
            return receipt
        return await followed(parts, session_id, receipt)

    return ask(done)


async def followed(parts: Parts, session_id: UUID, change: ChangeReceipt) -> ChangeReceipt:
    """A change when it is done, with a bar until then; as it was, if for long nothing moves."""
    seen, moved_at = None, parts.clock.now()
    with progress.bar("enrollments told; Ctrl-C stops only the waiting") as shown:
        while not change.is_done and change.workflow_id is not None:
            run = await parts.sweeps.run(change.workflow_id, change.run_id)
            if run is None or run.status != "running":
                break
            told = run.so_far.get("enrollments", 0) if run.so_far else 0
            if told != seen:
                seen, moved_at = told, parts.clock.now()
            elif parts.clock.now() - moved_at > STILL:
                break
            shown.at(told, await lookups.enrolled(parts, session_id))
            change = await parts.gateway.counted(change, wait=LOOK_EVERY)
    return await parts.gateway.counted(change, wait=LOOK_EVERY)


def show(answer: _A, table: Callable[[_A], None], *, as_json: bool) -> None:
    """Print an answer, as JSON or as a table for people."""
    if as_json:
        print(answer.model_dump_json(indent=2))  # noqa: T201 - what a program asked for
    else:
        table(answer)
