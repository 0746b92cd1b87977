"""How a command runs and ends: an event loop of its own, one line on failure, an exit code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn, TypeAlias, TypeVar

import typer

from reminders.domain.errors import ReminderError

if TYPE_CHECKING:
    from starter.assembly import Parts

_T = TypeVar("_T")
Question: TypeAlias = "Callable[[Parts], Awaitable[_T]]"


class ExitCode(IntEnum):
    """How a command ended; `ReminderError.exit_code` says which failure ends with which."""

    OK = 0
    """Done."""
    FAILED = 1
    """An expected failure; one line on standard error says the remedy."""
    USAGE = 2
    """The command was not understood, or nobody was there to confirm it."""
    NOT_FOUND = 3
    """There is no such session, user, enrollment, reminder or rule."""
    UNAVAILABLE = 4
    """PostgreSQL or Temporal is away; repeat the same command."""
    RED = 5
    """`doctor`, `db check` or `shadow-diff` found something."""


def ask(question: Question[_T]) -> _T:
    """Put a question to the parts, and end the process properly if that fails as expected."""
    import asyncio

    from reminders import settings as environment
    from reminders.budget import one_budget
    from reminders.temporal import SDK_EXIT_SECONDS
    from starter.assembly import assembled
    from starter.services.failures import understood

    async def asked() -> _T:
        try:
            async with assembled(environment.load()) as parts:
                # PostgreSQL may be long at work for a command; Temporal is asked for little.
                with one_budget("Temporal"):
                    return await question(parts)
        finally:
            await asyncio.sleep(SDK_EXIT_SECONDS)

    try:
        return asyncio.run(asked())
    except Exception as error:
        known = understood(error)
        if known is None:
            raise
        fail(known)


def fail(error: ReminderError) -> NoReturn:
    """One line on standard error, and the exit code that the error's kind stands for."""
    words = " ".join(str(error).split())
    if error.where_to_look is not None:
        words = f"{words.removesuffix('.')}; {error.where_to_look}."
    typer.echo(f"reminders: {words}", err=True)
    raise typer.Exit(error.exit_code)
