"""Errors as problem documents: their form, and what they keep to themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from devstack.postgres import EmbeddedPostgres
from reminders.domain import errors
from reminders.domain.errors import ReminderError
from reminders.settings import Settings
from starter.app import create_app
from starter.cli.options import ExitCode
from tests.starter.conftest import Api, Json, a_body, serving

MEMBERS = {"type", "title", "status", "detail", "instance"}
SESSION = "/v1/sessions/5e551000-0000-4000-8000-000000000001"


async def test_unknown_path(shared_api: Api) -> None:
    """A path that does not exist is a 404 with all members of a problem document."""
    answer = await shared_api.get("/v1/meetings")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() == MEMBERS
    assert answer.json()["instance"] == "/v1/meetings"
    assert answer.json()["type"] == "urn:session-reminders:problem:no-such-path"


async def test_wrong_method(shared_api: Api) -> None:
    """A method that a path does not know is a 405 that lists those it does."""
    answer = await shared_api.delete(SESSION)
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "GET, HEAD, PUT"


async def test_unacceptable(shared_api: Api) -> None:
    """A 422 has `errors` besides the usual members."""
    answer = await shared_api.put(SESSION, json={})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() == MEMBERS | {"errors"}
    assert all(e.keys() == {"field", "message"} for e in answer.json()["errors"])


async def test_announced_body_too_large(shared_api: Api) -> None:
    """A body whose announced length is beyond the limit is a 413 before it is read."""
    answer = await shared_api.put(SESSION, json=a_body(preparation_notes="x" * 70_000))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert "65536" in answer.json()["detail"]


async def test_streamed_body_too_large(shared_api: Api) -> None:
    """A body without a length is counted while it comes in, and cut off."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 10_000
            yield b" " * 10_000

    answer = await shared_api.put(
        SESSION, content=endless(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_body_of_another_type(shared_api: Api) -> None:
    """A body that is not declared as JSON is refused: a web form elsewhere cannot post here."""
    answer = await shared_api.put(
        SESSION, content='{"title": "x"}', headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


async def test_body_that_is_no_object(shared_api: Api) -> None:
    """JSON of another shape is named as what it is, in words that are no library's."""
    answer = await shared_api.put(SESSION, json=["title"])
    assert answer.json()["errors"] == [{"field": "body", "message": "is not a JSON object"}]


async def test_body_that_is_no_text(shared_api: Api) -> None:
    """A body that is not UTF-8 is a 400, not a mistake of ours."""
    answer = await shared_api.put(
        SESSION, content=b'{"\xff', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_mistake_shows_nothing(settings: Settings) -> None:
    """An unexpected error is a 500 without a word about the inside."""
    app = create_app(settings)

    @app.get("/mistake")
    async def mistake() -> None:
        message = "postgresql://user:hunter2@db"
        raise RuntimeError(message)

    async with app.router.lifespan_context(app), Api(app) as api:
        answer = await api.get("/mistake")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() == MEMBERS
    assert "hunter2" not in answer.text
    assert "Error" not in answer.text


async def test_a_database_without_schema(
    settings: Settings, postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    """Without migrations the caller sees a plain 500, and the log names the remedy."""
    postgres.create_database("empty")
    empty = settings.model_copy(update={"database_url": SecretStr(postgres.url("empty"))})
    async with serving(empty) as api:
        answer = await api.get(SESSION)
    assert answer.status_code == 500
    assert answer.json()["type"].endswith(":misconfigured")
    assert "table" not in answer.text
    assert "reminders db upgrade" in caplog.text


def test_every_error_of_a_caller_says_what_it_is() -> None:
    """Whatever the gateway may raise at a caller has a slug, a title and a status of its own kind."""
    found = [
        error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, ReminderError)
    ]
    for error in found:
        if error is not ReminderError:
            assert error.slug != ReminderError.slug, error
            assert error.title != ReminderError.title, error
        assert 400 <= error.status < 600, error
        ExitCode(error.exit_code)


async def test_the_description(shared_api: Api) -> None:
    """OpenAPI describes every error as a problem document, and every operation in words."""
    document: Json = (await shared_api.get("/openapi.json")).json()
    operations = [
        (path, operation)
        for path, methods in document["paths"].items()
        for operation in methods.values()
    ]
    assert len(operations) >= 14
    for path, operation in operations:
        assert operation["summary"]
        assert operation["description"]
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                also = {"text/html"} if path == "/stop/{token}" else set()
                assert response["content"].keys() - also == {"application/problem+json"}
                assert response["description"]
        if path.startswith("/v1"):
            assert {"401", "503"} <= operation["responses"].keys()
            assert operation["security"]
    schemas = document["components"]["schemas"]
    assert {"Problem", "FieldError"} <= schemas.keys()
    assert "HTTPValidationError" not in schemas
    assert schemas["SessionBody"]["properties"]["start_time"]["format"] == "date-time"
