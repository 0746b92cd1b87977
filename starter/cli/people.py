"""People: what they want to be reminded of, and that they are forgotten."""

from __future__ import annotations

import sys
from typing import Annotated
from uuid import UUID

import typer

from reminders.domain.model import OptOut
from starter.api.people import ChangedPreferences, ErasureOut, PreferencesOut
from starter.assembly import Parts
from starter.cli import progress
from starter.cli.options import ACTOR, AsJson, Reason, User, show
from starter.cli.printing import people as printing
from starter.cli.running import ExitCode, ask

app = typer.Typer()
_preferences = typer.Typer(no_args_is_help=True, help="What people are not to be reminded of.")
app.add_typer(_preferences, name="preferences")

OfSession = Annotated[
    UUID | None, typer.Option("--session", metavar="SESSION", help="Only of this session.")
]
OfType = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only this type, such as 24h.")
]


@_preferences.command("show")
def show_preferences(user: User, *, as_json: AsJson = False) -> None:
    """Show what a user is not to be reminded of."""

    async def asked(parts: Parts) -> PreferencesOut:
        return PreferencesOut.of(user, await parts.preferences.of(user))

    show(ask(asked), printing.preferences, as_json=as_json)


@_preferences.command()
def stop(
    user: User,
    session: OfSession = None,
    kind: OfType = None,
    *,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Stop a user's reminders: all, those of a session, of a type, or both. Safe to repeat."""

    async def stopped(parts: Parts) -> ChangedPreferences:
        receipt = await parts.preferences.add(
            user, OptOut(session, kind), actor=ACTOR, reason=reason
        )
        return ChangedPreferences.after(user, receipt)

    show(ask(stopped), printing.changed_preferences, as_json=as_json)


@_preferences.command()
def resume(
    user: User,
    session: OfSession = None,
    kind: OfType = None,
    *,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Take one stop back, named as it was made, and plan what still lies ahead. Safe to repeat."""

    async def resumed(parts: Parts) -> ChangedPreferences:
        receipt = await parts.preferences.remove(
            user, OptOut(session, kind), actor=ACTOR, reason=reason
        )
        return ChangedPreferences.after(user, receipt)

    show(ask(resumed), printing.changed_preferences, as_json=as_json)


@app.command()
def erase(
    user: User,
    *,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a user: address, name, preferences, enrollments. The ledger keeps counting."""
    if not dry_run and not yes:
        _confirm(user)
    show(
        _erased(user, reason=reason, dry_run=dry_run, quiet=as_json),
        printing.erasure,
        as_json=as_json,
    )


def _erased(
    user: UUID, *, reason: str | None = None, dry_run: bool, quiet: bool = False
) -> ErasureOut:
    async def erased(parts: Parts) -> ErasureOut:
        with progress.bar("enrollments ended", quiet=quiet) as shown:
            receipt = await parts.erasure.erase(
                user, actor=ACTOR, reason=reason, dry_run=dry_run, on_progress=shown.at
            )
        return ErasureOut.of(user, receipt, dry_run=dry_run)

    return ask(erased)


def _confirm(user: UUID) -> None:
    """Ask on a terminal; without one, demand `--yes`."""
    if not sys.stdin.isatty():
        typer.echo(
            "reminders: nobody is there to confirm; add --yes, or --dry-run to see", err=True
        )
        raise typer.Exit(ExitCode.USAGE)
    waiting = _erased(user, dry_run=True).cancelled
    question = f"Erase this user for good, and cancel their {waiting} pending reminders?"
    typer.confirm(question, abort=True, err=True)
