"""The Resend stand-in inside the test's own process, on a clock that only the test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from devstack.provider.app import Provider
from devstack.provider.exchange import ProviderOptions
from tests.provider import ProviderClient

Json = dict[str, Any]

MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC)
"""When every stand-in's clock starts: a day, a month and a second begin."""

SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBvbmx5ISEh"


def mail(to: str | list[str] = "ana@clinic.dev", **fields: Any) -> Json:
    """A valid e-mail."""
    return {"from": "R <r@us.dev>", "to": to, "subject": "Soon", "html": "<p>Soon</p>", **fields}


@dataclass
class StandIn:
    """A stand-in, and what a client does with it."""

    provider: Provider
    http: httpx2.AsyncClient
    control: ProviderClient
    time: datetime = MIDNIGHT
    slept: list[float] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, every request that has to wait waits until it is set."""
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a request waits."""
    posted: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers and body of each webhook."""
    told: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by each webhook."""
    webhook_status: int = 200

    def pass_time(self, **duration: float) -> None:
        """Move the clock, as `timedelta` counts."""
        self.time += timedelta(**duration)

    async def send(self, body: object, key: str | None = None, **headers: str) -> httpx2.Response:
        """Post an e-mail, or a list of them as a batch; other headers with `_` for `-`."""
        path = "/emails/batch" if isinstance(body, list) else "/emails"
        return await self.post(path, json.dumps(body).encode(), key, **headers)

    async def post(
        self, path: str, body: bytes, key: str | None = None, **headers: str
    ) -> httpx2.Response:
        """Post these very bytes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["idempotency-key"] = key
        return await self.http.post(path, content=body, headers=sent)

    async def deliver(self) -> list[Json]:
        """Deliver every webhook that is due; the bodies posted by that, in order."""
        before = len(self.posted)
        while await self.provider.webhooks.deliver_due():
            pass
        return [json.loads(body) for _, body in self.posted[before:]]


@asynccontextmanager
async def standing_in(file: Path | None = None, **options: Any) -> AsyncIterator[StandIn]:
    """A stand-in with these options, without latency or rate limit unless asked for."""
    options = {"rate": 0, "latency": timedelta(), **options}

    async def sleep(seconds: float) -> None:
        stand_in.slept.append(seconds)
        stand_in.waiting.set()
        await stand_in.gate.wait()

    async def post(url: str, headers: Any, body: bytes) -> int:
        assert url == options["webhook_url"]
        stand_in.posted.append((dict(headers), body))
        stand_in.told.set()
        return stand_in.webhook_status

    provider = Provider(
        ProviderOptions(**options), file=file, now=lambda: stand_in.time, sleep=sleep, post=post
    )
    transport = httpx2.ASGITransport(app=provider)
    async with (
        ProviderClient(transport=transport) as control,
        httpx2.AsyncClient(
            transport=transport,
            base_url="http://provider.test",
            headers={"authorization": "Bearer re_test", "user-agent": "tests"},
        ) as http,
    ):
        stand_in = StandIn(provider, http, control)
        stand_in.gate.set()
        yield stand_in
        await provider.close()
