"""The platform in Next.js, as its README has it built and started, in a browser and on the real stack."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.async_api import Page, expect

from devstack import ports
from devstack.stack import LocalStack
from tests.browser import browser, hindrances, page  # noqa: F401 - fixtures

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "nextjs"
OLDEST_NODE = (20, 9)
START_SECONDS = 300
"""Of `npm ci` and a build, on a machine that does other things."""


def missing() -> str | None:
    """What this machine lacks; `None` if it can build the example."""
    if not all(map(shutil.which, ("node", "npm"))):
        return "no Node.js on this machine: install node and npm"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    found = tuple(map(int, re.findall(r"\d+", version.stdout)[:2]))
    return None if found >= OLDEST_NODE else f"Node.js {version.stdout.strip()} is too old"


@contextmanager
def built_and_started(stack: LocalStack, folder: Path) -> Iterator[str]:
    """The example, by the README's commands, in a checkout that has nothing else; its address."""
    ours = shutil.ignore_patterns("node_modules", ".next", "api.d.ts")
    shutil.copytree(EXAMPLE, folder / "examples" / "nextjs", ignore=ours)
    (folder / ".data").mkdir()
    (folder / ".data" / "env").write_text(stack.exports(), encoding="utf-8")
    (commands,) = re.findall(r"```bash\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    (port,) = ports.free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["bash", "-euc", commands],
            cwd=folder,
            env={**os.environ, "PORT": str(port)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = monotonic() + START_SECONDS
        while not answers(url):
            said = (folder / "log").read_text()
            assert shell.poll() is None, said
            assert monotonic() < until, said
            sleep(0.5)
        yield url
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def asked(method: str, url: str, **options: Any) -> httpx.Response:
    """An answer, whatever proxy the environment names."""
    return httpx.request(method, url, timeout=30, trust_env=False, **options)


def answers(url: str) -> bool:
    """Whether somebody serves there."""
    try:
        return asked("GET", url).is_success
    except httpx.TransportError:
        return False


def accepted(stack: LocalStack, **query: str) -> list[dict[str, Any]]:
    """All e-mails so far."""
    url = f"{stack.provider.url}/_/accepted"
    return list(asked("GET", url, params=query).json()["data"])


def arrived(stack: LocalStack, words: str, *, within: float) -> str:
    """The subject of the first e-mail with these words in it."""
    until = monotonic() + within
    while True:
        subjects = [email["subject"] for email in accepted(stack)]
        if found := [subject for subject in subjects if words in subject]:
            return str(found[0])
        assert monotonic() < until, subjects
        sleep(0.5)


async def links_work(page: Page, stack: LocalStack) -> None:  # noqa: F811
    """Stop and calendar links of the first e-mail, which a local stack sets as any other."""
    (email, *_) = accepted(stack, bodies="1")
    stop = email["headers"]["List-Unsubscribe"].strip("<>")
    await page.goto(stop)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    (calendar,) = re.findall(r"http://\S+\.ics", email["text"])
    assert "Cardiology update" in asked("GET", calendar).text
    assert asked("POST", stop, data={"List-Unsubscribe": "One-Click"}).is_success
    await page.reload()
    await page.locator("button[value=resume]").click()
    await expect(page.locator("button[value=session]")).to_be_visible()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(missing() is not None, reason=missing() or "")
async def test_from_an_empty_database_to_an_email(page: Page, tmp_path: Path) -> None:  # noqa: F811
    """Enrolled, reminded, cancelled, left; and what is changed while the API is away is told later."""
    with LocalStack(with_ui=False) as stack, built_and_started(stack, tmp_path) as url:
        # The next whole minute whose reminder, half an hour before it, is still to come.
        start = datetime.now(UTC) + timedelta(minutes=31, seconds=5)
        local = f"{start.astimezone(ZoneInfo('Europe/Lisbon')):%Y-%m-%dT%H:%M}"
        await page.goto(f"{url}/admin")
        cardiology = page.locator("article", has_text="Cardiology update")
        await cardiology.get_by_label("Start").fill(local)
        await cardiology.get_by_role("button", name="Move").click()
        await expect(cardiology).to_contain_text(local[-5:])
        assert not await hindrances(page, even_minor=True)

        await page.goto(url)
        await cardiology.get_by_role("button", name="Enroll").click()
        await expect(cardiology).to_contain_text("scheduled")
        assert not await hindrances(page, even_minor=True)
        reminder = arrived(stack, "Cardiology update", within=90)
        assert reminder.startswith("[Originally for: ana@hospital.example] ")
        await links_work(page, stack)

        await page.goto(f"{url}/admin")
        await cardiology.get_by_role("button", name="Cancel").click()
        await expect(cardiology).to_contain_text("Cancelled")
        arrived(stack, "Cancelada: Cardiology update", within=30)  # Ana reads Spanish

        await page.goto(url)
        ecg = page.locator("article", has_text="Reading an ECG")
        assert stack.api is not None
        stack.api.kill()
        await ecg.get_by_role("button", name="Enroll").click()
        await expect(ecg).to_contain_text("not confirmed yet")
        stack.api.start()
        told = asked("POST", f"{url}/api/tell")
        assert (told.status_code, told.json()) == (200, {"left": 0})
        await page.reload()
        await expect(ecg).to_contain_text("scheduled")
        await ecg.get_by_role("button", name="Leave").click()
        await expect(ecg.get_by_role("button", name="Enroll")).to_be_visible()
        assert asked("POST", f"{url}/api/tell").json() == {"left": 0}
