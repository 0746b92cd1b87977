"""What was called off, and what a session's change did."""

from __future__ import annotations

from starter.api.sessions import CancelReceiptOut, ChangesOut, UnderWayOut
from starter.cli import layout


def called_off(answer: CancelReceiptOut, *, dry_run: bool) -> None:
    """What was called off, or would be."""
    layout.table(
        ("would be cancelled" if dry_run else "cancelled", "already sent", "in flight"),
        [(str(answer.cancelled), str(answer.already_sent), str(answer.in_flight))],
    )


def changes(answer: ChangesOut) -> None:
    """What a session's change did."""
    layout.table(
        ("enrollments", "confirmed", "not confirmed", "cancelled", "already sent", "in flight"),
        [
            tuple(
                str(count)
                for count in (
                    answer.enrollments,
                    answer.replanned,
                    answer.unconfirmed,
                    answer.cancelled,
                    answer.already_sent,
                    answer.in_flight,
                )
            )
        ],
    )


def under_way(answer: UnderWayOut) -> None:
    """Who is at it; the ledger holds already."""
    layout.lines(
        state="stored, and nothing goes out that it forbids; a worker tells the workflows",
        workflow=answer.workflow_id,
        run=answer.run_id,
    )
