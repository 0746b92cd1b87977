"""`reminders ...`: the commands. Each parses, asks the gateway, and prints."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer import _completion_classes
from typer.core import TyperArgument

from starter.cli import (
    enrollments,
    installation,
    mails,
    operation,
    people,
    reminders,
    reports,
    rules,
    sessions,
)
from starter.cli.options import Group
from starter.migration import commands as migration

# Our help has no markup to be taken out, and typer would import all of rich for it at every press
# of Tab.
_completion_classes._sanitize_help_text = lambda text: text  # noqa: SLF001
# An argument's name says what it is; a Python type beside it, as in `TYPE <str>`, does not.
setattr(TyperArgument, "display_type_rich", lambda _self, ctx: None)  # noqa: ARG005, B010 - typer's own


SECTIONS = {
    "Enrollments, sessions and people": (
        *("enroll", "cancel", "why", "session", "user", "preferences", "erase"),
    ),
    "Reminders and rules": ("list", "failed", "resend", "send-now", "redrive", "config"),
    "E-mails": ("preview", "test-send", "rehearse", "delivery"),
    "How things stand": ("overview", "doctor", "sweep", "runs", "events"),
    "Running it": ("worker", "api", "db", "temporal", "api-key", "installation", "ledger-restored"),
    "Coming from a cron job": ("import-cron", "backfill", "shadow-diff", "cutover"),
}
"""Every command, in the order of `--help`."""


class _InSections(Group):
    """The commands in groups that are read at a glance."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's own
        """Write the help's list of commands."""
        for title, names in SECTIONS.items():
            found = ((name, self.get_command(ctx, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl([(n, c.get_short_help_str(90)) for n, c in found if c])


app = typer.Typer(
    name="reminders",
    cls=_InSections,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Without rich, `--help` is there in half the time.
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
    help="Reminds every enrolled person of every session, on time and once.",
    epilog=(
        "Exit codes: 0 done; 1 failed, and one line says the remedy; 2 wrong usage; 3 no such"
        " thing; 4 PostgreSQL or Temporal is away, repeat the command; 5 doctor, db check or shadow-diff"
        " found something."
    ),
)
for _noun in (
    enrollments,
    sessions,
    people,
    reminders,
    rules,
    reports,
    mails,
    operation,
    migration,
    installation,
):
    app.add_typer(_noun.app)


def _print_version(value: bool) -> None:  # noqa: FBT001 - what typer calls
    if value:
        from importlib.metadata import version

        typer.echo(version("session-reminders"))
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point: never returns, but exits with one of `ExitCode`."""
    import logging

    # What a command has to say, it prints; workers and the API set up logs of their own.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    app()
