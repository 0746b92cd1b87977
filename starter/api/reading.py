"""A request whose body is JSON, read once and strictly."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from reminders.domain.errors import InvalidInputError
from starter.api.text import read_json


class StrictRequest(Request):
    """Reads JSON by `read_json`, in place of the framework, which passes over what is odd."""

    async def read(self, *, takes_body: bool) -> None:
        """Read the body, before the framework looks for it.

        Args:
            takes_body: Whether its route wants one.

        Raises:
            InvalidInputError: If it is not acceptable, or is there and nobody would read it.
            HTTPException: If it is too large, is no text or ends early.
        """
        try:
            body = await self.body()
        except ClientDisconnect as error:
            raise HTTPException(400, "The body ended early.") from error
        if body and not takes_body:
            raise InvalidInputError("is not read here; leave it out", field="body")
        if body and is_json(self):
            await self.json()

    async def json(self) -> Any:  # noqa: ANN401 - whatever JSON may say
        """What the body says; see `read_json` for what it raises."""
        if not hasattr(self, "_json"):
            self._json = read_json(await self.body())
        return self._json


def is_json(request: Request) -> bool:
    """Whether a body says of itself that it is JSON, as the framework wants it before reading."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
