"""Puts the same questions to our stand-in and to a public emulator of Resend, side by side.

The emulator was written by others from the same documentation, so where both agree we are
probably right; where they differ, `DIFFERENCES` says why.

Run by hand:
    npm install --ignore-scripts emulate@0.11.2   (in a directory of its own; needs Node 20)
    python -m tests.devstack.compare_emulator node_modules/.bin/emulate

The emulator listens on every interface, so it runs only as long as the questions take.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from devstack.ports import LOOPBACK, free_ports
from devstack.process import end, spawn, wait_until
from devstack.program import STOP
from devstack.provider.server import EmbeddedProvider
from tests.devstack.standin import mail

VERSION = "0.11.2"
START_SECONDS = 20

DIFFERENCES = {
    "the same key at the other endpoint": "Resend keeps keys apart by method and endpoint",
    "an empty batch": "undocumented; refusing it is the stricter reading",
    "a permissive batch with a bad e-mail": "the emulator has no permissive mode",
    "a bad address": "the emulator does not look at addresses",
    "a bad tag": "the emulator does not look at tags",
    "51 recipients": "the emulator has no limit",
    "an attachment in a batch": "the emulator accepts it",
    "an address at example.com": "the emulator accepts it",
    "a header that is a number": "the emulator accepts it",
    "no HTML and no text": "the emulator accepts it",
    "no API key": "the emulator needs none",
    "no User-Agent": "the emulator needs none",
    "malformed JSON": "the emulator takes it for an empty object",
    "a missing field": "Resend's table has `missing_required_field`; the emulator has one name",
    "the last event": "the emulator writes `email.delivered`, the documentation `delivered`",
    "usage": "newer than the emulator",
    "rate-limit headers": "the emulator sends its own",
}
"""Questions that the two answer differently, and why."""

Ask = Callable[..., httpx2.Response]


def answers(url: str) -> dict[str, str]:
    """What a server answers to every question, as short texts."""
    with httpx2.Client(
        base_url=url, headers={"authorization": "Bearer re_embedded_provider"}, trust_env=False
    ) as http:
        return dict(_questions(http))


def _questions(http: httpx2.Client) -> Iterator[tuple[str, str]]:
    def send(body: object, path: str | None = None, **headers: str) -> httpx2.Response:
        path = path or ("/emails/batch" if isinstance(body, list) else "/emails")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.post(path, json=body, headers=named)

    three: list[Any] = [mail(f"u{n}@clinic.dev") for n in range(3)]
    yield "an e-mail", _kind(send(mail()))
    first = send(three, idempotency_key="k")
    yield "a batch", _kind(first)
    again = send(three, idempotency_key="k")
    yield "the same key and body", f"{_kind(again)}, same ids: {again.json() == first.json()}"
    yield "the same key, another body", _kind(send(three[:2], idempotency_key="k"))
    yield "the same key at the other endpoint", _kind(send(mail(), idempotency_key="k"))
    yield "a key of 256 characters", _kind(send(mail(), idempotency_key="k" * 256))
    yield "a key of 257 characters", _kind(send(mail(), idempotency_key="k" * 257))
    yield "an empty key", _kind(send(mail(), idempotency_key=""))
    yield "a batch of 101", _kind(send([mail()] * 101))
    yield "an empty batch", _kind(send([]))
    bad = {name: value for name, value in mail().items() if name != "to"}
    permissive = send([*three, bad], x_batch_validation="permissive")
    yield "a permissive batch with a bad e-mail", _kind(permissive)
    yield "a strict batch with a bad e-mail", str(send([*three, bad]).status_code)
    yield "a missing field", _kind(send(bad))
    yield "no HTML and no text", _kind(send(mail(html=None)))
    yield "a bad address", _kind(send(mail("nobody")))
    yield "a bad tag", _kind(send(mail(tags=[{"name": "a b", "value": "c"}])))
    yield "a header that is a number", _kind(send(mail(headers={"X": 1})))
    yield "51 recipients", _kind(send(mail([f"u{n}@clinic.dev" for n in range(51)])))
    attached = mail(attachments=[{"filename": "a.txt", "content": "QQ=="}])
    yield "an attachment in a batch", _kind(send([attached]))
    yield "an address at example.com", _kind(send(mail("a@example.com")))
    yield "a suppressed address", _kind(send(mail("suppressed@resend.dev")))
    yield "no API key", _kind(send(mail(), authorization=""))
    yield "no User-Agent", _kind(send(mail(), user_agent=""))
    yield "malformed JSON", _kind(http.post("/emails", content=b"{"))
    email_id = first.json()["data"][0]["id"]
    read = http.get(f"/emails/{email_id}")
    yield "an accepted e-mail", f"{_kind(read)}, to {read.json()['to']}"
    yield "the last event", str(read.json()["last_event"])
    yield "an unknown e-mail", _kind(http.get("/emails/4ef9a417-02e9-4d39-ad75-9611e0fcc33c"))
    yield "usage", str(http.get("/usage").status_code)
    yield "rate-limit headers", str("ratelimit-limit" in read.headers)


def _kind(response: httpx2.Response) -> str:
    """Status, and the error's name or the shape of the answer."""
    try:
        content = response.json()
    except ValueError:
        return f"{response.status_code}, no JSON"
    if "name" in content and response.status_code >= 400:
        return f"{response.status_code} {content['name']}"
    errors = f", {len(content['errors'])} errors" if "errors" in content else ""
    what = f"{len(content['data'])} ids" if "data" in content else "an id"
    return f"{response.status_code}, {what}{errors}"


@contextmanager
def emulator(program: Path) -> Iterator[str]:
    """A running emulator's URL."""
    port = free_ports(1)[0]
    url = f"http://{LOOPBACK}:{port}"
    process = spawn(
        [program, "--service", "resend", "--port", str(port)], output=subprocess.DEVNULL
    )

    def ready() -> bool:
        try:
            return httpx2.get(f"{url}/emails", trust_env=False).is_success
        except httpx2.TransportError:
            return False

    try:
        if not wait_until(ready, seconds=START_SECONDS):
            message = f"{program} does not answer within {START_SECONDS} s"
            raise RuntimeError(message)
        yield url
    finally:
        end(process, STOP)


def compare(program: Path) -> dict[str, tuple[str, str]]:
    """Every question with the stand-in's answer and the emulator's."""
    with EmbeddedProvider(rate=1000, latency_ms=0) as ours, emulator(program) as theirs:
        mine, other = answers(ours.url), answers(theirs)
    return {question: (mine[question], other[question]) for question in mine}


def main() -> None:
    """Print the table; fail if a difference is unexplained or an explained one is gone."""
    table = compare(Path(sys.argv[1]))
    differing = {question for question, (mine, other) in table.items() if mine != other}
    for question, (mine, other) in table.items():
        sign = "≠" if question in differing else "="
        print(f"{sign} {question:38} {mine:42} {other:42} {DIFFERENCES.get(question, '')}")
    unexplained = differing ^ DIFFERENCES.keys()
    print(f"\n{len(table) - len(differing)} agree, {len(differing)} differ")
    if unexplained:
        sys.exit(f"not as DIFFERENCES says: {', '.join(sorted(unexplained))}")


if __name__ == "__main__":
    main()
