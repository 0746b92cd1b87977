"""Builds the image and lets it do the main job: `python deploy/try_image.py --base IMAGE`.

For machines that have a container engine and cannot pull: PostgreSQL, Temporal and the Resend
stand-in are those that the tests use, on this machine; worker and API are containers,
as `docker-compose.yml` runs them: no root, no capability, nothing writable; with payloads encrypted.
`try_compose.py` beside it starts the compose file itself. One person is enrolled,
and the script ends with 0 if the e-mail arrived once, the health check is green and the worker
stopped in order.

A base can be made of Debian's packages, by root:

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm root
    tar --create --directory root . | docker import - local/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from reminders.embedded.ports import free_ports
from reminders.embedded.stack import DATABASE, LocalStack

ROOT = Path(__file__).resolve().parents[1]
KEY = "key-of-the-trial"
SECONDS = 120
"""How long anything may take; engines without a union file system copy the image at each start."""


def docker(*words: str) -> str:
    """What `docker WORDS` prints.

    Raises:
        CalledProcessError: If it fails.
    """
    done = subprocess.run(["docker", *words], check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()


def ask(method: str, url: str, body: object = None) -> dict[str, Any]:
    """The JSON that a route answers with."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def until(what: str, check: Callable[[], object]) -> None:
    """Wait until a check holds.

    Raises:
        SystemExit: If it does not in time.
    """
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            if check():
                print(f"ok: {what}", flush=True)
                return
        except OSError:
            pass
        time.sleep(0.5)
    sys.exit(f"not within {SECONDS} s: {what}")


def build(base: str, image: str) -> None:
    """Build the image on another base; by the old builder, which needs no plugin."""
    docker(
        "build",
        "--network=host",
        f"--build-arg=PYTHON_IMAGE={base}",
        f"--tag={image}",
        ROOT.as_posix(),
    )


def play(image: str) -> None:
    """Run the containers, and one person's reminder through them."""
    api_port, metrics_port = free_ports(2)
    with LocalStack(workers=0, with_api=False, with_ui=False) as stack:
        environment = {
            **stack.environment(),
            "API_ADDRESS": f"127.0.0.1:{api_port}",
            "API_KEYS": KEY,
            "METRICS_ADDRESS": f"127.0.0.1:{metrics_port}",
            "HEALTH_URL": f"http://127.0.0.1:{metrics_port}/healthz",
            "LOG_FORMAT": "json",
        }
        url = urlsplit(stack.postgres.url(DATABASE))
        (sockets,) = parse_qs(url.query)["host"]
        environment["DATABASE_URL"] = url.geturl().replace(sockets, "/sockets")
        # The image's user is neither root nor us.
        Path(sockets).chmod(0o755)
        for file in Path(sockets).glob(".s.PGSQL.*"):
            file.chmod(0o777)
        options = ["--network=host", "--read-only", "--cap-drop=ALL"]
        options += ["--security-opt=no-new-privileges", f"--volume={sockets}:/sockets"]
        options += [f"--env={name}={value}" for name, value in environment.items()]
        started: list[str] = []
        try:
            with ThreadPoolExecutor() as pool:
                worker_starts = pool.submit(docker, "run", "--detach", *options, image)
                api_starts = pool.submit(
                    docker, "run", "--detach", *options, image, "reminders", "api"
                )
            worker = worker_starts.result()
            started += [worker, api_starts.result()]
            api = f"http://127.0.0.1:{api_port}"
            until(
                "the API is ready, so a worker polls", lambda: ask("GET", f"{api}/readyz")["ready"]
            )
            session, user = uuid4(), uuid4()
            start = datetime.now(UTC) + timedelta(minutes=30, seconds=5)
            ask(
                "PUT",
                f"{api}/v1/sessions/{session}",
                {"title": "Trial", "start_time": start.isoformat()},
            )
            ask("PUT", f"{api}/v1/users/{user}", {"email": "delivered@resend.dev"})
            ask("POST", f"{api}/v1/enrollments", {"session_id": str(session), "user_id": str(user)})

            def accepted() -> list[Any]:
                found: list[Any] = ask("GET", f"{stack.provider.url}/_/accepted")["data"]
                return found

            until("the e-mail was accepted", accepted)
            until(
                "the health check of the image is green",
                lambda: docker("inspect", "--format={{.State.Health.Status}}", worker) == "healthy",
            )
            docker("stop", "--time=45", worker)
            code = docker("inspect", "--format={{.State.ExitCode}}", worker)
            if code != "0" or len(accepted()) != 1:
                sys.exit(f"the worker ended with {code}; accepted: {len(accepted())}")
            print("ok: the worker stopped in order, and the e-mail was accepted once", flush=True)
        finally:
            for container in started:
                subprocess.run(["docker", "logs", "--tail=5", container], check=False)
                docker("rm", "--force", container)


def main() -> None:
    """Build, unless told not to, and play."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", help="build on this image first; without it, the image is there")
    parser.add_argument("--image", default="session-reminders")
    options = parser.parse_args()
    if options.base:
        build(options.base, options.image)
    play(options.image)


if __name__ == "__main__":
    main()
