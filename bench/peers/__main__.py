"""`python -m bench.peers NAME work | enroll N SECONDS`: one side of a peer, in this process."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from bench.peers import catalogue
from bench.peers.mail import Mail
from reminders.clock import SystemClock


def main(name: str, verb: str, *arguments: str) -> None:
    """Do one of the two things that a peer can."""
    peer = catalogue.load(name)
    if verb == "work":
        peer.work()
        return
    n, seconds = int(arguments[0]), float(arguments[1])
    # From now, and not from the start of this process: imports take a second or three.
    due_at = SystemClock().now() + timedelta(seconds=seconds)
    print(due_at.isoformat(), flush=True)
    peer.enroll([Mail(to=f"attendee-{number}@example.com", due_at=due_at) for number in range(n)])
    # Clients have threads that may crash an interpreter which takes itself apart; nothing is left.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
