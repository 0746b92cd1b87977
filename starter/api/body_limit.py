"""No request may fill the memory."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starter.api.errors import refused

LARGEST_BODY = 64 * 1024
"""Bytes; the longest session with notes fits several times."""


class BodyLimit:
    """Refuses bodies that are too large, announced or not, before they are in memory."""

    def __init__(
        self,
        app: ASGIApp,
        largest: int = LARGEST_BODY,
        elsewhere: Mapping[str, int] | None = None,
    ) -> None:
        """Guard an application.

        Args:
            app: The application.
            largest: Bytes.
            elsewhere: Bytes, by the paths for which another limit holds.
        """
        self._app = app
        self._largest = largest
        self._elsewhere = dict(elsewhere or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count while its body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        largest = self._elsewhere.get(scope["path"], self._largest)
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > largest:
            response = await refused(Request(scope), _too_large(largest))
            await response(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > largest:
                raise _too_large(largest)
            return message

        await self._app(scope, counted, send)


def _too_large(largest: int) -> HTTPException:
    return HTTPException(413, detail=f"The body is larger than {largest} bytes.")
