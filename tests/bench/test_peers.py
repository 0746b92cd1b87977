"""The systems that ours is compared with do their work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bench.peers import run
from bench.peers.catalogue import PEERS, load


def test_a_peer_is_a_module_that_enrolls_and_works() -> None:
    """Every name in the catalogue is one, as far as its libraries are installed."""
    for name, peer in PEERS.items():
        if not peer.missing:
            module = load(name)
            assert callable(module.enroll)
            assert callable(module.work)


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_sends_every_reminder_once(name: str) -> None:
    """Five reminders at the provider's real limit; one that is not installed is skipped."""
    peer = PEERS[name]
    if peer.missing:
        pytest.skip(f"{peer.missing[0]} is not installed")
    herd = run.Herd(
        n=5,
        rate=10,
        latency_ms=20,
        patience=timedelta(seconds=60),
        cron_poll=timedelta(seconds=5),
    )
    found = run.measured(name, peer, herd)
    assert (0, 0) == (found["lost"], found["duplicates"])
    assert (found["first_lag_s"] or 0) > 0
