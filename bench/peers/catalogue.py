"""The peers by name, and what a module that is one has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, util
from typing import Protocol, cast

from bench.peers.mail import Mail

INSTALL = "uv sync --frozen --group bench"
"""How the libraries of all peers are had."""


class PeerModule(Protocol):
    """What a module of this folder has. Both run in a process of their own.

    They find `DATABASE_URL` (an empty database of theirs), `RESEND_API_URL`, `RESEND_API_KEY`,
    `EMAIL_FROM`, `PEER_PORT` (a free one) and, if asked for, `TEMPORAL_ADDRESS` in the environment.
    """

    def enroll(self, mails: Sequence[Mail]) -> None:
        """Hand reminders in; they are durable on return."""

    def work(self) -> None:
        """Print that it is ready, then send what is due, until killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """Something else that sends reminders."""

    what: str
    needs: tuple[str, ...] = ()
    """What must be importable."""
    needs_temporal: bool = False
    batches: bool = False
    """Whether it puts many e-mails into a request."""

    @property
    def missing(self) -> list[str]:
        """What of it is not installed."""
        return [name for name in self.needs if util.find_spec(name) is None]


PEERS: Mapping[str, Peer] = {
    "cron": Peer(what="the cron job being replaced: ten e-mails, two seconds' pause"),
    "poller": Peer(what="a hand-written poller that batches: the practical limit", batches=True),
    "bare_temporal": Peer(
        what="a workflow that sleeps, an activity that posts", needs_temporal=True
    ),
    "procrastinate": Peer(what="jobs in PostgreSQL, scheduled", needs=("procrastinate",)),
    "celery": Peer(what="tasks in Redis with an ETA", needs=("celery", "redis")),
    "dbos": Peer(what="durable workflows on PostgreSQL", needs=("dbos",)),
}


def load(name: str) -> PeerModule:
    """The module of a peer."""
    return cast("PeerModule", import_module(f"bench.peers.{name}"))
