"""Temporal's remote codec: what was encrypted, readable again for whoever may read it.

The browser with Temporal's UI, or the `temporal` command, sends what it has of payloads to
`/decode` and shows what comes back; Temporal itself learns neither keys nor what is in them.
Nothing is kept, and nothing of a payload is logged or told in an error.

Source:
    https://docs.temporal.io/remote-data-encoding: a JSON `Payloads` in and out, with the namespace
    in the header `X-Namespace`. Our keys are the same for every namespace, so that is not looked at.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request, Response
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.message import DecodeError
from starlette.middleware.cors import CORSMiddleware
from temporalio.api.common.v1 import Payloads

from reminders.codec import EncryptingCodec
from reminders.errors import ConfigurationError, InvalidInputError
from reminders.observability import logs
from reminders.settings import Settings, is_loopback
from starter import serving
from starter.health.probes import Alive
from starter.http import auth, problems
from starter.http.asked import well_formed
from starter.http.body_limit import BodyLimit
from starter.http.head import HeadLikeGet
from starter.http.hosts import WellFormedHost, is_this_machine
from starter.http.problems import ForbiddenError
from starter.http.security_headers import SecurityHeaders

LARGEST_BODY = 8 * 1024 * 1024
"""Bytes; a payload of Temporal's largest, 2 MiB, is a third longer in base64, and a page has several."""

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The application.

    Raises:
        ConfigurationError: If there are no keys to decrypt with, or the address may not be served.
    """
    codec = settings.payload_codec()
    if codec is None:
        msg = "TEMPORAL_PAYLOAD_KEYS is not set: there is nothing that could be decrypted"
        raise ConfigurationError(msg)
    host, _ = settings.decode_on()
    app = FastAPI(openapi_url=None, redirect_slashes=False, dependencies=[Depends(well_formed)])
    problems.install(app)
    auth.install(app, settings)
    app.add_middleware(BodyLimit, largest=LARGEST_BODY)
    app.add_middleware(WellFormedHost)
    app.add_middleware(HeadLikeGet)
    origins = _origins(settings)
    door = _Door(app.state.guard, origins=origins, is_local=is_loopback(host))

    @app.post("/decode")
    async def decode(request: Request) -> Response:
        return await _answered(request, door, codec, encode=False)

    @app.post("/encode")
    async def encode(request: Request) -> Response:
        return await _answered(request, door, codec, encode=True)

    @app.get("/healthz")
    async def healthz() -> Alive:
        return Alive()

    app.add_middleware(SecurityHeaders)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["POST"],
        allow_headers=["authorization", "content-type", "x-namespace"],
    )
    return app


class _Door:
    """Who may have payloads decrypted."""

    def __init__(self, guard: auth.Guard, *, origins: tuple[str, ...], is_local: bool) -> None:
        self._guard = guard
        self._origins = origins
        self._is_local = is_local

    def let_in(self, request: Request) -> None:
        """Let a request pass, or refuse it.

        On a loopback address programs of this machine and the UI in its browser need no key, for
        the UI has none to send. Whoever sends one must send a good one.

        Raises:
            UnauthorizedError: If it needs a key and has none that is good.
            TooManyRequestsError: The same, too often.
            ForbiddenError: If a web page asks that is not the UI.
        """
        origin = request.headers.get("origin")
        if origin is not None and origin not in self._origins:
            msg = "Web pages other than TEMPORAL_UI_URL may not ask here."
            raise ForbiddenError(msg)
        if self._is_local and "authorization" not in request.headers and is_this_machine(request):
            return
        auth.authenticate(request, self._guard)


async def _answered(
    request: Request, door: _Door, codec: EncryptingCodec, *, encode: bool
) -> Response:
    """What an exchange of payloads answers.

    Raises:
        InvalidInputError: If the body holds no payloads, or some that cannot be decrypted.
    """
    # Of the extra, which is there: otherwise there would be no codec.
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415

    door.let_in(request)
    try:
        found = Parse((await request.body()).decode(), Payloads())
    except (ParseError, UnicodeDecodeError):
        msg = "is no JSON of temporal.api.common.v1.Payloads"
        raise InvalidInputError(msg, field="body") from None
    try:
        work = codec.encode if encode else codec.decode
        done = await work(found.payloads)
    except ConfigurationError as error:
        raise InvalidInputError(str(error), field="payloads") from None
    except (InvalidTag, ValueError, DecodeError):
        msg = "one was changed since it was encrypted"
        raise InvalidInputError(msg, field="payloads") from None
    return Response(MessageToJson(Payloads(payloads=done)), media_type="application/json")


def _origins(settings: Settings) -> tuple[str, ...]:
    """Where the UI's pages come from, as browsers say it."""
    parts = urlsplit(settings.temporal_ui_url or "")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ()
    return (f"{parts.scheme}://{parts.netloc}".lower(),)


def run(settings: Settings) -> None:
    """Serve on `CODEC_SERVER_ADDRESS` until told to stop.

    Raises:
        ConfigurationError: If a setting is missing or cannot be used, or the address is taken.
    """
    logs.configure(settings.log_format, settings.log_level)
    server = serving.Server(create_app(settings))
    with serving.listener("CODEC_SERVER_ADDRESS", *settings.decode_on()) as listener:
        logger.info("codec server on %s", serving.url(listener))
        asyncio.run(server.serve(sockets=[listener]))
