"""API keys."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel

from reminders import api_keys
from reminders.domain.errors import ConfigurationError
from starter.cli.options import AsJson, show
from starter.cli.running import fail

app = typer.Typer()


class _Made(BaseModel):
    """A key, shown this once, and what the API is to know of it."""

    key: str
    entry: str


@app.command("api-key")
def api_key(
    name: Annotated[str, typer.Argument(help="Who will use it; the audit log says so.")],
    *,
    read_only: Annotated[bool, typer.Option("--read-only", help="It may change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an API key: the key for the caller, and its hash for API_KEYS. Nothing is stored."""
    try:
        key, entry = api_keys.make(name, read_only=read_only)
    except ValueError as error:
        fail(ConfigurationError(f"NAME: {error}"))
    show(_Made(key=key, entry=entry), _told, as_json=as_json)


def _told(made: _Made) -> None:
    typer.echo(f"for the caller, shown this once:  {made.key}")
    typer.echo(f"to be added to API_KEYS:          {made.entry}")
