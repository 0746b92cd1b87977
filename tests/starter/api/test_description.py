"""The API does what its description says, whatever it is sent: tried by schemathesis.

Every answer has a documented status, media type and shape, and none is a mistake of ours. The same
examples each time; with `--slow` many, and other ones.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from devstack.temporal import EmbeddedTemporal
from reminders.settings import Settings
from starter.api.errors import MEDIA_TYPE, Problem
from tests.starter.conftest import KEY, Api, listening

FEW, MANY = 3, 100
"""Examples of each operation, of requests as described and of others each."""
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "nextjs" / "lib" / "reminders.ts"
load_all_checks()
AS_DESCRIBED = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
]


@pytest.mark.proof
@pytest.mark.usefixtures("no_sweep_left")
@pytest.mark.parametrize(
    "count", [FEW, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
async def test_the_api_does_what_its_description_says(
    count: int,
    database_url: str,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every operation, with requests as described and with others, on a real server."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    settings = Settings(
        database_url=database_url,
        temporal_task_queue="nobody-polls-this",
        api_keys=KEY,
    )
    async with listening(settings) as url:
        failures = await asyncio.to_thread(tried, url, count)
    assert not failures, "\n\n".join(failures)


async def test_errors_and_bodies_are_shown_by_example(shared_api: Api) -> None:
    """Every error has a problem document; whoever enrolls sees what ids and instants look like."""
    document = (await shared_api.get("/openapi.json")).json()
    errors = [
        (status, answer["content"][MEDIA_TYPE])
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if status[0] in "45" and MEDIA_TYPE in answer["content"]
    ]
    for status, told in errors:
        assert int(status) == Problem.model_validate(told["example"]).status
    for body in ("SessionBody", "UserBody", "EnrolleeBody", "ResendBody", "SessionWithCounts"):
        fields = document["components"]["schemas"][body]["properties"].values()
        assert any("examples" in field for field in fields), body


async def test_its_chapters_are_introduced(shared_api: Api) -> None:
    """Every operation is in a chapter that says what it is for; the chapters stand in the order of use."""
    document = (await shared_api.get("/openapi.json")).json()
    chapters = [chapter["name"] for chapter in document["tags"]]
    used = [t for paths in document["paths"].values() for o in paths.values() for t in o["tags"]]
    assert set(chapters) == set(used)
    assert chapters[:3] == ["sessions", "users", "enrollments"]


async def test_the_example_calls_what_there_is(shared_api: Api) -> None:
    """Each call of the platform in Next.js is one of the API; its build checks the types as well."""
    document = (await shared_api.get("/openapi.json")).json()
    calls = re.findall(r"api\.([A-Z]+)\(\"(/[^\"]+)\"", EXAMPLE.read_text(encoding="utf-8"))
    assert len(calls) >= 5
    assert all(method.lower() in document["paths"][path] for method, path in calls)


def tried(url: str, count: int) -> list[str]:
    """What is not as described, in the words of schemathesis."""
    failures: list[str] = []
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in schema.get_all_operations():
        operation: Any = cast("Any", found).ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                _try(operation, mode, url, count)
            except hypothesis.errors.Unsatisfiable:
                continue  # nothing can be sent to it that is not as described
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - all are wanted at once
                failures.append(f"{operation.label}\n{_told(error)}")
    return failures


def _told(error: BaseException) -> str:
    """What was found, without the stacks."""
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(_told(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"


def _try(operation: Any, mode: GenerationMode, url: str, count: int) -> None:
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=count,
        derandomize=count == FEW,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def sent(case: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {KEY}"}
        # Not ready is an answer of /readyz.
        beside = [CHECKS.get_one("not_a_server_error")] if case.path == "/readyz" else []
        case.call_and_validate(
            base_url=url, checks=AS_DESCRIBED, excluded_checks=beside, timeout=30
        )

    sent()
