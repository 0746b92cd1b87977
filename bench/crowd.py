"""People and sessions to measure with, put in as a platform would."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from bench import measure
from devstack.stack import LocalStack
from reminders.domain.model import Attendee, Session
from reminders.fan_out import fan_out
from reminders.settings import Settings
from starter.assembly import Parts, assembled

_T = TypeVar("_T")

LEAD = timedelta(minutes=30)
"""Of the last reminder of each enrollment; where it is the only one, the others are too late."""

AT_ONCE = 32
"""Calls made at once; more only queue up in the server."""

LATENCY_MS = 20
API_KEY = "platform-0123456789abcdef"

UNLIMITED = "1000"
"""Requests a second of the worker where the stand-in has no limit; where it has one, it says so."""


def local_stack(
    *,
    rate: int = 10,
    workers: int = 1,
    with_api: bool = False,
    settings: Mapping[str, str] | None = None,
) -> LocalStack:
    """The whole system, not started yet; e-mails go to those they are for.

    Args:
        rate: Requests a second of the stand-in; 0 is unlimited.
        workers: How many worker processes.
        with_api: Whether the HTTP API is part of it.
        settings: Environment variables on top.
    """
    return LocalStack(
        workers=workers,
        with_api=with_api,
        with_ui=False,
        rate=rate,
        latency_ms=LATENCY_MS,
        settings={
            "DELIVERY_MODE": "live",
            "API_KEYS": API_KEY,
            **({} if rate else {"EMAIL_REQUESTS_PER_SECOND": UNLIMITED}),
            **(settings or {}),
        },
    )


@asynccontextmanager
async def platform(stack: LocalStack) -> AsyncIterator[Parts]:
    """What a platform asks of a stack that runs."""
    os.environ.update(stack.environment())  # where Temporal's client reads its own
    async with assembled(Settings(_env_file=None)) as parts:
        yield parts


async def people(parts: Parts, n: int) -> list[UUID]:
    """So many users."""
    users = [uuid4() for _ in range(n)]

    async def put(user_id: UUID) -> bool:
        return await parts.catalogue.put_user(
            Attendee(user_id=user_id, email=address(user_id), full_name="Ana Ruiz")
        )

    await at_once(put, users)
    return users


def address(user_id: UUID) -> str:
    """Of a user."""
    return f"{user_id.hex}@example.com"


async def new_session(parts: Parts, starts_at: datetime) -> UUID:
    """A session that nobody is enrolled in."""
    session = Session(id=uuid4(), title="Cardiology update", starts_at=starts_at)
    await parts.gateway.put_session(session)
    return session.id


async def at_once(call: Callable[[UUID], Awaitable[_T]], users: Iterable[UUID]) -> list[_T]:
    """The results of a call for each user, so many at once."""
    return await fan_out(call, users, at_once=AT_ONCE)


async def timed(
    call: Callable[[UUID], Awaitable[object]], users: Iterable[UUID]
) -> tuple[float, list[float]]:
    """How long all calls took together, and each of them, in seconds."""

    async def one(user_id: UUID) -> float:
        began = time.perf_counter()
        await call(user_id)
        return time.perf_counter() - began

    began = time.perf_counter()
    each = await at_once(one, users)
    return time.perf_counter() - began, each


def cpu(stack: LocalStack) -> dict[str, float]:
    """CPU seconds so far of every part but the stand-in, which is not ours."""
    parts = {name: part for name, part in stack.parts.items() if part is not stack.provider}
    return measure.cpu_used({name.lower(): part.pid for name, part in parts.items()})


def on_fresh_stacks(
    name: str,
    runs: int,
    one_run: Callable[[LocalStack], Coroutine[Any, Any, _T]],
    *,
    with_api: bool = False,
    settings: Mapping[str, str] | None = None,
) -> list[_T]:
    """What each run finds, every one on a stack of its own.

    Args:
        name: Of the benchmark.
        runs: How many.
        one_run: What is done with a stack.
        with_api: See `local_stack`.
        settings: See `local_stack`.

    Raises:
        EmbeddedServerError: If a part does not start.
    """
    found = []
    for number in range(1, runs + 1):
        print(f"{name}: run {number} of {runs}", file=sys.stderr)
        with local_stack(with_api=with_api, settings=settings) as stack:
            found.append(asyncio.run(one_run(stack)))
    return found


def parser(name: str, what: str | None, *, n: int, of: str) -> argparse.ArgumentParser:
    """A benchmark's options; every one has these two.

    Args:
        name: Of the benchmark.
        what: Its description.
        n: How many by default.
        of: How many of what.
    """
    made = argparse.ArgumentParser(prog=f"bench {name}", description=what)
    made.add_argument("--n", type=positive, default=n, help=f"{of} (default {n})")
    made.add_argument("--runs", type=positive, default=1, help="medians over so many (default 1)")
    return made


def positive(text: str) -> int:
    """A number from 1, as an option."""
    number = int(text)
    if number < 1:
        message = f"must be at least 1: {text}"
        raise argparse.ArgumentTypeError(message)
    return number
