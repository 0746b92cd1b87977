"""Looks through everything that the suite has written for what may not be in it.

The tests' attendees have names and addresses that are unmistakable, and their keys and secrets as
well. Whatever a process, a server or an answer wrote while the suite ran is searched for them:
logs as production formats them, the log files of child processes and servers, histories, error
answers and metrics. One process of the suite looks through what it has caused itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.client import Client, WorkflowHistory

from reminders.observability import logs

PRIVATE = re.compile(
    r"[\w.+-]+@hospital\.example"  # every attendee of the suite
    r"|join\.hospital\.example[^\s\"]*"  # a link of one's own
    r"|Ana Ruiz|Ruiz"
    r"|\brk_[\w-]{40,}"  # an API key
    r"|\bBearer [\w-]+"
    r"|\bwhsec_[\w+/=]{16,}"  # a webhook's secret
    r"|\bre_[A-Za-z0-9]{6,}_?\w*"  # the provider's key
    r"|postgresql(?:\+asyncpg)?://[^\s:/@]+:[^\s@]+@"  # a password
)
MOST_HISTORIES = 300
"""Of the newest, of each process of the suite: two seconds."""
LONGEST = 200
"""Characters of what is shown of a leak."""

OURS = ("activities", "reminders", "starter", "worker", "workflows")


def found_in(text: str) -> list[str]:
    """What is private in a text, with a little around it."""
    return [text[max(m.start() - LONGEST, 0) : m.end()] for m in PRIVATE.finditer(text)]


class Watch(logging.Handler):
    """Collects leaks; as a handler, of what is logged in this process, as production formats it."""

    def __init__(self) -> None:
        """Nothing was found yet."""
        super().__init__()
        self.leaks: list[str] = []
        self.looked_at = 0
        root = logging.getLogger()
        before, level = list(root.handlers), root.level
        logs.configure("json", "debug")
        self.setFormatter(root.handlers[0].formatter)
        root.handlers = before
        root.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a line."""
        self.text(self.format(record), source=f"log of {record.name}")

    def text(self, text: str, *, source: str) -> None:
        """Look at a text."""
        self.looked_at += 1
        self.leaks += [f"{source}: ...{leak}" for leak in found_in(text)]

    def file(self, path: Path) -> None:
        """Look at a log file, if there is one."""
        if path.is_file():
            self.text(path.read_text(encoding="utf-8", errors="replace"), source=path.name)

    async def histories(self, client: Client) -> None:
        """Look at the newest histories of a namespace."""
        found = client.list_workflows(limit=MOST_HISTORIES)
        async for workflow in found:
            history = await client.get_workflow_handle(
                workflow.id, run_id=workflow.run_id
            ).fetch_history()
            self.text(readable(history), source=f"history of {workflow.id}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear everything that is logged in this process."""
        root = logging.getLogger()
        levels = {name: logging.getLogger(name).level for name in OURS}
        for name in OURS:
            logging.getLogger(name).setLevel(logging.INFO)
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def readable(history: WorkflowHistory) -> str:
    """A history as text, payloads included, whose quotes and line ends are escaped."""
    # As JSON, payloads would be in base64, and it takes ten times as long.
    return "\n".join(map(str, history.events))


watch = Watch()
"""Of this process of the suite."""
