"""Who may ask."""

from __future__ import annotations

import httpx2
import pytest

from reminders.settings import Settings
from starter.app import create_app
from tests.starter.conftest import KEY, Api, serving

SESSION = "/v1/sessions/5e551000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic test-key",
        b"test-key",
        b"Bearer test-keys",
        b"Bearer test-ke",
        "Bearer ключ".encode(),
    ],
)
async def test_without_the_key(header: bytes | None, shared_api: Api) -> None:
    """No key, half a key and another scheme are a 401 that says what to send."""
    # Not `shared_api.get`, which would add the good key.
    headers = {} if header is None else {b"Authorization": header}
    answer = await shared_api.send(
        httpx2.Request("GET", shared_api.base_url.join(SESSION), headers=headers)
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert KEY not in answer.text


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer  {KEY} "])
async def test_with_the_key(header: str, shared_api: Api) -> None:
    """A known key passes, however the scheme is spelt."""
    answer = await shared_api.get(SESSION, headers={"Authorization": header})
    assert answer.status_code == 404


async def test_several_keys(settings: Settings) -> None:
    """Each of several keys passes, so that keys can be exchanged without a gap."""
    both = Settings(**{**settings.model_dump(), "api_keys": "old-key, new-key"})
    async with serving(both) as api:
        for key, status in (("old-key", 404), ("new-key", 404), (KEY, 401)):
            answer = await api.get(SESSION, headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", SESSION),
        ("GET", SESSION),
        ("PUT", "/v1/users/42"),
        ("POST", "/v1/enrollments"),
        ("GET", "/v1/enrollments/42/42"),
        ("DELETE", "/v1/enrollments/42/42"),
        ("GET", "/v1/reminders?limit=nonsense"),
    ],
)
async def test_every_route_is_guarded(method: str, path: str, shared_api: Api) -> None:
    """Without a key no route looks at the request, however wrong it is."""
    answer = await shared_api.request(
        method,
        path,
        content="{",
        headers={"Authorization": "", "Content-Type": "application/json"},
    )
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
async def test_open_paths(path: str, shared_api: Api) -> None:
    """Probes and documentation need no key."""
    answer = await shared_api.get(path, headers={"Authorization": ""})
    assert answer.status_code in (200, 503)


@pytest.mark.parametrize(
    ("peer", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8000", 404),
        ("127.0.0.1", "localhost:8000", 404),
        ("::1", "[::1]:8000", 404),
        ("127.0.0.1", "LocalHost", 404),
        ("127.0.0.1", "api", 401),
        ("127.0.0.1", "localhost.attacker.example", 401),
        ("127.0.0.1", "rebound.attacker.example:8000", 401),
        ("10.0.0.7", "127.0.0.1:8000", 401),
        ("10.0.0.7", "reminders.platform.example", 401),
    ],
)
async def test_without_configured_keys(
    peer: str, host: str, status: int, settings: Settings
) -> None:
    """Without API_KEYS this machine may ask, and nobody else; no web page through a browser."""
    app = create_app(settings.model_copy(update={"api_keys": ()}))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, client=(peer, 50_000)),
            base_url="http://127.0.0.1:8000",
        ) as http,
    ):
        answer = await http.get(SESSION, headers={"Host": host})
    assert answer.status_code == status
