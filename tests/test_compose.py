"""The compose file is what the specification allows, and publishes nothing beyond this machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"


def test_the_compose_file_is_valid() -> None:
    """The schema of the compose specification accepts it."""
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout


def test_every_port_is_published_on_this_machine_only() -> None:
    """Nobody else reaches Temporal, its UI or the API unless the operator decides so."""
    published = re.findall(r"^\s+- (\S+:\d+:\d+)$", COMPOSE.read_text(), re.MULTILINE)
    assert 3 == len(published)
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_image_is_pinned() -> None:
    """A deployment repeated next year starts the same versions."""
    images = re.findall(r"^\s+image: (\S+)$", COMPOSE.read_text(), re.MULTILINE)
    assert all(re.search(r":\d+\.\d+", image) for image in images if image != "session-reminders")
