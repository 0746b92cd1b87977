"""What is refused of every request, whatever it is for: odd text, odd JSON, odd queries."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from temporalio.client import Client

from reminders.db.engine import Database
from reminders.db.sessions import Catalogue
from reminders.domain.errors import InvalidInputError
from reminders.settings import Settings
from starter.api import reading
from tests.starter.conftest import Api, Json, a_body, a_worker, serving

SOMEBODY = "5e551000-0000-4000-8000-0000000000f0"
SESSION = f"/v1/sessions/{SOMEBODY}"
AS_JSON = {"Content-Type": "application/json"}

SEED = 20_261_201
"""Another one tries other combinations; this one is what CI tries."""
HOSTILE: list[Any] = [
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "",
    " ",
    "\u202e",
    "x" * 5_000,
    "' OR 1=1 --",
    "../../etc/passwd",
    "infinity",
    "NaN",
    "9" * 400,
    "-1",
    "2026-02-30T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00+14:00",
    "true",
    2**63,
    -(2**63) - 1,
    10**400,
    1e308,
    0,
    None,
    True,
    [],
    {},
    ["\x00"],
    {"\x00": "\ud800"},
]
"""Values that no field expects, or only one does."""


@pytest.mark.parametrize("escape", [r"\u0000", r"\ud83d", r"\ude00"])
@pytest.mark.parametrize(
    ("request_line", "body", "field"),
    [
        (f"PUT {SESSION}", a_body(title="Cardiology?"), "title"),
        (f"PUT /v1/users/{SOMEBODY}", {"email": "ana?@hospital.example"}, "email"),
        (
            f"PUT /v1/users/{SOMEBODY}/preferences",
            {"opt_outs": [{}, {"reminder_type": "?"}]},
            "opt_outs.1.reminder_type",
        ),
        ("POST /v1/users/search", {"query": "a?"}, "query"),
        ("POST /v1/sweeps", {"reason": "?"}, "reason"),
        ("POST /v1/sweeps", {"?": 1}, "body"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_text_that_cannot_be_stored(
    request_line: str, body: Json, field: str, escape: str, shared_api: Api
) -> None:
    """NUL and half a character are a 422 that names the field, at any depth."""
    method, path = request_line.split()
    content = json.dumps(body).replace("?", escape)
    answer = await shared_api.request(method, path, content=content, headers=AS_JSON)
    assert 422 == answer.status_code
    assert [field] == [error["field"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/preview?reminder_type=%00", "reminder_type"),
        ("/v1/sessions?query=a%00", "query"),
        ("/v1/reminders?cursor=%00", "cursor"),
        ("/v1/sessions/%00", "session_id"),
    ],
)
async def test_text_of_path_and_query(path: str, field: str, shared_api: Api) -> None:
    """The same in path and query, by the name that the documentation gives it."""
    answer = await shared_api.get(path)
    assert 422 == answer.status_code
    assert [field] == [error["field"] for error in answer.json()["errors"]]


async def test_text_of_headers(shared_api: Api) -> None:
    """The same in a header, should a server let it through."""
    answer = await shared_api.get("/healthz", headers={b"X-Odd": b"a\x00b"})
    assert 422 == answer.status_code
    assert "x-odd" in answer.json()["detail"]


def test_one_of_many_names_that_comes_twice_is_found_at_once() -> None:
    """A body of some megabytes stops nobody else's request for long."""
    names = [(str(n), None) for n in range(300_000)]
    with pytest.raises(InvalidInputError, match="more than once"):
        reading._each_once([*names, names[-1]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"reason": "a", "reason": "b"}', "reason: is given more than once"),
        (b'{"reason": NaN}', "NaN"),
        (b'{"reason": -Infinity}', "Infinity"),
        (b'{"reason": ' + b"9" * 5000 + b"}", "too long"),
        (b"[" * 30_000, "deep"),
        (b'{"reason": ' + b"[" * 50 + b"]" * 50 + b"}", "deep"),
        (b'{"reason": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", "deep"),
        (b'{"reason": "\\ud83d\\ude00', "is not JSON"),
        (b"{}x", "is not JSON from character 2 on"),
    ],
    ids=str,
)
async def test_json_that_is_odd(content: bytes, words: str, shared_api: Api) -> None:
    """Names given twice, what only Python reads and what nests too deeply are refused in words."""
    answer = await shared_api.post("/v1/sweeps", content=content[:60_000], headers=AS_JSON)
    assert 422 == answer.status_code
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00", b'{"reason": "\xed\xa0\x80"}', b"\x80"])
async def test_a_body_that_is_not_utf_8(content: bytes, shared_api: Api) -> None:
    """Another encoding, and half a character in bytes, are a 400."""
    answer = await shared_api.post("/v1/sweeps", content=content, headers=AS_JSON)
    assert (400, "malformed-body") == (answer.status_code, answer.json()["type"].split(":")[-1])


async def test_whole_characters_pass(api: Api) -> None:
    """A character outside of the first plane is one, however JSON writes it."""
    answer = await api.put(
        f"/v1/sessions/{uuid4()}",
        content=json.dumps(a_body(title="\N{GRINNING FACE}", location="Caf\xe9")),
        headers=AS_JSON,
    )
    assert answer.is_success
    assert "\N{GRINNING FACE}" == answer.json()["title"]


async def test_every_route_refuses_an_unknown_parameter(shared_api: Api) -> None:
    """A `?dry_run=true` that is not understood does nothing: a 422 that names it."""
    document: Json = (await shared_api.get("/openapi.json")).json()
    tried = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "dry_run" in {p["name"] for p in operation.get("parameters", ())}:
                continue
            if path.startswith(("/stop/", "/calendar/")) and method == "get":
                continue
            url = path.replace("{", "").replace("}", "")
            for name in ("session_id", "user_id", "reminder_id"):
                url = url.replace(name, SOMEBODY)
            answer = await shared_api.request(method.upper(), f"{url}?dry_run=true")
            assert 422 == answer.status_code, (method, path)
            assert [{"field": "dry_run", "message": "is not a parameter of this path"}] == (
                answer.json()["errors"]
            )
            tried += 1
    assert tried >= 30
    for path in ("/docs", "/openapi.json", "/static/admin/icon.svg"):
        assert 422 == (await shared_api.get(f"{path}?dry_run=true")).status_code


async def test_what_is_not_understood_does_not_act(api: Api, database: Database) -> None:
    """Neither a query nor a body that nobody reads lets a call through."""
    session_id, user_id = await api.enrolled()
    for method, path, body in (
        ("POST", f"/v1/sessions/{session_id}/cancel?dry_run=true", None),
        ("DELETE", f"/v1/enrollments/{session_id}/{user_id}?dry_run=true", None),
        ("DELETE", f"/v1/enrollments/{session_id}/{user_id}", {"dry_run": True}),
        ("DELETE", f"/v1/users/{user_id}", {"dry_run": True}),
        ("DELETE", f"/v1/users/{user_id}?dry_run=true&dry_run=false", None),
    ):
        answer = await api.request(method, path, json=body)
        assert 422 == answer.status_code, (method, path)
    catalogue = Catalogue(database)
    assert "scheduled" == (await catalogue.session(session_id)).status
    assert "confirmed" == await catalogue.enrollment_status(session_id, user_id)


async def test_a_parameter_twice(shared_api: Api) -> None:
    """Which of two counts is nobody's guess."""
    answer = await shared_api.get("/v1/reminders?limit=1&limit=2")
    assert 422 == answer.status_code
    assert [{"field": "limit", "message": "is given more than once"}] == answer.json()["errors"]


@pytest.mark.usefixtures("no_sweep_left")
@pytest.mark.parametrize(
    "count",
    [1, pytest.param(len(HOSTILE), marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
    ids=["some", "all"],
)
async def test_nothing_hostile_is_a_mistake_of_ours(
    settings: Settings, database_url: str, client: Client, count: int
) -> None:
    """NUL and odd values, in each field of path, query and body of the documentation: never a 500."""
    alone = settings.model_copy(update={"database_url": SecretStr(database_url)})
    async with serving(alone) as api, a_worker(client, alone):
        document: Json = (await api.get("/openapi.json")).json()
        odd = random.Random(SEED)
        statuses = Counter[int]()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if method != "get":
                    await _somebody(api)
                for request in _requests(odd, path, method, operation, document, count=count):
                    answer = await api.request(**request)
                    statuses[answer.status_code] += 1
                    # Readiness is a 503 whatever is asked.
                    is_told = answer.status_code < 500 or path == "/readyz"
                    assert is_told, (SEED, ascii(request)[:500], answer.text)
    assert statuses[200] > 30
    assert statuses[422] > 100


async def _somebody(api: Api) -> None:
    """Somebody who is enrolled in something, whatever was done to them before."""
    await api.put(SESSION, json=a_body(status="scheduled"))
    await api.put(f"/v1/users/{SOMEBODY}", json={"email": "nobody@hospital.example"})
    await api.enroll(UUID(SOMEBODY), UUID(SOMEBODY))


def _requests(
    odd: random.Random, path: str, method: str, operation: Json, document: Json, *, count: int
) -> Iterator[Json]:
    """Requests that are as they should be, but for one value: NUL, and so many others."""
    parameters = {(p["in"], p["name"]): p["schema"] for p in operation.get("parameters", ())}
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    fields = {("body", *where): None for where in _places(_ordinary(schema, document))}
    for place in [*parameters, *fields]:
        for value in ["\x00", *odd.sample(HOSTILE, count)]:
            asked = {
                key: value if key == place else _ordinary(parameter, document, key[1])
                for key, parameter in parameters.items()
                if key == place or key[0] == "path"
            }
            url, query = path, []
            for (kind, name), given in asked.items():
                text = _quoted(given if isinstance(given, str) else json.dumps(given))
                if kind == "path":
                    url = url.replace(f"{{{name}}}", text or "-")
                else:
                    query.append(f"{name}={text}")
            request: Json = {"method": method.upper(), "url": f"{url}?{'&'.join(query)}"}
            if schema:
                body = _ordinary(schema, document)
                if place in fields:
                    body = _with(body, place[1:], value)
                request |= {"content": json.dumps(body), "headers": AS_JSON}
            yield request


def _ordinary(schema: Json, document: Json, name: str = "") -> Any:
    """A value that a schema describes, with everything in it that may be."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for kind in ("anyOf", "oneOf", "allOf"):
        if kind in schema:
            return _ordinary({**schema[kind][0], **_said(schema)}, document, name)
    if name.endswith("_id"):
        return SOMEBODY
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        fields = schema.get("properties", {})
        return {name: _ordinary(field, document, name) for name, field in fields.items()}
    if schema.get("type") == "array":
        return [_ordinary(schema["items"], document, name)]
    ordinary = {"integer": 1, "number": 1, "boolean": False, "uuid": SOMEBODY}
    ordinary |= {"date-time": "2030-12-01T15:00:00Z", "email": "a@hospital.example"}
    ordinary |= {"uri": "https://meet.example/1", "reminder_type": "24h", "time_zone": "UTC"}
    ordinary |= {"end_time": "2030-12-01T16:00:00Z", "locale": "es", "cursor": ""}
    keys = (name, schema.get("format", ""), schema.get("type", ""))
    said = next((ordinary[key] for key in keys if key in ordinary), "a word")
    return schema.get("examples", [said])[0]


def _said(schema: Json) -> Json:
    return {key: schema[key] for key in ("examples", "format") if key in schema}


def _places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a document a value stands, the document itself first."""
    yield where
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for name, part in inner:
        yield from _places(part, (*where, name))


def _with(document: Any, where: tuple[Any, ...], value: Any) -> Any:
    """A document with another value at a place."""
    if not where:
        return value
    document = document.copy()
    document[where[0]] = _with(document[where[0]], where[1:], value)
    return document


def _quoted(text: str) -> str:
    """A text as it stands in a URL, every byte of it written out."""
    return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogatepass"))
