"""The stand-in refuses as Resend's error table says."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.provider import exchange
from tests.devstack.standin import mail, standing_in

_BAD_ADDRESS = (
    "Invalid `{}` field. The email address needs to follow the `email@example.com` or "
    "`Name <email@example.com>` format."
)
_FAKE = (
    "Invalid `to` field. Please use our testing email address instead of domains like "
    "`example.com`."
)


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in mail().items() if key != name}


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        (_without("from"), "missing_required_field", "The `from` field is missing."),
        (_without("to"), "missing_required_field", "The `to` field is missing."),
        (mail([]), "missing_required_field", "The `to` field is missing."),
        (_without("subject"), "missing_required_field", "The `subject` field is missing."),
        (_without("html"), "missing_required_field", "Missing `html` or `text` field."),
        (mail("ana@clinic"), "validation_error", _BAD_ADDRESS.format("to")),
        (mail("ana @clinic.dev"), "validation_error", _BAD_ADDRESS.format("to")),
        (mail("Ana <ana@clinic.dev"), "validation_error", _BAD_ADDRESS.format("to")),
        (mail("änä@clinic.dev"), "validation_error", _BAD_ADDRESS.format("to")),
        (mail("ana@clinic.dev\nBcc: x@y.dev"), "validation_error", _BAD_ADDRESS.format("to")),
        (mail(7), "validation_error", _BAD_ADDRESS.format("to")),  # type: ignore[arg-type]
        (mail([7]), "validation_error", _BAD_ADDRESS.format("to")),  # type: ignore[list-item]
        (mail(cc="nobody"), "validation_error", _BAD_ADDRESS.format("cc")),
        (mail(bcc=["nobody"]), "validation_error", _BAD_ADDRESS.format("bcc")),
        (mail(reply_to="nobody"), "validation_error", _BAD_ADDRESS.format("reply_to")),
        (mail(**{"from": "Reminders"}), "validation_error", _BAD_ADDRESS.format("from")),
        (
            mail([f"u{n}@clinic.dev" for n in range(51)]),
            "validation_error",
            "Invalid `to` field. It must contain at most 50 recipients.",
        ),
        (
            mail("ana@example.com"),
            "validation_error",
            _FAKE,
        ),
        (
            mail(bcc="Ana <ana@TEST.com>"),
            "validation_error",
            _FAKE,
        ),
        (
            mail(subject=7),
            "validation_error",
            "Invalid `subject` field. It must be a string.",
        ),
        (
            mail(text=7),
            "validation_error",
            "Invalid `html` or `text` field. It must be a string.",
        ),
        (
            mail(headers={"X-Number": 7}),
            "validation_error",
            "Invalid `headers` field. Its values must be strings.",
        ),
        (
            mail(headers={"X Space": "7"}),
            "validation_error",
            "Invalid `headers` field. A name is not a valid header name.",
        ),
        (
            mail(headers=["X"]),
            "validation_error",
            "Invalid `headers` field. It must be an object.",
        ),
        (
            mail(tags=[{"name": "reminder id", "value": "1"}]),
            "validation_error",
            "Tags should only contain ASCII letters, numbers, underscores, or dashes.",
        ),
        (
            mail(tags=[{"name": "id", "value": "1" * 257}]),
            "validation_error",
            "Tags should have at most 256 characters.",
        ),
        (
            mail(tags=[{"name": "id"}]),
            "validation_error",
            "Invalid `tags` field. Each tag must have a `name` and a `value`.",
        ),
        (
            mail(tags=["id"]),
            "validation_error",
            "Invalid `tags` field. Each tag must have a `name` and a `value`.",
        ),
        (
            mail(tags={"id": "1"}),
            "validation_error",
            "Invalid `tags` field. It must be an array.",
        ),
        (
            mail(tags=[{"name": f"t{n}", "value": "1"} for n in range(76)]),
            "validation_error",
            "Invalid `tags` field. It must contain at most 75 tags.",
        ),
        (
            mail(scheduled_at="in 1 hour"),
            "validation_error",
            "The `scheduled_at` field is not supported by the stand-in.",
        ),
        ("text", "validation_error", "Each email must be an object."),
        ([], "validation_error", "The batch must contain at least one email."),
        ([mail()] * 101, "validation_error", "The batch must contain at most 100 emails."),
        (
            [mail(attachments=[{"filename": "a.ics", "content": "QQ=="}])],
            "validation_error",
            "The `attachments` field is not supported in batches.",
        ),
        ([mail(), mail("nobody")], "validation_error", _BAD_ADDRESS.format("to")),
    ],
)
async def test_a_bad_email_is_refused_by_name(body: object, name: str, message: str) -> None:
    """A 422 says what is wrong, and nothing of the request is accepted."""
    async with standing_in() as stand_in:
        response = await stand_in.send(body)
        assert response.status_code == 422
        assert response.json() == {"statusCode": 422, "name": name, "message": message}
        assert await stand_in.control.accepted() == []


@pytest.mark.parametrize(
    "email",
    [
        mail("Jürgen Groß <juergen@clinic.dev>"),
        mail('"Groß, Jürgen <jg>" <juergen@clinic.dev>'),
        mail([f"u{n}@clinic.dev" for n in range(50)]),
        mail(cc="a@b.dev", bcc=["c@d.dev"], reply_to=["e@f.dev"], html=None, text=""),
        mail(tags=[{"name": "a" * 256, "value": "-_" * 128}] * 75, headers={"X-A": ""}),
        mail(attachments=[{"filename": "a.ics", "content": "QQ=="}]),
        mail(headers=None, tags=None, cc=None, unknown="ignored"),
    ],
)
async def test_everything_the_documentation_allows_is_accepted(email: dict[str, Any]) -> None:
    """Names in any script, 50 recipients, 75 tags, one part only, absent fields as null."""
    async with standing_in() as stand_in:
        assert (await stand_in.send(email)).status_code == 200


async def test_example_addresses_are_accepted_when_asked_for() -> None:
    """`allow_example` lets the demo use addresses that belong to nobody."""
    async with standing_in(allow_example=True) as stand_in:
        assert (await stand_in.send(mail("ana@example.com"))).status_code == 200


@pytest.mark.parametrize(
    ("asked", "headers", "body", "refusal"),
    [
        (
            "POST /emails",
            {"authorization": ""},
            b"",
            (401, "missing_api_key", "Missing API Key"),
        ),
        (
            "POST /emails",
            {"authorization": "Basic cmVfeDo="},
            b"",
            (401, "missing_api_key", "Missing API Key"),
        ),
        (
            "POST /emails",
            {"authorization": "Bearer re_other"},
            b"",
            (403, "invalid_api_key", "API key is invalid"),
        ),
        (
            "POST /emails",
            {},
            b"{",
            (400, "validation_error", "The request body is not valid JSON."),
        ),
        (
            "POST /emails/batch",
            {},
            b"{}",
            (422, "validation_error", "The request body must be an array of emails."),
        ),
        (
            "POST /emails/batch",
            {"x-batch-validation": "lenient"},
            b"[]",
            (400, "validation_error", "The `x-batch-validation` header is not valid."),
        ),
        (
            "POST /emails",
            {"idempotency-key": ""},
            b"{}",
            (400, "invalid_idempotency_key", "The key must be between 1-256 chars."),
        ),
        (
            "POST /emails",
            {"idempotency-key": "k" * 257},
            b"{}",
            (400, "invalid_idempotency_key", "The key must be between 1-256 chars."),
        ),
        ("GET /emails/unknown", {}, b"", (404, "not_found", "Email not found")),
        (
            "POST /nowhere",
            {},
            b"",
            (404, "not_found", "The requested endpoint does not exist."),
        ),
        (
            "DELETE /emails",
            {},
            b"",
            (405, "method_not_allowed", "Method is not allowed for the requested path."),
        ),
        (
            "PATCH /emails/some-id",
            {},
            b"",
            (405, "method_not_allowed", "Method is not allowed for the requested path."),
        ),
    ],
)
async def test_a_bad_request_is_refused_by_name(
    asked: str, headers: dict[str, str], body: bytes, refusal: tuple[int, str, str]
) -> None:
    """Keys, paths, verbs and malformed bodies have their own rows in the error table."""
    method, _, path = asked.partition(" ")
    status, name, message = refusal
    async with standing_in(api_keys=("re_test",)) as stand_in:
        response = await stand_in.http.request(method, path, headers=headers, content=body)
        assert response.json() == {"statusCode": status, "name": name, "message": message}
        assert response.status_code == status


async def test_without_configured_keys_any_well_formed_key_is_accepted() -> None:
    """A key of the right form is enough, any other string is not."""
    async with standing_in() as stand_in:
        good = await stand_in.send(mail(), authorization="Bearer re_anything")
        bad = await stand_in.send(mail(), authorization="Bearer None")
        assert (good.status_code, bad.status_code) == (200, 403)


async def test_a_request_without_a_user_agent_never_reaches_the_api() -> None:
    """The edge answers 403 with code 1010, which is no JSON and carries no rate-limit headers."""
    async with standing_in(rate=10) as stand_in:
        response = await stand_in.send(mail(), user_agent="")
        assert (response.status_code, response.text) == (403, "error code: 1010")
        assert "json" not in response.headers["content-type"]
        assert "ratelimit-limit" not in response.headers


async def test_a_body_beyond_all_reason_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body larger than the limit is a 413 and is not kept."""
    monkeypatch.setattr(exchange, "MAX_BODY", 100)
    async with standing_in() as stand_in:
        assert (await stand_in.send(mail(html="x" * 100))).status_code == 413


async def test_a_failure_of_its_own_looks_like_one_of_resends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug or a full disk is a 500 `application_error`, is logged, and accepts nothing."""

    def fail(_: object) -> str:
        raise OSError("disk full")

    async with standing_in() as stand_in:
        with monkeypatch.context() as patch:
            # In the midst of the transaction: what was written before it must go, too.
            patch.setattr("devstack.provider.store._encode", fail)
            response = await stand_in.send(mail(), "key")
        assert (response.status_code, response.json()["name"]) == (500, "application_error")
        assert "disk full" in caplog.text
        assert await stand_in.control.accepted() == []
        assert (await stand_in.send(mail(), "key")).status_code == 200
