"""After a backup of the database was restored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from reminders.db.restoring import RestoredLedger
from reminders.domain.errors import ConfigurationError, InvalidInputError
from starter.assembly import Parts
from starter.cli.options import ACTOR, AsJson, Reason, show
from starter.cli.printing import restoring as printing
from starter.cli.running import ask, fail
from starter.services.restoring import Reconciled, polling_now, reconcile

app = typer.Typer()


@app.command("ledger-restored")
def ledger_restored(
    down_since: Annotated[
        str,
        typer.Option(
            help="Since when the lost database took no more writes, such as 2026-11-23T09:00:00Z."
        ),
    ],
    *,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a ledger restored from a backup up to what has happened since. Stop all workers first."""
    instant = _instant(down_since)

    async def reconciled(parts: Parts) -> Reconciled:
        if await polling_now(parts.client, parts.settings.temporal_task_queue):
            raise ConfigurationError(
                "a worker has polled within the last 70 seconds; stop all workers, wait, and repeat"
            )
        return await reconcile(
            parts.client,
            RestoredLedger(parts.database, parts.clock),
            parts.clock,
            down_since=instant,
            actor=ACTOR,
            reason=reason,
            dry_run=dry_run,
            task_queue=parts.settings.temporal_task_queue,
        )

    show(ask(reconciled), printing.reconciled, as_json=as_json)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(
            InvalidInputError(
                "--down-since is no instant; write 2026-11-23T09:00:00Z", field="--down-since"
            )
        )
    if instant.tzinfo is None:
        fail(
            InvalidInputError("--down-since has no UTC offset; end it with Z", field="--down-since")
        )
    return instant.astimezone(UTC)
