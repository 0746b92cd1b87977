"""Sessions."""

from __future__ import annotations

import typer

from starter import printing
from starter.answers import ChangesOut, SessionWithCounts, UnderWayOut
from starter.assembly import Parts
from starter.commands.options import CHANGE_WAIT, AsJson, Reason, Session, by, show
from starter.running import ask

app = typer.Typer()
_session = typer.Typer(no_args_is_help=True, help="Sessions.")
app.add_typer(_session, name="session")


@_session.command("show")
def show_session(session: Session, *, as_json: AsJson = False) -> None:
    """Show a session, with its reminders counted by status."""

    async def shown(parts: Parts) -> SessionWithCounts:
        found = await parts.catalogue.session(session)
        return SessionWithCounts.of(found, await parts.catalogue.counts(session))

    show(ask(shown), printing.session, as_json=as_json)


@_session.command("changed")
def changed(session: Session, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Say that a session, or a rule, changed: plan every enrollment anew. Safe to repeat."""
    done = ask(
        lambda parts: parts.deeds.replan_session(session, by(reason), wait=CHANGE_WAIT)
    ).receipt
    if done.is_done:
        show(ChangesOut.of(done), printing.changes, as_json=as_json)
    else:
        show(UnderWayOut.of(done), printing.under_way, as_json=as_json)


@_session.command("restore")
def restore(session: Session, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Hold a cancelled session after all: plan what still lies ahead anew. Safe to repeat."""
    done = ask(
        lambda parts: parts.deeds.restore_session(session, by(reason), wait=CHANGE_WAIT)
    ).receipt
    if done.is_done:
        show(ChangesOut.of(done), printing.changes, as_json=as_json)
    else:
        show(UnderWayOut.of(done), printing.under_way, as_json=as_json)
