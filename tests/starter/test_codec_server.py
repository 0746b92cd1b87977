"""Who has the keys, and may, reads encrypted payloads in Temporal's UI and command; nobody else does."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from reminders import api_keys
from reminders.codec import EncryptingCodec
from reminders.errors import ConfigurationError
from reminders.settings import Settings
from starter.codec_server import LARGEST_BODY, create_app

Json = dict[str, Any]

SECRET = os.urandom(32)
CODEC = EncryptingCodec([SECRET])
KEYS = base64.b64encode(SECRET).decode()
API_KEY = "rk_of_an_operator"
UI = "http://127.0.0.1:8233"
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"reminder_type": "30min"}')


@asynccontextmanager
async def a_caller(
    *, host: str = "127.0.0.1:8234", peer: str = "127.0.0.1", **settings: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody at an address who asks a server with these settings."""
    chosen = {"temporal_payload_keys": KEYS, "temporal_ui_url": f"{UI}/", **settings}
    transport = httpx2.ASGITransport(
        create_app(Settings(**chosen)), raise_app_exceptions=False, client=(peer, 40_000)
    )
    async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as caller:
        yield caller


def as_json(*payloads: Payload) -> Json:
    """As Temporal's UI and command write them."""
    return MessageToDict(Payloads(payloads=payloads))


async def encrypted() -> Json:
    """A payload as Temporal has it."""
    return as_json(*await CODEC.encode([PLAIN]))


async def test_what_is_encrypted_is_shown_and_back_again() -> None:
    """Several at once, in their order; what is plain already stays as it is."""
    other = Payload(metadata={"encoding": b"json/plain"}, data=b'"other"')
    mixed = as_json(*await CODEC.encode([PLAIN]), other)
    async with a_caller() as caller:
        shown = await caller.post("/decode", json=mixed, headers={"X-Namespace": "default"})
        assert as_json(PLAIN, other) == shown.json()
        stored = (await caller.post("/encode", json=as_json(PLAIN))).json()
        assert stored != as_json(PLAIN)
        assert b"30min" not in base64.b64decode(stored["payloads"][0]["data"])
        assert as_json(PLAIN) == (await caller.post("/decode", json=stored)).json()
        assert 200 == (await caller.get("/healthz")).status_code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"null",
        b'{"payloads": [{"data": "not base64!"}]}',
        b'{"payloads": 1}',
        b'{"unknown": 1}',
    ],
)
async def test_what_is_no_payload_is_refused(body: bytes) -> None:
    """As the caller's mistake; nothing of it is repeated."""
    async with a_caller() as caller:
        answer = await caller.post("/decode", content=body)
    assert 422 == answer.status_code
    assert "body" == answer.json()["errors"][0]["field"]
    assert not body or body.decode(errors="replace") not in answer.text


async def test_what_cannot_be_decrypted_is_refused() -> None:
    """Another's key is named by its id; what was changed on its way, or cut off, is not shown."""
    [foreign] = await EncryptingCodec([os.urandom(32)]).encode([PLAIN])
    [changed] = await CODEC.encode([PLAIN])
    changed.data = changed.data[:-1] + bytes([changed.data[-1] ^ 1])
    [cut] = await CODEC.encode([PLAIN])
    cut.data = cut.data[:5]
    async with a_caller() as caller:
        for payload, told in (
            (foreign, "not in TEMPORAL_PAYLOAD_KEYS"),
            (changed, "changed since"),
            (cut, "changed since"),
        ):
            answer = await caller.post("/decode", json=as_json(payload))
            assert 422 == answer.status_code
            assert told in answer.json()["detail"]


async def test_too_much_is_refused() -> None:
    """Before it is in memory; what is as large as Temporal lets a payload be is not too much."""
    largest = Payload(metadata=PLAIN.metadata, data=b"x" * 2 * 1024 * 1024)
    async with a_caller() as caller:
        assert 413 == (await caller.post("/decode", content=b" " * (LARGEST_BODY + 1))).status_code
        body = as_json(*await CODEC.encode([largest]))
        assert as_json(largest) == (await caller.post("/decode", json=body)).json()


async def test_the_ui_in_a_browser_may_ask_and_no_other_page() -> None:
    """Browsers ask first: they are told that TEMPORAL_UI_URL may, with the headers that it sends."""
    asking = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-namespace",
    }
    async with a_caller() as caller:
        allowed = await caller.options("/decode", headers={"Origin": UI, **asking})
        assert (200, UI) == (allowed.status_code, allowed.headers["access-control-allow-origin"])
        shown = await caller.post("/decode", json=await encrypted(), headers={"Origin": UI})
        assert (200, UI) == (shown.status_code, shown.headers["access-control-allow-origin"])
        wrong = await caller.post("/decode", content=b"?", headers={"Origin": UI})
        assert UI == wrong.headers["access-control-allow-origin"]
        for origin in ("https://elsewhere.example", "http://127.0.0.1:8000", "null"):
            refused = await caller.options("/decode", headers={"Origin": origin, **asking})
            assert 400 == refused.status_code
            answer = await caller.post(
                "/decode", json=await encrypted(), headers={"Origin": origin}
            )
            assert 403 == answer.status_code
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "peer"), [("decode.example:8234", "127.0.0.1"), ("127.0.0.1:8234", "192.0.2.7")]
)
async def test_only_this_machine_needs_no_key(host: str, peer: str) -> None:
    """A proxy's or a rebound name is no loopback address, and neither is another machine."""
    async with a_caller(host=host, peer=peer) as caller:
        assert 401 == (await caller.post("/decode", json=await encrypted())).status_code
    async with a_caller(host=host, peer=peer, api_keys=API_KEY) as caller:
        assert 401 == (await caller.post("/decode", json=await encrypted())).status_code
        good = {"Authorization": f"Bearer {API_KEY}"}
        answer = await caller.post("/decode", json=await encrypted(), headers=good)
        assert as_json(PLAIN) == answer.json()


async def test_beyond_this_machine_everybody_needs_a_key() -> None:
    """A read-only one will do: it may ask for everything else, too. Guessing is rationed."""
    entry = f"ro:dashboard=sha256:{api_keys.digest(API_KEY).hex()}"
    async with a_caller(codec_server_address="0.0.0.0:8234", api_keys=entry) as caller:
        assert 401 == (await caller.post("/decode", json=await encrypted())).status_code
        good = {"Authorization": f"Bearer {API_KEY}"}
        answer = await caller.post("/decode", json=await encrypted(), headers=good)
        assert as_json(PLAIN) == answer.json()
        guess = {"Authorization": "Bearer rk_guessed"}
        codes = [
            (await caller.post("/decode", content=b"", headers=guess)).status_code
            for _ in range(25)
        ]
        assert 429 == codes[-1]
    async with a_caller(api_keys=API_KEY) as caller:
        wrong = await caller.post("/decode", json=await encrypted(), headers=guess)
        assert 401 == wrong.status_code


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"temporal_payload_keys": ""}, "TEMPORAL_PAYLOAD_KEYS is not set"),
        ({"codec_server_address": "0.0.0.0:8234"}, "set API_KEYS"),
        ({"codec_server_address": "8234"}, "CODEC_SERVER_ADDRESS"),
    ],
)
def test_it_does_not_start_without_what_it_needs(settings: Json, told: str) -> None:
    """In one line that names the variable."""
    with pytest.raises(ConfigurationError, match=told):
        create_app(Settings(**{"temporal_payload_keys": KEYS, **settings}))


async def test_nothing_of_a_payload_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither of what is shown, nor of what is refused."""
    with caplog.at_level(logging.DEBUG):
        async with a_caller() as caller:
            await caller.post("/decode", json=await encrypted())
            await caller.post("/decode", content=b'{"reminder_type": "30min"}')
    assert "30min" not in caplog.text
