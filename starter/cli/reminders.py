"""The ledger."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from reminders.domain.model import Reminder, ReminderStatus, StatusReason
from starter.api.reminders import RedriveOut, ReminderOut, ReminderPageOut
from starter.assembly import Parts
from starter.cli import progress
from starter.cli.options import ACTOR, AsJson, NeededReason, Yes, by, confirmed, show
from starter.cli.printing import reminders as printing
from starter.cli.running import ask

app = typer.Typer()

_LARGEST_PAGE = 200


@app.command("list")
def list_(
    status: Annotated[ReminderStatus | None, typer.Option(help="Only these.")] = None,
    *,
    reason: Annotated[StatusReason | None, typer.Option(help="Only with this reason.")] = None,
    session: Annotated[UUID | None, typer.Option(help="Only this session's.")] = None,
    user: Annotated[UUID | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List reminders by ascending due instant."""

    async def listed(parts: Parts) -> ReminderPageOut:
        found: list[Reminder] = []
        after = cursor
        while len(found) < limit:
            page = await parts.queries.list(
                session_id=session,
                user_id=user,
                status=status,
                reason=reason,
                cursor=after,
                limit=min(limit - len(found), _LARGEST_PAGE),
            )
            found += page.reminders
            after = page.next_cursor
            if after is None:
                break
        return ReminderPageOut(items=[ReminderOut.of(r) for r in found], next_cursor=after)

    show(ask(listed), printing.reminders, as_json=as_json)


@app.command()
def resend(
    reminder: Annotated[UUID, typer.Argument(metavar="ID", help="Id of the reminder.")],
    reason: NeededReason,
    *,
    as_json: AsJson = False,
) -> None:
    """Send one reminder once more, as a new generation. Asked twice, it goes out once."""

    async def resent(parts: Parts) -> ReminderOut:
        done = await parts.resending.resend(reminder, reason=reason, actor=ACTOR)
        return ReminderOut.of(done.reminder)

    show(ask(resent), _alone, as_json=as_json)


@app.command("send-now")
def send_now(
    reminder: Annotated[UUID, typer.Argument(metavar="ID", help="Id of the reminder.")],
    reason: NeededReason,
    *,
    as_json: AsJson = False,
) -> None:
    """Send a reminder that waits for its instant now. Asked twice, it goes out once."""

    async def sent(parts: Parts) -> ReminderOut:
        done = await parts.resending.send_now(reminder, reason=reason, actor=ACTOR)
        return ReminderOut.of(done.reminder)

    show(ask(sent), _alone, as_json=as_json)


@app.command()
def redrive(
    session: Annotated[UUID | None, typer.Option(help="Only this session's.")] = None,
    reason: NeededReason = "reminders redrive",
    *,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send once more what failed, of sessions that have not begun: one e-mail a person."""

    async def redriven(parts: Parts, *, only_count: bool) -> RedriveOut:
        if session is not None:
            await parts.catalogue.session(session)
        if only_count:
            receipt = await parts.resending.redrive(
                reason="", actor=ACTOR, session_id=session, dry_run=True, patience=None
            )
        else:
            with progress.bar("failed reminders", quiet=as_json) as shown:
                done = await parts.deeds.redrive(
                    by(reason), session_id=session, on_progress=shown.advance
                )
            receipt = done.receipt
        return RedriveOut.of(receipt, dry_run=only_count)

    if not dry_run and not yes:
        confirmed(
            lambda: (
                f"Send {ask(lambda p: redriven(p, only_count=True)).resent} reminders once more?"
            )
        )
    done = ask(lambda parts: redriven(parts, only_count=dry_run))
    show(done, printing.redrive, as_json=as_json)


def _alone(answer: ReminderOut) -> None:
    printing.reminders(ReminderPageOut(items=[answer], next_cursor=None))
