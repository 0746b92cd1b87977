"""People: what they want to be reminded of, and their erasure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from reminders.domain.model import OptOut
from starter.cli import progress, tables
from starter.cli.options import (
    AsJson,
    DryRun,
    Group,
    Reason,
    User,
    Yes,
    by,
    only_counted,
    show,
)
from starter.cli.running import ask

if TYPE_CHECKING:
    from starter.api.people import ChangedPreferences, ErasureOut, PreferencesOut
    from starter.assembly import Parts

app = typer.Typer()
_preferences = typer.Typer(
    cls=Group, no_args_is_help=True, help="What people are not to be reminded of."
)
app.add_typer(_preferences, name="preferences")

_OfSession = Annotated[
    UUID | None, typer.Option("--session", metavar="SESSION", help="Only of this session.")
]
_OfType = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only this type, such as 24h.")
]


@_preferences.command("show")
def show_preferences(user: User, *, as_json: AsJson = False) -> None:
    """Show what a user is not to be reminded of."""
    from starter.api.people import PreferencesOut

    found = ask(lambda parts: parts.preferences.of(user))
    show(PreferencesOut.of(user, found), _print_preferences, as_json=as_json)


@_preferences.command()
def stop(
    user: User,
    session: _OfSession = None,
    kind: _OfType = None,
    *,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Stop a user's reminders: all, those of a session, of a type, or both. Safe to repeat."""
    from starter.api.people import ChangedPreferences

    receipt = ask(lambda parts: parts.preferences.add(user, OptOut(session, kind), by=by(reason)))
    show(ChangedPreferences.after(user, receipt), _print_changed, as_json=as_json)


@_preferences.command()
def resume(
    user: User,
    session: _OfSession = None,
    kind: _OfType = None,
    *,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Take one stop back, named as it was made, and plan what still lies ahead. Safe to repeat."""
    from starter.api.people import ChangedPreferences

    receipt = ask(
        lambda parts: parts.preferences.remove(user, OptOut(session, kind), by=by(reason))
    )
    show(ChangedPreferences.after(user, receipt), _print_changed, as_json=as_json)


@app.command()
def erase(
    user: User,
    *,
    reason: Reason = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Erase a user: address, name, preferences, enrollments. The ledger keeps counting."""
    from starter.api.people import ErasureOut

    async def erased(parts: Parts, *, dry_run: bool = False) -> ErasureOut:
        with progress.bar("enrollments ended", quiet=as_json) as shown:
            receipt = await parts.erasure.erase(
                user, by=by(reason), dry_run=dry_run, on_progress=shown.at
            )
        return ErasureOut.of(user, receipt, dry_run=dry_run)

    counted = only_counted(
        lambda parts: erased(parts, dry_run=True),
        lambda counts: (
            f"Erase this user for good, and cancel their {counts.cancelled} pending reminders?"
        ),
        dry_run=dry_run,
        yes=yes,
    )
    show(counted or ask(erased), _print_erasure, as_json=as_json)


def _print_preferences(answer: PreferencesOut) -> None:
    tables.lines(user=str(answer.user_id), withheld=", ".join(answer.withheld) or None)
    if not answer.opt_outs:
        tables.lines(stopped="nothing")
        return
    tables.table(
        ("not reminded of", "type"),
        (
            (o.session_id or "every session", o.reminder_type or "every type")
            for o in answer.opt_outs
        ),
    )


def _print_changed(answer: ChangedPreferences) -> None:
    """Preferences, and what their change did."""
    _print_preferences(answer)
    tables.table(
        ("skipped", "in flight", "still scheduled"),
        [(answer.skipped, answer.in_flight, answer.scheduled)],
    )


def _print_erasure(answer: ErasureOut) -> None:
    """What was erased, or would be."""
    tables.table(
        ("would be erased" if answer.dry_run else "erased", ""),
        (
            ("workflows ended", answer.workflows),
            ("reminders cancelled", answer.cancelled),
            ("reminders in flight", answer.in_flight),
            ("enrollments", answer.enrollments),
            ("preferences", answer.preferences),
            ("calendar entries", answer.calendar_entries),
            ("webhook events, anonymised", answer.webhook_events),
            ("audit entries, reasons blanked", answer.audit_entries),
            ("ledger rows, anonymised and kept", answer.kept),
        ),
    )
    if answer.already_erased:
        tables.lines(note="this user was erased before; these are what has come since")
    for sentence in answer.remains:
        tables.lines(remains=sentence)
