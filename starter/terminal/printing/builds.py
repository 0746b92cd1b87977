"""Who sleeps on which build of the workers."""

from __future__ import annotations

from starter.builds import Builds
from starter.terminal import layout


def builds(answer: Builds) -> None:
    """Sleepers by the build of the workers that has run them last."""
    layout.table(
        ("build", "routed by version", "sleepers"),
        ((b.build, "yes" if b.is_versioned else "no", str(b.sleepers)) for b in answer.builds),
    )
    if not answer.is_complete:
        layout.lines(
            note="there are more sleepers than were looked at; these are the first of them"
        )
