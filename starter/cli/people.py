"""People: what they want to be reminded of, and their erasure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from reminders.domain.model import OptOut
from starter.cli import progress, tables
from starter.cli.options import (
    AsJson,
    DryRun,
    Group,
    OnlySession,
    Question,
    Reason,
    User,
    Yes,
    ask,
    by,
    only_counted,
    show,
    show_named,
    with_options,
)

if TYPE_CHECKING:
    from reminders.db.lookups import Names
    from reminders.db.preference_store import Changed
    from starter.api.people import ChangedPreferences, ErasureOut, PreferencesOut
    from starter.assembly import Parts

app = typer.Typer()
_preferences = typer.Typer(
    cls=Group, no_args_is_help=True, help="Which reminders people have stopped."
)
app.add_typer(_preferences, name="preferences")


@dataclass(frozen=True, slots=True)
class _Stop:
    """What is stopped: everything, what is about a session, of a type, or both."""

    session: OnlySession = None
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only this type, such as 24h.")
    ] = None

    @property
    def opt_out(self) -> OptOut:
        """For the services."""
        return OptOut(self.session, self.kind)


@_preferences.command("show")
def show_preferences(user: User, *, as_json: AsJson = False) -> None:
    """Show which reminders a user has stopped."""
    from starter.api import people

    show_named(
        lambda p: people.preferences(user, p), _print_preferences, _named_in, as_json=as_json
    )


@_preferences.command()
@with_options
def stop(user: User, stop: _Stop, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Stop a user's reminders: all, those of a session, of a type, or both. Safe to repeat."""
    _change(user, lambda p: p.preferences.add(user, stop.opt_out, by=by(reason)), as_json=as_json)


@_preferences.command()
@with_options
def resume(user: User, stop: _Stop, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Undo a stop, given with the same options, and plan what still lies ahead. Safe to repeat."""
    _change(
        user, lambda p: p.preferences.remove(user, stop.opt_out, by=by(reason)), as_json=as_json
    )


@_preferences.command()
def unblock(user: User, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Remind a user again whose address bounced, or who complained. Safe to repeat."""
    _change(user, lambda p: p.preferences.unblock(user, by=by(reason)), as_json=as_json)


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


def _named_in(answer: PreferencesOut) -> list[Any]:
    return [answer, *answer.opt_outs]


def _print_preferences(answer: PreferencesOut, names: Names) -> None:
    tables.lines(
        user=str(answer.user_id),
        name=names.people.get(answer.user_id),
        withheld=", ".join(answer.withheld) or None,
    )
    if not answer.opt_outs:
        tables.lines(stopped="nothing")
        return
    tables.table(
        {
            "not reminded of": names.sessions.get(o.session_id)
            if o.session_id
            else "every session",
            "session": o.session_id,
            "type": o.reminder_type or "every type",
        }
        for o in answer.opt_outs
    )


def _change(user: UUID, change: Question[Changed], *, as_json: bool) -> None:
    from starter.api.people import ChangedPreferences

    async def changed(parts: Parts) -> ChangedPreferences:
        return ChangedPreferences.after(user, await change(parts))

    show_named(changed, _print_changed, _named_in, as_json=as_json)


def _print_changed(answer: ChangedPreferences, names: Names) -> None:
    """Preferences, and what their change did."""
    _print_preferences(answer, names)
    tables.row(
        {
            "skipped": answer.skipped,
            "in flight": answer.in_flight,
            "still scheduled": answer.scheduled,
        }
    )


def _print_erasure(answer: ErasureOut) -> None:
    """What was erased, or would be."""
    what = "would be erased" if answer.dry_run else "erased"
    counts = {
        "workflows ended": answer.workflows,
        "reminders cancelled": answer.cancelled,
        "reminders in flight": answer.in_flight,
        "enrollments": answer.enrollments,
        "preferences": answer.preferences,
        "calendar entries": answer.calendar_entries,
        "webhook events, anonymised": answer.webhook_events,
        "audit entries, reasons blanked": answer.audit_entries,
        "ledger rows, anonymised and kept": answer.kept,
    }
    tables.table({what: name, "": count} for name, count in counts.items())
    if answer.already_erased:
        tables.lines(note="this user was erased before; these are what has come since")
    for sentence in answer.remains:
        tables.lines(remains=sentence)
