"""What answers tell browsers, whatever the answer is."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from starter.api import errors as problems
from starter.api.middleware import SecurityHeaders
from tests.starter.conftest import Api


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/reminders", 200),
        ("GET", "/v1/nowhere", 404),
        ("PATCH", "/v1/enrollments", 405),
        ("POST", "/v1/enrollments", 422),
        ("GET", "/healthz", 200),
    ],
)
async def test_every_answer_is_protected(
    method: str, path: str, status: int, shared_api: Api
) -> None:
    """Neither framed, nor sniffed, nor cached, nor referred to; no script may run in it."""
    answer = await shared_api.request(method, path)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "server" not in answer.headers


async def test_the_documentation_still_works_in_a_browser(shared_api: Api) -> None:
    """Its page says itself which scripts it brings, and may still not be framed."""
    answer = await shared_api.get("/docs")
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_no_other_site_s_script_may_read_an_answer(shared_api: Api) -> None:
    """A browser's question beforehand is refused, and no answer allows any origin."""
    foreign = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET"):
        answer = await shared_api.request(method, "/v1/reminders", headers=foreign)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_mistake_of_ours_is_protected_too() -> None:
    """The answer to an unforeseen error says nothing of it, and is as protected as any other."""
    app = FastAPI()
    problems.install(app)
    app.add_middleware(SecurityHeaders)
    said = "re_secret of ana@hospital.example"

    @app.get("/")
    async def broken() -> None:
        raise ZeroDivisionError(said)

    async with Api(app) as api:
        answer = await api.get("/")
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "re_secret" not in answer.text
    assert "hospital" not in answer.text
