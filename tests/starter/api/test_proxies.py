"""Behind a proxy: below a path, with TLS ended before us, and with another `Host`."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from html import unescape
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from starlette.types import ASGIApp

from reminders.settings import Settings
from starter.api.serving import behind_proxies
from starter.app import create_app
from starter.attendee.router import REDACT
from tests.starter.admin.conftest import NAME, PASSWORD, with_sign_in
from tests.starter.conftest import ADDRESS, KEY, a_body

PREFIX = "/apps/reminders"
_LINK = re.compile(r'(?:href|src|action|hx-get)="([^"]*)"')
_ANY = re.compile(r"[0-9a-f-]{36}|(?<==)[^&]+|(?<=/)\d+")
"""Ids and values: of pages that differ in these alone, one is enough."""
_POSTED = ("/search", "/sign-out", "/sweeps", "/diff", "/resume", "/test", "/resend", "/send-now",
           "/roster", "/replan", "/times", "/enroll", "/unblock")  # fmt: skip
"""What forms are sent to."""
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]+)"')


def a_proxy(app: ASGIApp, **headers: str) -> ASGIApp:
    """Shows an application below the prefix, and takes that away; adds headers of its own."""

    async def passed_on(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        assert scope["path"].startswith(f"{PREFIX}/"), scope["path"]
        added = [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
        names = {name for name, _ in added}
        kept = [(n, v) for n, v in scope["headers"] if n not in names]
        path = scope["path"].removeprefix(PREFIX)
        await app({**scope, "path": path, "headers": kept + added}, receive, send)

    return passed_on


@asynccontextmanager
async def visiting(
    settings: Settings, *, trusted: str = "127.0.0.1", scheme: str = "https", **headers: str
) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who comes through the proxy, which is at 127.0.0.1."""
    app = create_app(settings)
    sent = {"x_forwarded_prefix": PREFIX, "x_forwarded_proto": scheme} | headers
    way = a_proxy(behind_proxies(app, trusted), **sent)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(way),
            base_url=f"{scheme}://example.org",
        ) as client,
    ):
        yield client


async def sign_in(client: httpx2.AsyncClient, **headers: str) -> httpx2.Response:
    """The answer to name and password."""
    return await client.post(
        f"{PREFIX}/admin/sign-in",
        data={"username": NAME, "password": PASSWORD, "next": "/admin/people"},
        headers=headers,
    )


async def test_every_link_of_the_pages_leads_below_the_prefix(settings: Settings) -> None:
    """Also those to sign in, from redirects, of styles and scripts; and the cookie is for there."""
    async with visiting(with_sign_in(settings)) as client:
        asked = await client.get(f"{PREFIX}/admin/failed")
        assert f"{PREFIX}/admin/sign-in?next=%2Fadmin%2Ffailed" == asked.headers["location"]
        answer = await sign_in(client)
        assert f"{PREFIX}/admin/people" == answer.headers["location"]
        assert f"Path={PREFIX}/admin" in answer.headers["set-cookie"]
        assert "Secure" in answer.headers["set-cookie"]
        todo, shapes = [f"{PREFIX}/admin"], {f"{PREFIX}/admin"}
        while todo:
            path = todo.pop()
            page = await client.get(path)
            assert 200 == page.status_code, path
            if not page.headers["content-type"].startswith("text/html"):
                continue
            for link in (found.partition("#")[0] for found in _LINK.findall(page.text)):
                if link and not link.startswith(("data:", "http:", "https:", "mailto:")):
                    assert link.startswith(f"{PREFIX}/"), (path, link)
                    shape = _ANY.sub("*", link)
                    if shape not in shapes and not link.endswith(_POSTED):
                        todo.append(unescape(link))
                    shapes.add(shape)
        assert {f"{PREFIX}/admin/rules", f"{PREFIX}/static/admin/admin.css?v=*"} <= shapes
        token = _TOKEN.search((await client.get(f"{PREFIX}/admin/people")).text)
        assert token is not None
        found = await client.post(f"{PREFIX}/admin/people", data={"csrf": token[1], "q": "nobody"})
        assert found.headers["location"].startswith(f"{PREFIX}/admin/people?search=")


async def test_what_was_created_is_found_below_the_prefix(settings: Settings) -> None:
    """`Location` is for whoever came through the proxy."""
    session_id, user_id = uuid4(), uuid4()
    async with visiting(settings) as client:
        client.headers["authorization"] = f"Bearer {KEY}"
        ways = {f"sessions/{session_id}": a_body(), f"users/{user_id}": {"email": ADDRESS}}
        for way, body in ways.items():
            assert 201 == (await client.put(f"{PREFIX}/v1/{way}", json=body)).status_code
        body = {"session_id": str(session_id), "user_id": str(user_id)}
        created = await client.post(f"{PREFIX}/v1/enrollments", json=body)
        assert 200 == (await client.get(created.headers["location"])).status_code


async def test_the_documentation_describes_what_is_below_the_prefix(settings: Settings) -> None:
    """The page loads its own files, and the description names where the routes are."""
    async with visiting(settings) as client:
        page = (await client.get(f"{PREFIX}/docs")).text
        for link in _LINK.findall(page):
            assert 200 == (await client.get(link)).status_code, link
        described = (await client.get(f"{PREFIX}/openapi.json")).json()
        assert [{"url": PREFIX}] == described["servers"]


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "https://evil.example", '/"><b>', "/a/../b c"]
)
async def test_an_odd_prefix_is_none(settings: Settings, prefix: str) -> None:
    """Nothing that could lead elsewhere."""
    async with visiting(with_sign_in(settings), x_forwarded_prefix=prefix) as client:
        asked = await client.get(f"{PREFIX}/admin/failed")
        assert asked.headers["location"].startswith("/admin/sign-in")


async def test_headers_of_somebody_else_mean_nothing(settings: Settings) -> None:
    """Only a proxy that is trusted says where we are."""
    async with visiting(with_sign_in(settings), trusted="192.0.2.1", scheme="http") as client:
        asked = await client.get(f"{PREFIX}/admin/failed")
        assert asked.headers["location"].startswith("/admin/sign-in")


async def test_signing_in_works_where_a_proxy_rewrites_host(settings: Settings) -> None:
    """The browser has compared the origins; a page of another site is refused all the same."""
    async with visiting(with_sign_in(settings), host="api:8000") as client:
        own = {"origin": "https://example.org", "sec-fetch-site": "same-origin"}
        assert 303 == (await sign_in(client, **own)).status_code
        other = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        assert 403 == (await sign_in(client, **other)).status_code


@pytest.mark.parametrize(("trusted", "waits"), [("127.0.0.1", False), ("192.0.2.1", True)])
async def test_wrong_passwords_are_counted_by_the_client_s_address(
    settings: Settings, trusted: str, *, waits: bool
) -> None:
    """As a trusted proxy tells it: one client's guesses are nobody else's wait. Others tell nothing."""
    async with visiting(with_sign_in(settings), trusted=trusted) as client:

        async def tried(address: str) -> int:
            wrong = {"username": NAME, "password": "wrong"}
            told = {"x-forwarded-for": address}
            route = f"{PREFIX}/admin/sign-in"
            return (await client.post(route, data=wrong, headers=told)).status_code

        assert [401] * 5 + [429] == [await tried("203.0.113.7") for _ in range(6)]
        assert (429 if waits else 401) == await tried("203.0.113.8")


async def test_a_cookie_over_plain_http_comes_back(settings: Settings) -> None:
    """It is not `Secure` there, even if the public address is https: that would be a loop."""
    public = with_sign_in(
        settings,
        public_base_url="https://example.org",
        token_secret=("N7vQ2pXw9LrT4cKz8mYbF3hJ6dGs1uAe",),
    )
    async with visiting(public, scheme="http") as client:
        answer = await sign_in(client)
        assert "Secure" not in answer.headers["set-cookie"]
        assert 200 == (await client.get(f"{PREFIX}/admin/people")).status_code


@pytest.mark.parametrize(
    "path", ["/stop/secret", f"{PREFIX}/stop/secret", f"{PREFIX}/calendar/secret.ics?x=1"]
)
def test_no_token_is_logged_below_a_prefix_either(path: str) -> None:
    """Whatever stands before it."""
    record = logging.LogRecord(
        "uvicorn.access", logging.INFO, "", 0, '%s "%s %s', ("127.0.0.1", "GET", path), None
    )
    assert REDACT.filter(record)
    assert "secret" not in record.getMessage()


def test_no_token_is_logged_whoever_serves_it(settings: Settings) -> None:
    """`uvicorn --factory starter.app:create_app` has the same access log."""
    for _ in range(2):
        create_app(settings)
    assert 1 == logging.getLogger("uvicorn.access").filters.count(REDACT)
