"""Whether the provider takes e-mails."""

from __future__ import annotations

from starter.api.operation import DeliveryStateOut, ResumedOut
from starter.cli import layout


def delivery(answer: DeliveryStateOut) -> None:
    """Whether the provider takes e-mails, and its quotas."""
    held, sender = answer.held_because, answer.held_sender
    whose = f" for workers with key and sender {sender}" if sender else ""
    layout.lines(
        delivery=f"held ({held}){whose}, tried again {answer.held_until}" if held else "going on"
    )
    layout.table(
        ("quota", "used", "limit", "renewed (UTC)", "as of (UTC)", "sent since"),
        (
            (
                q.name,
                str(q.used),
                "none" if q.limit is None else str(q.limit),
                q.resets_at,
                q.checked_at,
                str(q.sent_since),
            )
            for q in answer.quotas
        ),
    )


def resumed(answer: ResumedOut) -> None:
    """Whether there was anything to resume."""
    was = answer.held_because
    layout.lines(delivery=f"goes on; it was held ({was})" if was else "was not held")
