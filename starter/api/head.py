"""`HEAD` answers wherever `GET` does: the same, without the body (RFC 9110 §9.3.2)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadLikeGet:
    """Has an application answer `HEAD` as it answers `GET`."""

    def __init__(self, app: ASGIApp) -> None:
        """Ask this application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as a `GET`, and only the head of the answer back."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy: the server, too, looks at the method to know that no body follows.
        asked = {**scope, "method": "GET"}

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start" and "route" in asked:
                scope["route"] = asked["route"]  # whoever measures wants to know
            elif message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app(asked, receive, without_body)
