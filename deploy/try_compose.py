r"""Starts `docker-compose.yml` where no image can be pulled: `python deploy/try_compose.py --debian IMAGE`.

The file is started as it is, by Compose itself, but for what a machine without a registry lacks:

- Images are made on this machine: PostgreSQL of Debian's packages for `postgres`, the server of the
  Temporal CLI for `temporal/temporal` and, in its place, for the cluster `temporal/server`; our own
  image on Debian's Python. There is nothing to make `temporal-schema`, `temporal-ui`, `prometheus`
  and `grafana` of: they are left out.
- All containers share one network namespace without any way out, in which every service's name is
  127.0.0.1. So nothing is published, and there can be one worker only: two would want one port.
- The stand-in takes the e-mails, also of the small deployment. Payloads are encrypted.

Both the small deployment and the profile `dev` are started, each with empty volumes. One person is
reminded; everything is stopped, removed and started anew, on the volumes that were left, and a second
person, who slept meanwhile, is reminded too. The script ends with 0 if all of that came true.

An engine that leaves the machine's own network alone will do, such as Debian's docker.io, by root:

    dockerd --bridge=none --iptables=false --ip6tables=false

The first image, by root:

    debootstrap --variant=minbase \
        --include=python3,python3-venv,ca-certificates,postgresql,netcat-openbsd bookworm root
    tar --create --directory root . | docker import - local/debian
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "session-reminders-trial"
NETWORK = f"{PROJECT}-network"
KEY = "key-of-the-trial"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SECONDS = 180
"""How long anything may take."""
ASLEEP_SECONDS = 60
"""How long the second person still sleeps when everything is stopped."""

OURS = f"{PROJECT}/ours"
TEMPORAL = f"{PROJECT}/temporal"
IMAGES = {
    "session-reminders": OURS,
    "postgres": f"{PROJECT}/postgres",
    "temporalio/temporal": TEMPORAL,
    "temporalio/server": TEMPORAL,
    "temporalio/admin-tools": TEMPORAL,
}
"""What stands for an image, by its name without the tag."""

STACKS = {
    "the small deployment": (
        "postgres",
        "migrate",
        "temporal",
        "temporal-namespace",
        "temporal-setup",
        "dev-provider",
        "worker",
        "api",
    ),
    "the profile dev": (
        "postgres",
        "migrate",
        "dev-temporal",
        "dev-provider",
        "dev-worker",
        "dev-api",
    ),
}
"""The services that are started, by what they are together."""

ENVIRONMENT = {
    "POSTGRES_PASSWORD": "of-the-trial-1",
    "TEMPORAL_POSTGRES_PASSWORD": "of-the-trial-2",
    "API_KEYS": KEY,
    "RESEND_API_KEY": "re_of_the_trial",
    "VERIFIED_TEST_EMAIL": "inbox@example.com",
    "TEMPORAL_PAYLOAD_KEYS": base64.b64encode(os.urandom(32)).decode(),
}

ASK = """
import json, sys, urllib.request as r
method, url, key, body = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
request = r.Request(url, method=method, data=body.encode() or None, headers=headers)
print(r.urlopen(request, timeout=10).read().decode())
"""
"""Run inside, where the API can be reached."""


def run(*words: str) -> str:
    """What a command prints; what it says of its progress is kept for when it fails.

    Raises:
        CalledProcessError: If it fails.
    """
    done = subprocess.run(
        words,
        check=True,
        text=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT, "DOCKER_BUILDKIT": "0"},
    )
    return done.stdout.strip()


def composer() -> tuple[str, ...]:
    """The command that Compose is called by: the plug-in, else the older program.

    Raises:
        SystemExit: If there is neither.
    """
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose") is None:
        sys.exit("there is no Compose here; install docker-compose, of Debian's packages or other")
    return ("docker-compose",)


def build(debian: str) -> None:
    """Make all images on one of Debian, by the old builder, which needs no plug-in."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "deploy" / "trial", folder, dirs_exist_ok=True)
        shutil.copy(CERTIFICATES, folder)
        for name in ("base", "postgres", "temporal"):
            words = ["--network=host", f"--build-arg=DEBIAN={debian}", f"--target={name}"]
            run("docker", "build", *words, f"--tag={PROJECT}/{name}", folder)
            print(f"ok: an image for {name}", flush=True)
    base = f"--build-arg=PYTHON_IMAGE={PROJECT}/base"
    run("docker", "build", "--network=host", base, f"--tag={OURS}", ROOT.as_posix())
    print("ok: our own image", flush=True)


def adapted(services: tuple[str, ...]) -> dict[str, Any]:
    """The compose file with these services only, and with what differs here."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    of_the_cli = document["services"]["dev-temporal"]
    found: dict[str, Any] = {}
    for name in services:
        service = {**document["services"][name], "network_mode": f"container:{NETWORK}"}
        for key in ("build", "ports", "profiles"):
            service.pop(key, None)
        if service["image"].startswith("temporalio/server:"):
            service |= {key: of_the_cli[key] for key in ("command", "volumes")}
        service["image"] = IMAGES[service["image"].partition(":")[0]]
        if service["image"] == OURS and "DATABASE_URL" in service["environment"]:
            service["environment"] |= {"RESEND_API_URL": "http://dev-provider:8025"}
        needed = service.get("depends_on", {})
        service["depends_on"] = {n: how for n, how in needed.items() if n in services}
        found[name] = service
    return {"services": found, "volumes": document["volumes"]}


@contextlib.contextmanager
def network(services: tuple[str, ...]) -> Iterator[None]:
    """A namespace with nothing but the loopback interface, for as long as this lasts."""
    hosts = [f"--add-host={name}:127.0.0.1" for name in services]
    words = ["--detach", "--network=none", f"--name={NETWORK}", *hosts]
    run("docker", "run", *words, f"{PROJECT}/base", "sleep", "infinity")
    try:
        yield
    finally:
        run("docker", "rm", "--force", "--volumes", NETWORK)


class Stack:
    """One project of Compose."""

    def __init__(self, services: tuple[str, ...], file: Path) -> None:
        """Know its services and its file."""
        self.services = services
        self._compose = (*composer(), "--file", str(file), "--project-directory", str(ROOT))
        self._compose += ("--project-name", PROJECT)
        (self.api,) = (name for name in services if name.endswith("api"))
        self.workers = tuple(name for name in services if name.endswith("worker"))

    def compose(self, *words: str) -> str:
        """What Compose prints."""
        return run(*self._compose, *words)

    def state(self, name: str) -> dict[str, Any]:
        """How a service's container is."""
        found: dict[str, Any] = json.loads(
            run("docker", "inspect", "--format={{json .State}}", self._container(name))
        )
        return found

    def inside(self, name: str, *words: str) -> str:
        """What a command prints in a service's container."""
        return run("docker", "exec", self._container(name), *words)

    def ask(self, method: str, url: str, body: object = None) -> dict[str, Any]:
        """The JSON that a route answers with."""
        text = "" if body is None else json.dumps(body)
        found: dict[str, Any] = json.loads(
            self.inside(self.api, "python3", "-c", ASK, method, url, KEY, text)
        )
        return found

    def enroll(self, *, due_in: timedelta) -> None:
        """A person with a reminder half an hour before a session, which is then."""
        session, user = uuid4(), uuid4()
        start = datetime.now(UTC) + timedelta(minutes=30) + due_in
        v1 = "http://api:8000/v1" if self.api == "api" else "http://dev-api:8000/v1"
        body = {"title": "Trial", "start_time": start.isoformat()}
        self.ask("PUT", f"{v1}/sessions/{session}", body)
        self.ask("PUT", f"{v1}/users/{user}", {"email": "delivered@resend.dev"})
        ids = {"session_id": str(session), "user_id": str(user)}
        self.ask("POST", f"{v1}/enrollments", ids)

    def accepted(self) -> list[Any]:
        """The e-mails that the stand-in has accepted since its start."""
        found: list[Any] = self.ask("GET", "http://dev-provider:8025/_/accepted")["data"]
        return found

    def up(self) -> None:
        """Start everything, and wait until it is as its health checks want it."""
        self.compose("up", "--detach")
        until("every health check is green", self._is_green)
        for name in self.services:
            if not self.state(name)["Running"]:
                require(self.state(name)["ExitCode"] == 0, f"{name} has done its work")
        until("doctor finds nothing", lambda: self.inside(self.api, "reminders", "doctor"))

    def stop(self) -> None:
        """Stop everything, in order."""
        self.compose("stop")
        for name in (*self.workers, self.api, "postgres"):
            require(self.state(name)["ExitCode"] == 0, f"{name} stopped in order")

    def _container(self, name: str) -> str:
        return self.compose("ps", "--all", "--quiet", name) or f"no container of {name}"

    def _is_green(self) -> bool:
        states = {name: self.state(name) for name in self.services}
        return all(
            s.get("Health", {}).get("Status", "healthy") == "healthy" for s in states.values()
        )


def until(what: str, check: Callable[[], object]) -> None:
    """Wait until a check holds.

    Raises:
        SystemExit: If it does not in time.
    """
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.CalledProcessError):
            if check():
                print(f"ok: {what}", flush=True)
                return
        time.sleep(1)
    sys.exit(f"not within {SECONDS} s: {what}")


def require(holds: object, what: str) -> None:
    """Go on only if something holds.

    Raises:
        SystemExit: If it does not.
    """
    if not holds:
        sys.exit(f"not so: {what}")
    print(f"ok: {what}", flush=True)


def play(services: tuple[str, ...]) -> None:
    """Start a stack, remind one person; stop, start it anew, and remind another."""
    with contextlib.ExitStack() as ends:
        file = Path(ends.enter_context(tempfile.TemporaryDirectory())) / "docker-compose.yml"
        file.write_text(yaml.safe_dump(adapted(services)), encoding="utf-8")
        ends.enter_context(network(services))
        stack = Stack(services, file)
        ends.callback(stack.compose, "down", "--volumes")
        try:
            stack.up()
            stack.enroll(due_in=timedelta(seconds=5))
            until("the e-mail was accepted", stack.accepted)
            stack.enroll(due_in=timedelta(seconds=ASLEEP_SECONDS))
            require(len(stack.accepted()) == 1, "once; the second person sleeps")
            stack.stop()
            stack.compose("down")
            stack.up()
            until("who slept meanwhile got an e-mail", stack.accepted)
            time.sleep(5)
            require(len(stack.accepted()) == 1, "one, and no other")
        except BaseException:
            sys.stderr.write(stack.compose("logs", "--tail=20"))
            raise


def main() -> None:
    """Build, unless told not to, and play."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--debian", help="make the images on this one; without it, they are there")
    options = parser.parse_args()
    try:
        if options.debian:
            build(options.debian)
        for title, services in STACKS.items():
            print(f"{title}: {', '.join(services)}", flush=True)
            play(services)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{error.stdout}\n{error.stderr}")


if __name__ == "__main__":
    main()
