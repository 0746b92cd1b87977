"""No request may fill the memory."""

from __future__ import annotations

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starter.problems import refused

LARGEST_BODY = 64 * 1024
"""Bytes; the longest session with notes fits several times."""


class BodyLimit:
    """Refuses bodies that are too large, announced or not, before they are in memory."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        """Guard an application.

        Args:
            app: The application.
            largest: Bytes.
        """
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count while its body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._largest:
            response = await refused(Request(scope), self._too_large())
            await response(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._largest:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(413, detail=f"The body is larger than {self._largest} bytes.")
