"""From a cron job to us: what was taken over, brought in, compared and cut over."""

from __future__ import annotations

import typer

from starter.cli import layout
from starter.migration.answers import (
    BACKFILLED,
    IMPORTED,
    BackfillOut,
    CronImportOut,
    CutoverOut,
    DifferenceOut,
)


def cron_import(answer: CronImportOut) -> None:
    """What was taken over from a cron job, or would be."""
    layout.table(
        ("rule", "change", "minutes before", "on", "subject"),
        (
            (
                r.reminder_type,
                r.change,
                str(r.minutes_before),
                "yes" if r.is_enabled else "no",
                r.email_subject_template,
            )
            for r in answer.rules
        ),
    )
    layout.table(
        tuple(name.replace("_", " ") for name in IMPORTED),
        [tuple(str(getattr(answer, name)) for name in IMPORTED)],
    )


def backfill(answer: BackfillOut) -> None:
    """What a back-fill did, and where it stopped."""
    layout.table(
        tuple(name.replace("_", " ") for name in BACKFILLED),
        [tuple(str(getattr(answer, name)) for name in BACKFILLED)],
    )
    if answer.after is not None:
        print(f"go on with: --after {answer.after}")  # noqa: T201
    if answer.stopped_because is not None:
        typer.echo(f"reminders: {answer.stopped_because}", err=True)


def difference(answer: DifferenceOut) -> None:
    """The old log and ours, side by side."""
    if answer.since is None:
        print("nothing was recorded in shadow mode yet")  # noqa: T201
        return
    layout.table(
        ("both", "only the cron job", "only we", "too far apart", "median, s", "largest, s"),
        [
            (
                str(answer.both),
                str(answer.only_cron),
                str(answer.only_ours),
                str(answer.apart),
                f"{answer.median_seconds:.0f}",
                f"{answer.largest_seconds:.0f}",
            )
        ],
    )
    if answer.examples:
        layout.table(
            ("session", "user", "reminder", "cron job (UTC)", "we (UTC)", "our ledger"),
            (
                (
                    str(p.session_id),
                    str(p.user_id),
                    p.reminder_type,
                    p.cron_at,
                    p.shadow_at,
                    ": ".join(filter(None, (p.email_status, p.status_reason))) or None,
                )
                for p in answer.examples
            ),
        )


def cutover(answer: CutoverOut) -> None:
    """What a cut-over did."""
    layout.table(
        ("left alone since (UTC)", "sent by the cron job", "open again"),
        [(answer.requested_at, str(answer.imported), str(answer.reopened))],
    )
