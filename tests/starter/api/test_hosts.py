"""Under which name the API is asked for, and which web pages may have a browser ask."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from pydantic import SecretStr

from reminders.db.engine import Database
from reminders.db.sessions import Catalogue
from reminders.settings import Settings
from reminders.tokens import Purpose, Tokens
from starter.app import create_app
from tests.starter.conftest import Api, listening, serving

SECRET = "attendees-of-the-tests-0123456789abcdef"
OTHERS = [
    {"Origin": "https://attacker.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "http://localhost:8000"},
    {"Origin": "null"},
    {"Origin": "file://"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
"""What a browser says of pages elsewhere, on this machine's other ports, and in a sandbox."""
OWN = [
    {},
    {"Origin": "http://127.0.0.1:8000"},
    {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]
"""What programs say, our own pages, and what a person has typed."""
NO_HOSTS = [
    "",
    "[",
    "[::1",
    "::1]",
    "[::1]x",
    "[g::1]",
    "a b",
    "a/b",
    "a@b",
    "a:b",
    "a:99999",
    "h\xe9",
]


@pytest.fixture
async def keyless(settings: Settings) -> AsyncIterator[Api]:
    """The API without keys, with links for attendees, as this machine reaches it."""
    changes = {
        "api_keys": (),
        "public_base_url": "http://127.0.0.1:8000",
        "token_secret": (SecretStr(SECRET),),
    }
    async with serving(settings.model_copy(update=changes), headers={}) as api:
        yield api


@pytest.mark.parametrize("headers", OTHERS, ids=str)
async def test_a_page_of_another_origin_changes_nothing(
    headers: dict[str, str], keyless: Api, database: Database
) -> None:
    """Without keys, whatever would change something is a 403 for pages of other origins."""
    session_id, user_id = await keyless.session(), await keyless.user()
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    for method, path in (
        ("POST", f"/v1/sessions/{session_id}/cancel"),
        ("POST", "/v1/delivery/resume"),
        ("POST", "/v1/sweeps"),
        ("DELETE", f"/v1/users/{user_id}"),
        ("PUT", f"/v1/users/{user_id}"),
        ("PATCH", "/v1/reminder-configurations/24h"),
        ("POST", f"/admin/sessions/{session_id}/cancel"),
        ("POST", "/admin/delivery/resume"),
        ("POST", "/admin/sign-in"),
    ):
        answer = await keyless.request(method, path, headers=form, content=b"")
        assert (403, "another-origin") == (answer.status_code, answer.json()["type"].split(":")[-1])
    assert "scheduled" == (await Catalogue(database).session(session_id)).status
    assert user_id == (await Catalogue(database).user(user_id)).user_id


@pytest.mark.parametrize("headers", OWN, ids=str)
async def test_programs_and_our_own_pages_go_on(headers: dict[str, str], keyless: Api) -> None:
    """Without keys, whoever says nothing of another origin changes what they like."""
    session_id = await keyless.session()
    answer = await keyless.post(
        f"/v1/sessions/{session_id}/cancel", headers=headers, json={"dry_run": True}
    )
    assert 200 == answer.status_code


@pytest.mark.parametrize("headers", OTHERS, ids=str)
async def test_what_proves_itself_may_come_from_anywhere(
    headers: dict[str, str], keyless: Api
) -> None:
    """A one-click and a webhook are judged by token and signature, whoever passes them on."""
    session_id, user_id = await keyless.session(), await keyless.user()
    token = Tokens([SECRET]).make(Purpose.STOP, session_id, user_id)
    one_click = await keyless.post(
        f"/stop/{token}", headers=headers, data={"List-Unsubscribe": "One-Click"}
    )
    webhook = await keyless.post("/webhooks/resend", headers=headers, json={})
    assert (200, 404) == (one_click.status_code, webhook.status_code)
    assert "webhooks-not-configured" in webhook.text


@pytest.mark.parametrize("host", NO_HOSTS)
async def test_a_host_that_is_none(host: str, shared_api: Api) -> None:
    """A malformed `Host` is a 400 wherever it is sent to."""
    for path in ("/healthz", "/v1/reminders", "/admin", "/stop/x", "/docs", "/nowhere"):
        answer = await shared_api.get(path, headers={b"Host": host.encode("latin-1")})
        assert (400, "application/problem+json") == (
            answer.status_code,
            answer.headers["content-type"],
        )
        assert path == answer.json()["instance"]


@pytest.mark.parametrize(
    "host", ["a", "a_b.c:8000", "127.0.0.1", "[::1]:8000", "h:", "xn--bcher-kva.example"]
)
async def test_a_host_that_is_one(host: str, shared_api: Api) -> None:
    """Every name and address that a server can have passes."""
    assert 200 == (await shared_api.get("/healthz", headers={"Host": host})).status_code


@pytest.mark.parametrize(
    ("request_line", "hosts", "status"),
    [
        ("GET /healthz HTTP/1.1", (), 400),
        ("GET /healthz HTTP/1.1", ("a", "b"), 400),
        ("GET /healthz HTTP/1.1", ("a\x00b",), 400),
        ("GET /v1/reminders HTTP/1.1", ("[",), 400),
        ("GET /healthz HTTP/1.0", (), 200),
    ],
)
async def test_hosts_on_the_wire(
    request_line: str, hosts: tuple[str, ...], status: int, settings: Settings
) -> None:
    """No `Host`, two, and one with a control are 400s; HTTP/1.0 needs none."""
    async with listening(settings) as url:
        head = [request_line, *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
        assert f" {status} " in (await _said(url, "\r\n".join(head).encode())).split("\r\n")[0]


async def test_a_mistake_leaves_the_connection_open(settings: Settings) -> None:
    """After a 500 the same connection answers the next request: nothing is reset."""
    app = create_app(settings)

    @app.get("/mistake")
    async def mistake() -> None:
        raise RuntimeError

    async with listening(settings, app) as url:
        host = urlsplit(url).netloc
        first = f"GET /mistake HTTP/1.1\r\nHost: {host}\r\n\r\n"
        second = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        said = await _said(url, (first + second).encode())
        async with httpx2.AsyncClient() as http:
            metrics = (await http.get(f"{url}/metrics")).text
    assert said.startswith("HTTP/1.1 500")
    assert "application/problem+json" in said
    assert "HTTP/1.1 200" in said
    assert 'route="/mistake",status="500"' in metrics


async def _said(url: str, request: bytes) -> str:
    """What a server answers on one connection, until it closes it."""
    parts = urlsplit(url)
    async with asyncio.timeout(timedelta(seconds=10).total_seconds()):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
    return answer.decode()


async def test_head_answers_wherever_get_does(shared_api: Api) -> None:
    """The same status and headers, and no body; also where the answer is an error."""
    document: Any = (await shared_api.get("/openapi.json")).json()
    paths = [path for path, methods in document["paths"].items() if "get" in methods]
    assert len(paths) >= 19
    nobody = "5e551000-0000-4000-8000-000000000001"
    ids = re.compile(r"\{(?:session_id|user_id|token)\}")
    others = ["/docs", "/openapi.json", "/admin/sign-in", "/static/admin/icon.svg"]
    for path in [*(ids.sub(nobody, path) for path in paths), *others]:
        asked = await shared_api.get(path)
        answer = await shared_api.head(path)
        assert asked.status_code == answer.status_code, path
        assert asked.headers["content-type"] == answer.headers["content-type"], path
        assert b"" == answer.content
        assert "GET" not in answer.headers.get("allow", "")
