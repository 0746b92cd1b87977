"""`reminders ...`: the commands. Each parses, asks the gateway, and prints."""

from __future__ import annotations

import logging
from typing import Any

import typer
from typer.core import TyperGroup

from starter.cli import (
    delivery,
    enrollments,
    keys,
    mails,
    operation,
    people,
    rehearsal,
    reminders,
    restoring,
    sessions,
    sweeps,
)
from starter.cli import reports as lookups
from starter.cli import rules as configurations
from starter.migration import commands as migration


class _Commands(TyperGroup):
    """All commands; looks at what was typed before any of them does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own
        """Refuse bytes that are no text in this terminal: nothing could store or look for them."""
        for argument in args:
            try:
                argument.encode()
            except UnicodeEncodeError:
                msg = f"{argument!a} is not UTF-8"
                raise typer.BadParameter(msg) from None
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="reminders",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Reminds every enrolled person of every session, on time and once.",
    epilog=(
        "Exit codes: 0 done; 1 failed, and one line says the remedy; 2 wrong usage; 3 no such"
        " thing; 4 PostgreSQL or Temporal is away, repeat the command; 5 doctor, db check or shadow-diff"
        " found something."
    ),
)
for _concern in (
    enrollments,
    sessions,
    people,
    reminders,
    configurations,
    lookups,
    mails,
    sweeps,
    delivery,
    migration,
    rehearsal,
    keys,
    restoring,
    operation,
):
    app.add_typer(_concern.app)


def main() -> None:
    """The entry point: never returns, but exits with one of `ExitCode`."""
    # What a command has to say, it prints; workers and the API set up logs of their own.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    app()
