"""Whether an existing platform can be read, and what is odd in its rows."""

from __future__ import annotations

import asyncio
import logging
import time
from contextvars import Context
from dataclasses import dataclass, field
from datetime import timedelta

from reminders.db import existing_platform
from reminders.db.absence import Absence
from reminders.db.engine import Database
from reminders.db.oddities import Oddity, oddities
from reminders.db.reading import Unreadable
from reminders.domain.errors import ReminderError
from starter.health.diagnosis import FoundError, Level

logger = logging.getLogger(__name__)

READ_EVERY = timedelta(minutes=1)
"""How often some rows of each relation are read."""
LOOKED_THROUGH_EVERY = timedelta(minutes=10)
"""How often all that is awaited is looked through: the tables may be large, and lack an index."""
_PATIENCE = timedelta(seconds=2.4)
"""How long it is waited for all of it: less than a check may take (`reminders.budget`)."""
_TOLD = 3
"""Kinds of odd rows that are told at once."""


async def odd_rows(database: Database) -> tuple[Oddity, ...]:
    """What is odd in the platform's rows, the most frequent kind first."""
    # What knows languages is slow to import, and few commands need it.
    from reminders.mail.locales import is_locale_name, zone_called  # noqa: PLC0415

    examined = await existing_platform.examine(database)
    if examined.problems:
        return ()
    found = await oddities(
        database,
        examined.columns,
        is_zone=lambda name: zone_called(name) is not None,
        is_locale=is_locale_name,
    )
    return tuple(sorted(found, key=lambda one: -one.count))


@dataclass(slots=True)
class PlatformChecks:
    """What `doctor` asks of an existing platform."""

    database: Database
    _absence: Absence = field(init=False)
    _unreadable: tuple[Unreadable, ...] = ()
    _read_at: float = float("-inf")
    odd: tuple[Oddity, ...] | None = None
    """As last looked through; `None` before the first time is over."""
    _why_not_looked: str | None = None
    _looked_at: float = float("-inf")
    _looking: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._absence = Absence(self.database)

    async def look(self) -> str:
        """Whether the platform can be read, what waits is to be seen, and every row can be used."""
        until = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
        try:
            async with asyncio.timeout_at(until):
                await self._read()
        except TimeoutError:  # PostgreSQL answers, or the other checks say so
            raise FoundError(
                f"the platform's relations take more than {_PATIENCE.total_seconds():g} s to read",
                "see `reminders db check`, which names look-ups that are slow",
                Level.WARNING,
            ) from None
        return await self._rows(until)

    async def _read(self) -> None:
        if time.monotonic() - self._read_at > READ_EVERY.total_seconds():
            self._unreadable = await existing_platform.unreadable(self.database)
            self._read_at = time.monotonic()
        if self._unreadable:
            # What is wrong with every row comes first.
            found, *more = self._unreadable
            others = f" (and {len(more)} more)" if more else ""
            level = Level.RED if found.is_about_all else Level.WARNING
            raise FoundError(f"{found.what}{others}", found.remedy, level)
        if (words := await self._absence.incredible()) is not None:
            raise FoundError(
                words, "see privileges and row-level security: `reminders db check` names them"
            )

    async def _rows(self, until: float) -> str:
        """What is odd in what is awaited; looked through seldom, and in the background."""
        if self._looking is None and (
            time.monotonic() - self._looked_at > LOOKED_THROUGH_EVERY.total_seconds()
        ):
            # Of no request, whose patience is shorter.
            self._looking = asyncio.create_task(self._look_through(), context=Context())
        if self._looking is not None:
            left = max(0, until - asyncio.get_running_loop().time())
            await asyncio.wait([self._looking], timeout=left)
        if self._why_not_looked is not None:
            raise FoundError(
                f"the platform's rows cannot be looked through: {self._why_not_looked}",
                "see `reminders db check`, which names look-ups that are slow",
                Level.WARNING,
            )
        if self.odd is None:
            return "not known yet: the platform's rows take long to look through"
        if self.odd:
            some = "; ".join(one.what for one in self.odd[:_TOLD])
            others = f" (and {len(self.odd) - _TOLD} more kinds)" if len(self.odd) > _TOLD else ""
            raise FoundError(
                f"{some}{others}",
                f"{self.odd[0].remedy}; `reminders db check` lists all",
                Level.WARNING,
            )
        return "every row that is awaited can be used"

    async def _look_through(self) -> None:
        try:
            self.odd, self._why_not_looked = await odd_rows(self.database), None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again in a while
            self._why_not_looked = str(error) if isinstance(error, ReminderError) else "a mistake"
            logger.warning("rows could not be looked through: %s", type(error).__name__)
        finally:
            self._looked_at, self._looking = time.monotonic(), None
