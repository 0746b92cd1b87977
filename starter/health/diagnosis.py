"""What an examination finds: checks, how bad they are, and the one thing to fix first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from reminders.domain.errors import DatabaseUnavailableError, TemporalUnavailableError
from starter.services.failures import understood


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    """Nothing to do."""
    WARNING = "warning"
    """Reminders go out, and somebody should look. Litmus: nobody is to be woken."""
    RED = "red"
    """Reminders do not go out, or will soon not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    detail: str
    """What was found; no secrets, no addresses."""
    level: Level = Level.OK
    remedy: str | None = None
    """What to do about it; absent when all is well."""

    @property
    def ok(self) -> bool:
        """Whether reminders go out as far as this is concerned."""
        return self.level is not Level.RED


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """All checks, the most fundamental first."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether reminders go out; warnings do not count."""
        return all(check.ok for check in self.checks)

    @property
    def cause(self) -> str | None:
        """The one thing to fix first; `None` when ready."""
        red = [check for check in self.checks if not check.ok]
        if not red:
            return None
        overdue = next((check for check in red if check.name == "overdue"), None)
        if overdue is None or red[0] is overdue or red[0].name in ("database", "schema"):
            return red[0].detail
        return f"{overdue.detail}, because {red[0].detail}"


class FoundError(Exception):
    """A check found something."""

    def __init__(self, detail: str, remedy: str, level: Level = Level.RED) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.level = level


def silence(part: str, patience: timedelta) -> tuple[str, str]:
    """What is found of a part that does not answer, and what to do."""
    return f"{part} does not answer within {patience.seconds} s", "see that it is up and reachable"


async def bounded(
    name: str, look: Callable[[], Awaitable[str]], patience: timedelta, *, asks: str
) -> Check:
    """The outcome of one check, in time and whatever happens.

    Args:
        name: Of the check.
        look: What looks; raises `FoundError` if it finds something.
        patience: How long it may take.
        asks: The part that is asked, for when it does not answer.
    """
    try:
        async with asyncio.timeout(patience.total_seconds()):
            detail = await look()
    except FoundError as found:
        return Check(name=name, level=found.level, detail=found.detail, remedy=found.remedy)
    except TimeoutError:
        detail, remedy = silence(asks, patience)
    except DatabaseUnavailableError as error:
        detail = str(error).partition("; ")[0]
        remedy = "see that it is up, and takes connections and writes; then DATABASE_URL"
    except TemporalUnavailableError:
        detail, remedy = "Temporal does not answer", "see that it is up, and TEMPORAL_ADDRESS"
    except Exception as error:  # noqa: BLE001 - a check must say something, whatever happens
        known = understood(error)
        words = str(known) if known else f"the check failed with {type(error).__name__}"
        detail, _, remedy = words.partition("; ")
    else:
        return Check(name=name, detail=detail)
    return Check(name=name, level=Level.RED, detail=detail, remedy=remedy or "see the log")
