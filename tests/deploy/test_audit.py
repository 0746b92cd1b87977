"""The audit asks about all that is locked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VULNERABLE = "jinja2"


class Osv(BaseHTTPRequestHandler):
    """The database of vulnerabilities, which knows of one; asked as uv asks it."""

    asked: set[str]

    def do_POST(self) -> None:
        """Answer a batch: which of them have an entry."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        names = [query["package"]["name"] for query in body["queries"]]
        self.asked.update(names)
        found = [{"vulns": [{"id": "X-1"}]} if n == VULNERABLE else {} for n in names]
        self.answer({"results": found})

    def do_GET(self) -> None:
        """Answer with the entry itself."""
        entry = {"id": "X-1", "summary": "made up", "modified": "2026-11-01T00:00:00Z"}
        package = {"ecosystem": "PyPI", "name": VULNERABLE}
        self.answer(entry | {"affected": [{"package": package}]})

    def answer(self, content: object) -> None:
        """Send it as JSON."""
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def osv() -> Iterator[tuple[str, set[str]]]:
    """Its address, and the names that were asked about."""
    asked: set[str] = set()
    handler = type("Handler", (Osv,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_audit_asks_about_all_that_is_locked(osv: tuple[str, set[str]]) -> None:
    """It fails, and names the package, if one is known to be vulnerable."""
    url, asked = osv
    done = subprocess.run(
        [sys.executable, "dev.py", "audit", "--service-url", url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode, done.stderr
    assert VULNERABLE in done.stdout
    assert "X-1" in done.stdout
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    assert {p["name"] for p in lock if p["source"].get("registry")} - asked == set()
