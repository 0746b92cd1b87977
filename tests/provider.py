"""The Resend stand-in as tests see it: what it accepted, and how to make it misbehave."""

from __future__ import annotations

from typing import Any, Self

import httpx2

Json = dict[str, Any]


class ProviderClient:
    """Asks a stand-in about itself; `async with` closes the connections."""

    def __init__(
        self,
        url: str = "http://provider.test",
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Take the stand-in's URL, or a transport right into its application."""
        # Without certificates, whose reading takes longer than most tests: it speaks plain HTTP.
        self.http = httpx2.AsyncClient(
            base_url=url, transport=transport, timeout=30, trust_env=False, verify=False
        )

    async def __aenter__(self) -> Self:
        """Connect when first asked."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def accepted(self, *, since_seq: int = 0, bodies: bool = False) -> list[Json]:
        """Every e-mail accepted since, in the order of acceptance; `tags` is an object.

        Args:
            since_seq: Leave out those up to this `seq`.
            bodies: Whether `html` and `text` come along.
        """
        found: list[Json] = []
        while True:
            page = await self._get(
                "/_/accepted", params={"since_seq": since_seq, "bodies": int(bodies)}
            )
            found += page["data"]
            since_seq = page["next_seq"]
            if not page["has_more"]:
                return found

    async def stats(self) -> Json:
        """Counts: `requests`, `accepted`, `replayed`, `by_status`, `refused_429`, `batch_sizes`, ..."""
        return await self._get("/_/stats")

    async def requests(self, limit: int = 1000) -> list[Json]:
        """The newest API requests, oldest of them first."""
        rows: list[Json] = (await self._get("/_/requests", params={"limit": limit}))["data"]
        return rows

    async def faults(self, *faults: Json, **fault: Any) -> list[int]:
        """Put faults in force, as objects or one as keywords: `faults(kind="status", status=500)`.

        Returns:
            Their ids.
        """
        wanted = [*faults, fault] if fault else list(faults)
        response = await self.http.post("/_/faults", json=wanted)
        assert response.status_code == 201, response.text
        ids: list[int] = response.json()["ids"]
        return ids

    async def faults_in_force(self) -> list[Json]:
        """Every fault, with its `hits` and whether it is still `active`."""
        rows: list[Json] = (await self._get("/_/faults"))["data"]
        return rows

    async def clear_faults(self) -> None:
        """Lift all faults."""
        (await self.http.delete("/_/faults")).raise_for_status()

    async def webhook(self, url: str | None, secret: str | None = None) -> None:
        """Post events to this URL from now on; `None` stops."""
        target = {"url": url, "secret": secret}
        (await self.http.put("/_/webhook", json=target)).raise_for_status()

    async def reset(self) -> None:
        """Forget e-mails, keys, counts and suppressions; faults and webhook as if never asked."""
        (await self.http.delete("/_/webhook")).raise_for_status()
        await self.clear_faults()
        (await self.http.delete("/_/emails")).raise_for_status()

    async def _get(self, path: str, **options: Any) -> Json:
        response = await self.http.get(path, **options)
        response.raise_for_status()
        content: Json = response.json()
        return content
