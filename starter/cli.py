"""`reminders ...`: the commands. Each parses, asks the gateway, and prints."""

from __future__ import annotations

import logging

import typer

from starter.commands import (
    configurations,
    delivery,
    enrollments,
    keys,
    lookups,
    mails,
    migration,
    operation,
    people,
    rehearsal,
    reminders,
    restoring,
    sessions,
    sweeps,
)

app = typer.Typer(
    name="reminders",
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
