"""`python -m devstack.provider`: the stand-in as a process of its own."""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import uvicorn

from devstack.provider.app import Provider
from devstack.provider.exchange import ProviderOptions
from devstack.provider.store import StoreInUseError
from reminders.observability.listening import listen

KEEP_ALIVE_SECONDS = 75
"""Idle connections live long, as at Resend's edge: at uvicorn's 5 s a client that keeps its own
for 5 s would now and then post into a closed one, and not know what became of its mail."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.webhook_url is None) != (options.webhook_secret is None):
        parser.error("--webhook-url and --webhook-secret go together")
    try:
        provider = Provider(
            ProviderOptions(
                rate=options.rate,
                latency=timedelta(milliseconds=options.latency_ms),
                daily_quota=options.daily_quota,
                api_keys=tuple(options.api_key),
                allow_example=options.allow_example,
                webhook_url=options.webhook_url,
                webhook_secret=options.webhook_secret,
            ),
            file=options.data,
        )
    except StoreInUseError as error:
        parser.error(f"--data: {error}")
    try:
        listener = listen(options.host, options.port)
    except (OSError, OverflowError) as error:
        parser.error(f"--port {options.port}: {error}")
    with listener:
        serve(provider, listener, ready=lambda url: _announce(url, options.ready_file))


def serve(provider: Provider, listener: socket.socket, *, ready: Callable[[str], None]) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; `ready` gets the URL once it answers."""
    config = uvicorn.Config(
        provider,
        access_log=False,
        log_level="warning",
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
        backlog=2048,
    )
    server = _Server(config, provider, ready)
    provider.cut = server.cut
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that says when it is ready, and can cut a connection."""

    def __init__(
        self, config: uvicorn.Config, provider: Provider, ready: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._provider = provider
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = (sockets or [])[0].getsockname()
        self._ready(f"http://{host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._provider.stop()
        await super().shutdown(sockets)

    def cut(self, client: object) -> None:
        """Close the connection from this address at once, whatever was about to be written."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == client and connection.transport is not None:
                connection.transport.abort()


def _announce(url: str, ready_file: Path | None) -> None:
    line = json.dumps({"url": url, "pid": os.getpid()})
    if ready_file is not None:
        # In one step: who waits for the file must not read half of it.
        draft = ready_file.with_name(ready_file.name + ".new")
        draft.write_text(line + "\n", encoding="utf-8")
        draft.replace(ready_file)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.provider",
        description="A local stand-in for Resend, with an inbox to read the mail in.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="IPv4 address to listen on; in a container 0.0.0.0")
    add("--port", type=_whole, default=0, help="0 takes a free one (default)")
    add("--data", type=Path, metavar="FILE", help="SQLite file; in memory without it")
    add("--rate", type=_whole, default=10, help="requests a second; 0 is unlimited (default 10)")
    add("--latency-ms", type=_milliseconds, default=20.0, help="of each request (default 20)")
    add("--daily-quota", type=_whole, metavar="N", help="recipients a UTC day (default none)")
    add(
        "--api-key",
        action="append",
        default=[],
        metavar="re_...",
        help="a key that is accepted; may be repeated (default: any that starts with re_)",
    )
    add("--allow-example", action="store_true", help="accept @example.com and @test.com")
    add("--webhook-url", metavar="URL", help="where to post events")
    add("--webhook-secret", type=_secret, metavar="whsec_...", help="signs the events")
    add("--ready-file", type=Path, metavar="FILE", help="gets the JSON line, too, once it serves")
    return parser


def _whole(text: str) -> int:
    number = int(text)
    if number < 0:
        message = f"must not be negative: {text}"
        raise argparse.ArgumentTypeError(message)
    return number


def _milliseconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        message = f"must be a number of milliseconds: {text}"
        raise argparse.ArgumentTypeError(message)
    return number


def _secret(text: str) -> str:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith("whsec_") or not key:
        message = "must be whsec_ and base64"
        raise argparse.ArgumentTypeError(message)
    return text


if __name__ == "__main__":
    main()
