"""What the commands share: their arguments, and how an answer is shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import BaseModel

from starter import printing

_A = TypeVar("_A", bound=BaseModel)
CHANGE_WAIT = timedelta(seconds=5)
"""How long a command waits for a session's change; a workflow goes on without it."""

Session = Annotated[UUID, typer.Argument(metavar="SESSION", help="Id of the session.")]
User = Annotated[UUID, typer.Argument(metavar="USER", help="Id of the user.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def show(answer: _A, table: Callable[[_A], None], *, as_json: bool) -> None:
    """Print an answer, as JSON or as a table for people."""
    if as_json:
        printing.as_json(answer)
    else:
        table(answer)
