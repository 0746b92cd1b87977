r"""Starts `docker-compose.yml` where no image can be pulled: `python deploy/try_compose.py --debian IMAGE`.

The file is started as it is, by Compose itself, but for what a machine without a registry lacks:

- Images are made on this machine: PostgreSQL and Prometheus of Debian's packages for `postgres` and
  `prometheus`, the server of the Temporal CLI for `temporal/temporal` and, in its place, for the
  cluster `temporal/server`; our own image on Debian's Python. There is nothing to make
  `temporal-schema`, `temporal-ui` and `grafana` of: they are left out.
- All containers share one network namespace without any way out, in which every service's name is
  127.0.0.1, by its hosts file and by its name server. So nothing is published, and there can be one
  worker only: two would want one port.
- The stand-in takes the e-mails, also of the small deployment. Payloads are encrypted.

Secrets come from a file, as from `.env`. Both the small deployment, watched by Prometheus, and the
profile `dev` are started, each with empty volumes. One person is reminded, and an operator signs in
to the admin pages. Prometheus scrapes worker and API, takes every rule and every expression of the
dashboard, and fires when the worker is away while a reminder falls due. Everything is stopped, removed
and started anew, on the volumes that were left, and a person who slept meanwhile is reminded too.
The script ends with 0 if all of that came true.

An engine that leaves the machine's own network alone will do, such as Debian's docker.io, by root:

    dockerd --bridge=none --iptables=false --ip6tables=false

The first image, by root:

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,postgresql,\
    netcat-openbsd,prometheus,busybox,dnsmasq-base bookworm root
    tar --create --directory root . | docker import - local/debian
"""

from __future__ import annotations

import argparse
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
from urllib.parse import urlencode
from uuid import uuid4

import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "session-reminders-trial"
NETWORK = f"{PROJECT}-network"
KEY = "key-of-the-trial"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SECONDS = 180
"""How long anything may take."""
DUE_SECONDS = 20
"""How long after being asked for a reminder falls due: a busy machine takes seconds for each request."""
ASLEEP_SECONDS = 90
"""How long who sleeps while everything is stopped sleeps at least."""
ALARM_SECONDS = 300
"""How long an alarm may take: a minute overdue, a minute pending, a scrape and an evaluation."""

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "session-reminders.json"
SCRAPED = {"reminders-api": "up", "reminders-worker": "up"}
ALARM = "RemindersOverdue"
"""The alert that is caused."""

OURS = f"{PROJECT}/ours"
TEMPORAL = f"{PROJECT}/temporal"
IMAGES = {
    "session-reminders": OURS,
    "postgres": f"{PROJECT}/postgres",
    "temporalio/temporal": TEMPORAL,
    "temporalio/server": TEMPORAL,
    "temporalio/admin-tools": TEMPORAL,
    "prom/prometheus": f"{PROJECT}/prometheus",
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
        "prometheus",
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

SECRETS = {
    "POSTGRES_PASSWORD": "of-the-trial-1",
    "TEMPORAL_POSTGRES_PASSWORD": "of-the-trial-2",
    "API_KEYS": KEY,
    "ADMIN_USERNAME": "operator",
    "ADMIN_PASSWORD": "admin-of-the-trial",
    "RESEND_API_KEY": "re_of_the_trial",
    "VERIFIED_TEST_EMAIL": "inbox@example.com",
}
"""What an operator writes into `.env`."""

ASK = """
import json, sys, urllib.request as r
method, url, key, body = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
request = r.Request(url, method=method, data=body.encode() or None, headers=headers)
print(r.urlopen(request, timeout=10).read().decode())
"""
"""Run inside, where the API can be reached."""

SIGN_IN = """
import http.cookiejar, sys, urllib.error, urllib.parse, urllib.request as r
url, name, *passwords = sys.argv[1:]
browser = r.build_opener(r.HTTPCookieProcessor(http.cookiejar.CookieJar()))
for password in passwords:
    form = urllib.parse.urlencode({"username": name, "password": password}).encode()
    try:
        browser.open(f"{url}/sign-in", form, timeout=10)
    except urllib.error.HTTPError as refused:
        print(refused.code)
page = browser.open(url, timeout=10)
print(page.status, page.url)
"""
"""As a browser does it."""


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
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
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
        for name in ("base", "postgres", "temporal", "prometheus"):
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
    words = ["--detach", "--network=none", "--dns=127.0.0.1", f"--name={NETWORK}", *hosts]
    # Prometheus asks a name server for the workers, as Compose has one; this one reads those hosts.
    server = ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--user=root"]
    run("docker", "run", *words, f"{PROJECT}/base", *server)
    try:
        yield
    finally:
        run("docker", "rm", "--force", "--volumes", NETWORK)


class Stack:
    """One project of Compose."""

    def __init__(self, services: tuple[str, ...], folder: Path) -> None:
        """Know its services, and write its file and its secrets into a folder."""
        self.services = services
        file, secrets = folder / "docker-compose.yml", folder / ".env"
        file.write_text(yaml.safe_dump(adapted(services)), encoding="utf-8")
        secrets.write_text("".join(f"{k}={v}\n" for k, v in SECRETS.items()), encoding="utf-8")
        self._compose = (*composer(), "--file", str(file), "--project-directory", str(ROOT))
        self._compose += ("--project-name", PROJECT, "--env-file", str(secrets))
        self._containers: dict[str, str] = {}
        (self.api,) = (name for name in services if name.endswith("api"))
        self.url = f"http://{self.api}:8000"
        (self.worker,) = (name for name in services if name.endswith("worker"))

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

    def enroll(self, *, due_in: int) -> None:
        """A person with a reminder half an hour before a session, which is in so many seconds."""
        session, user = uuid4(), uuid4()
        start = datetime.now(UTC) + timedelta(minutes=30, seconds=due_in)
        v1 = f"{self.url}/v1"
        body = {"title": "Trial", "start_time": start.isoformat()}
        self.ask("PUT", f"{v1}/sessions/{session}", body)
        self.ask("PUT", f"{v1}/users/{user}", {"email": "delivered@resend.dev"})
        ids = {"session_id": str(session), "user_id": str(user)}
        self.ask("POST", f"{v1}/enrollments", ids)

    def accepted(self) -> list[Any]:
        """The e-mails that the stand-in has accepted since its start."""
        found: list[Any] = self.ask("GET", "http://dev-provider:8025/_/accepted")["data"]
        return found

    def sign_in(self) -> None:
        """As an operator, with what the file of secrets says, and not with anything else."""
        name, password = SECRETS["ADMIN_USERNAME"], SECRETS["ADMIN_PASSWORD"]
        page = f"{self.url}/admin"
        words = ["python3", "-c", SIGN_IN, page, name]
        said = self.inside(self.api, *words, "wrong", password).splitlines()
        require(said == ["401", f"200 {page}"], "an operator signs in to the admin pages")

    def list_workflows(self) -> None:
        """As docs/operations.md says for a person with nothing but Temporal's command."""
        words = ["run", "--rm", "--entrypoint", "temporal", "temporal-namespace"]
        listed = self.compose(*words, "workflow", "list", "--output", "json")
        types = {workflow["type"]["name"] for workflow in json.loads(listed)}
        require("SessionReminderWorkflow" in types, "Temporal's command lists workflows")

    def up(self) -> None:
        """Start everything, and wait until it is as its health checks want it."""
        self._containers.clear()
        self.compose("up", "--detach")
        until("every health check is green", self._is_green)
        for name in self.services:
            if not self.state(name)["Running"]:
                require(self.state(name)["ExitCode"] == 0, f"{name} has done its work")
        until("doctor finds nothing", lambda: self.inside(self.api, "reminders", "doctor"))

    def stop(self) -> None:
        """Stop everything, in order."""
        self.compose("stop")
        for name in (self.worker, self.api, "postgres"):
            require(self.state(name)["ExitCode"] == 0, f"{name} stopped in order")

    def _container(self, name: str) -> str:
        if not self._containers.get(name):
            # Asked once: Compose takes a second to answer.
            self._containers[name] = self.compose("ps", "--all", "--quiet", name)
        return self._containers[name] or f"no container of {name}"

    def _is_green(self) -> bool:
        states = {name: self.state(name) for name in self.services}
        return all(
            s.get("Health", {}).get("Status", "healthy") == "healthy" for s in states.values()
        )


class Watch:
    """The Prometheus of a stack."""

    def __init__(self, stack: Stack) -> None:
        """Ask it through the API's container: it is published nowhere."""
        self._stack = stack

    def sees_all(self) -> None:
        """Every process is scraped, every rule is evaluated, and the dashboard is understood."""
        until("Prometheus scrapes worker and API", lambda: self.targets() == SCRAPED)
        written = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
        names = {rule["alert"] for rule in written}
        until(f"its {len(names)} rules are evaluated", lambda: self.rules().keys() == names)
        require("firing" not in self.rules().values(), "no alert fires")
        asked = [
            target["expr"]
            for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
            for target in panel.get("targets", [])
        ]
        answers = [self._ask(f"query?{urlencode({'query': text})}") for text in asked]
        told = sum(bool(answer["result"]) for answer in answers)
        require(told, f"it answers the dashboard's {len(asked)} questions, {told} with numbers")

    def targets(self) -> dict[str, str]:
        """How each target is, by its job."""
        found = self._ask("targets?state=active")["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in found}

    def rules(self) -> dict[str, str]:
        """The state of every rule that was evaluated without an error."""
        groups = self._ask("rules?type=alert")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return {rule["name"]: rule["state"] for rule in rules if rule["health"] == "ok"}

    def fires(self) -> None:
        """A reminder falls due while the worker is away: one is told, and no longer when it is back."""
        before = len(self._stack.accepted())
        self._stack.compose("stop", self._stack.worker)
        self._stack.enroll(due_in=DUE_SECONDS)
        fired = f"{ALARM} fires while the worker is away"
        until(fired, lambda: self.rules()[ALARM] == "firing", within=ALARM_SECONDS)
        self._stack.compose("start", self._stack.worker)
        until("it is sent once the worker is back", lambda: len(self._stack.accepted()) > before)
        until(f"{ALARM} is over", lambda: self.rules()[ALARM] == "inactive")

    def _ask(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = self._stack.ask("GET", f"http://prometheus:9090/api/v1/{what}")
        return dict(found["data"])


def until(what: str, check: Callable[[], object], *, within: int = SECONDS) -> None:
    """Wait until a check holds, for so many seconds.

    Raises:
        SystemExit: If it does not in time.
    """
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.CalledProcessError):
            if check():
                print(f"ok: {what}", flush=True)
                return
        time.sleep(1)
    sys.exit(f"not within {within} s: {what}")


def require(holds: object, what: str) -> None:
    """Go on only if something holds.

    Raises:
        SystemExit: If it does not.
    """
    if not holds:
        sys.exit(f"not so: {what}")
    print(f"ok: {what}", flush=True)


def play(services: tuple[str, ...]) -> None:
    """Start a stack, remind one person, look at it; stop, start it anew, and remind another."""
    with contextlib.ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        ends.enter_context(network(services))
        stack = Stack(services, folder)
        ends.callback(stack.compose, "down", "--volumes")
        try:
            stack.up()
            stack.enroll(due_in=DUE_SECONDS)
            until("the e-mail was accepted", stack.accepted)
            stack.sign_in()
            if "temporal-namespace" in services:
                stack.list_workflows()
            if "prometheus" in services:
                watch = Watch(stack)
                watch.sees_all()
                watch.fires()
            before = len(stack.accepted())
            stack.enroll(due_in=ASLEEP_SECONDS)
            require(len(stack.accepted()) == before, "each once; one more person sleeps")
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
