"""The commands of docs/http.md, pasted into a shell from top to bottom, and what they answer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from itertools import zip_longest
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from temporalio.client import Client

from reminders.settings import Settings
from tests.databases import as_new
from tests.starter.conftest import KEY, a_worker, listening

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "http.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(bash|json)\n(.*?)```", PAGE, re.DOTALL)
ANYTHING = "…"
END = "--- end of a block ---"


def holds(shown: Any, answered: Any) -> bool:
    """Whether an answer has what the page shows of it."""
    if shown == ANYTHING:
        return answered is not None
    if isinstance(shown, dict):
        return all(name in answered and holds(v, answered[name]) for name, v in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(answered) and all(map(holds, shown, answered))
    return bool(shown == answered)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_the_page_can_be_pasted(
    settings: Settings, client: Client, database_url: str
) -> None:
    """Each block is answered as the page shows, by an installation that is new."""
    new = SecretStr(await as_new(database_url))
    settings = settings.model_copy(update={"database_url": new})
    script = "".join(f"{block}\necho '{END}'\n" for kind, block in BLOCKS if kind == "bash")
    async with a_worker(client, settings), listening(settings) as url:
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-euc",
            script,
            env={**os.environ, "API": url, "KEY": KEY, "NUMBER": uuid4().hex},
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await asyncio.wait_for(shell.communicate(), 120)
    assert shell.returncode == 0
    answers = iter(told.decode().split(f"{END}\n"))
    for (kind, block), (_, shown) in zip_longest(BLOCKS, BLOCKS[1:], fillvalue=("bash", "")):
        if kind == "bash":
            answer = next(answers)
            if shown.startswith("{"):
                assert holds(json.loads(shown), json.loads(answer)), f"{block}\nanswers {answer}"
