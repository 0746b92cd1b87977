"""The adapter for Resend: exact bytes out, one receipt per e-mail back, and nothing mixed up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
import resend
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.delivery_errors import MailUnavailableError
from reminders.domain.errors import ConfigurationError
from reminders.domain.ports import Accepted, Mailer, Refused
from reminders.mail.resend_wire import receipts_of
from tests.reminders.mail.cases import message
from tests.reminders.mail.resend_stub import KEY, accepted, answer, failed, mailer, posted, stub


async def test_the_wire_carries_exactly_the_encoded_bytes() -> None:
    """What was frozen is what is posted, byte for byte, with Resend's headers."""
    async with stub(accepted(2)) as server, mailer(server.url) as mail:
        body = mail.encode([message(1), message(2)])
        await mail.post(body, idempotency_key="batch-7")
    [request] = server.requests
    assert request.body == body
    assert request.line == "POST /emails/batch HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["idempotency-key"] == "batch-7"
    assert request.headers["x-batch-validation"] == "permissive"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"resend-python:{resend.get_version()}"


async def test_the_wire_carries_bytes_of_another_release() -> None:
    """A body frozen by an older release, spaced differently, is still posted as it is."""
    old = (
        b'[ {"from": "A <a@b.example>", "to": ["c@d.example"], "subject": "\\u00e9", "text": ""} ]'
    )
    async with stub(accepted(1)) as server, mailer(server.url) as mail:
        await mail.post(old, idempotency_key="old")
    assert server.requests[0].body == old


async def test_encoding_is_canonical() -> None:
    """Equal e-mails give equal bytes: compact, in UTF-8, with the reminder's id as a tag."""
    mail = mailer("http://127.0.0.1:9")
    email = message(7, reply_to="help@uni.example")
    body = mail.encode([email])
    assert body == mail.encode([message(7, reply_to="help@uni.example")])
    assert "“now” \u2028 🩺".encode() in body
    assert b'": ' not in body
    assert json.loads(body) == [
        {
            "from": "Reminders <reminders@uni.example>",
            "to": ["person7@uni.edu"],
            "subject": email.subject,
            "html": email.html,
            "text": email.text,
            "reply_to": "help@uni.example",
            "headers": {"X-Entity-Ref-ID": "00000000-0000-0000-0000-000000000007"},
            "tags": [{"name": "reminder_id", "value": "00000000-0000-0000-0000-000000000007"}],
        }
    ]
    assert "headers" not in json.loads(mail.encode([message(headers=())]))[0]
    await mail.aclose()


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_one_to_a_hundred_emails(count: int) -> None:
    """Resend's limit is met before anything is frozen."""
    async with mailer("http://127.0.0.1:9") as mail:
        with pytest.raises(ValueError, match="1 to 100"):
            mail.encode([message(i) for i in range(count)])


@pytest.mark.parametrize("key", ["", "x" * 257, "a\nb", "é"])
async def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    """A bad idempotency key is a mistake of ours, found before anything is posted."""
    async with stub(accepted(1)) as server, mailer(server.url) as mail:
        with pytest.raises(ValueError, match="256"):
            await mail.post(mail.encode([message()]), idempotency_key=key)
    assert server.requests == []


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"[]", b'"x"', b"\xff"])
async def test_a_body_that_is_no_batch_is_refused(body: bytes) -> None:
    """What `encode` cannot have written is not posted."""
    async with stub(accepted(1)) as server, mailer(server.url) as mail:
        with pytest.raises(ValueError):  # noqa: PT011 -- the kinds of broken JSON are many
            await mail.post(body, idempotency_key="k")
    assert server.requests == []


async def test_everything_accepted() -> None:
    """Each e-mail gets its own id, in the order of the body."""
    assert await posted(accepted(3), 3) == (Accepted("id-0"), Accepted("id-1"), Accepted("id-2"))


async def test_some_refused() -> None:
    """Refused e-mails are named by their place in the request, the others keep their order."""
    reply = answer(
        200,
        {
            "data": [{"id": "first"}, {"id": "third"}],
            "errors": [
                {"index": 3, "message": "Invalid `to` field: ana@uni.edu."},
                {"index": 1, "message": "The `to` field is missing."},
            ],
        },
    )
    assert await posted(reply, 4) == (
        Accepted("first"),
        Refused("The `to` field is missing."),
        Accepted("third"),
        Refused("Invalid `to` field: ***"),
    )


async def test_all_refused() -> None:
    """A success that accepts nothing is a receipt of refusals, not an error."""
    reply = answer(200, {"data": [], "errors": [{"index": 0, "message": "No."}]})
    assert await posted(reply) == (Refused("No."),)


@given(st.sets(st.integers(0, 99)), st.integers(1, 100))
def test_receipts_belong_to_their_emails(refused: set[int], count: int) -> None:
    """Whichever e-mails are refused, every receipt stands at its e-mail's place."""
    refused = {index for index in refused if index < count}
    receipts = receipts_of(
        {
            "data": [{"id": f"id-{i}"} for i in range(count) if i not in refused],
            "errors": [{"index": i, "message": f"no-{i}"} for i in refused],
        },
        count,
    )
    expected = [Refused(f"no-{i}") if i in refused else Accepted(f"id-{i}") for i in range(count)]
    assert list(receipts) == expected


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, {"data": [{"id": "one"}]}),
        answer(200, {"data": [{"id": str(i)} for i in range(3)]}),
        answer(200, {"data": [{"id": "a"}, {"id": "b"}], "errors": [{"index": 0, "message": "x"}]}),
        answer(200, {"data": [{"id": "a"}], "errors": [{"index": 2, "message": "x"}]}),
        answer(200, {"data": [{"id": "a"}], "errors": [{"index": -1, "message": "x"}]}),
        answer(200, {"data": [{"id": "a"}], "errors": [{"index": True, "message": "x"}]}),
        answer(200, {"data": [], "errors": [{"index": 1}, {"index": 1}]}),
        answer(200, {"data": [{"id": "a"}, {"id": ""}]}),
        answer(200, {"data": [{"id": "a"}, {"id": 7}]}),
        answer(200, {"data": "ab"}),
        answer(200, {}),
        answer(200, []),
        answer(200, None),
        answer(200, b""),
        answer(200, b"{"),
        answer(200, b"[" * 100_000),
        answer(200, b"9" * 10_000),
        answer(200, b"\xff\xfe"),
        answer(200, b"<html>Hello</html>", None, "text/html"),
        answer(201, b"", None, "text/plain"),
        answer(200, {"statusCode": 422, "name": "validation_error", "message": "x"}),
    ],
    ids=lambda reply: f"{len(reply)} bytes",
)
async def test_a_success_that_cannot_be_understood_leaves_the_outcome_unknown(reply: bytes) -> None:
    """Two e-mails may have been accepted: the same body under the same key will tell."""
    failure = await failed(reply, 2)
    assert type(failure) is MailUnavailableError
    assert failure.outcome_unknown


async def test_nobody_listening_means_nothing_was_accepted() -> None:
    """A refused connection is known not to have carried anything."""
    async with stub(None) as server:
        pass
    async with mailer(server.url) as mail:
        with pytest.raises(MailUnavailableError) as caught:
            await mail.post(mail.encode([message()]), idempotency_key="k")
    assert not caught.value.outcome_unknown
    assert str(caught.value) == "Resend cannot be reached (ConnectError)"


async def test_a_connection_cut_leaves_the_outcome_unknown() -> None:
    """The request arrived, and the answer did not."""
    failure = await failed(None)
    assert isinstance(failure, MailUnavailableError)
    assert failure.outcome_unknown


async def test_a_garbled_answer_leaves_the_outcome_unknown() -> None:
    """What is not HTTP is no answer, even behind a status of 200."""
    failure = await failed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n")
    assert isinstance(failure, MailUnavailableError)
    assert failure.outcome_unknown


async def test_silence_leaves_the_outcome_unknown() -> None:
    """A server that never answers is given up after the total time-out."""
    async with (
        stub(b"", answers_at_all=False) as server,
        mailer(server.url, seconds=2) as mail,
    ):
        with pytest.raises(MailUnavailableError) as caught:
            await mail.post(mail.encode([message()]), idempotency_key="k")
        assert server.requests
    assert caught.value.outcome_unknown
    assert caught.value.__suppress_context__


async def test_cancelling_is_not_an_error_of_the_provider() -> None:
    """A cancelled post ends as cancelled; the caller knows that it does not know."""
    async with stub(b"", answers_at_all=False) as server, mailer(server.url) as mail:
        post = asyncio.create_task(mail.post(mail.encode([message()]), idempotency_key="k"))
        await server.asked.wait()
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post


async def test_connections_are_made_before_they_are_needed() -> None:
    """Three for three posts at once; what asks for them has no key, and may be refused."""
    async with stub(answer(404, b"")) as server, mailer(server.url) as mail:
        await mail.warm(3)
        assert ["HEAD / HTTP/1.1"] * 3 == [request.line for request in server.requests]
        assert not [request for request in server.requests if "authorization" in request.headers]
        server.answer = accepted(1)
        body = mail.encode([message(1)])
        await asyncio.gather(*(mail.post(body, idempotency_key=f"key-{n}") for n in range(3)))
    assert 3 == server.connections


async def test_who_cannot_be_reached_beforehand_is_no_matter() -> None:
    """Nothing is raised: whoever posts finds out."""
    async with stub(None) as server, mailer(server.url) as mail:
        await mail.warm(2)
        assert 2 == server.connections


async def test_connections_are_reused() -> None:
    """Batches after each other share one connection."""
    async with stub(accepted(1)) as server, mailer(server.url) as mail:
        for number in range(5):
            await mail.post(mail.encode([message(number)]), idempotency_key=f"k{number}")
    assert len(server.requests) == 5
    assert server.connections == 1


async def test_mailers_do_not_take_each_others_calls() -> None:
    """Two mailers posting at once, each to its own server with its own key and bodies."""
    async with (
        stub(accepted(1)) as one,
        stub(accepted(2)) as two,
        mailer(one.url, api_key="re_one") as mail_one,
        mailer(two.url + "/proxy/", api_key="re_two") as mail_two,
    ):
        plans: list[tuple[Mailer, Sequence[int]]] = []
        for number in range(0, 40, 2):
            plans += [(mail_one, [number]), (mail_two, [number, number + 1])]
        bodies = [mail.encode([message(n) for n in numbers]) for mail, numbers in plans]
        receipts = await asyncio.gather(
            *(
                mail.post(body, idempotency_key=f"k{numbers[0]}")
                for (mail, numbers), body in zip(plans, bodies, strict=True)
            )
        )
    assert [len(each) for each in receipts] == [1, 2] * 20
    for server, key, own in ((one, "re_one", bodies[::2]), (two, "re_two", bodies[1::2])):
        assert {request.headers["authorization"] for request in server.requests} == {
            f"Bearer {key}"
        }
        assert sorted(request.body for request in server.requests) == sorted(own)
        for request in server.requests:
            first = json.loads(request.body)[0]["tags"][0]["value"]
            assert int(first.replace("-", ""), 16) == int(request.headers["idempotency-key"][1:])
    assert two.requests[0].line == "POST /proxy/emails/batch HTTP/1.1"


async def test_the_sdks_own_settings_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and URL that somebody left in the SDK's globals are neither used nor changed."""
    monkeypatch.setattr(resend, "api_key", "re_other")
    monkeypatch.setattr(resend, "api_url", "http://127.0.0.1:9/other")
    async with stub(accepted(1)) as server, mailer(server.url) as mail:
        await mail.post(mail.encode([message()]), idempotency_key="k")
    assert server.requests[0].line == "POST /emails/batch HTTP/1.1"
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert resend.api_key == "re_other"


@pytest.mark.parametrize("api_key", ["", " ", "re_a b", "re_a\n", "ré"])
async def test_a_key_that_cannot_be_one_is_refused(api_key: str) -> None:
    """A key with a stray space or line break is reported without quoting it."""
    with pytest.raises(ConfigurationError, match="API key is empty or has characters"):
        mailer("http://127.0.0.1:9", api_key=api_key)


@pytest.mark.parametrize("url", ["", "api.resend.com", "ftp://x", "https://", "http://[::1"])
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    """A base URL that nothing can be posted to is reported when the mailer is built."""
    with pytest.raises(ConfigurationError, match="API URL"):
        mailer(url)


def test_a_mailer_is_built_inside_a_loop() -> None:
    """The pool belongs to the loop that uses it."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        mailer("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "body",
    [
        [],
        [1],
        "all of it",
        7,
        None,
        {},
        {"emails": []},
        b"<html>",
        b"[" * 100_000,
        {
            "emails": {
                window: {"used": 2**40, "limit": None, "resets_at": "2026-12-01T00:00:00Z"}
                for window in ("daily", "monthly")
            }
        },
    ],
    ids=lambda body: str(body)[:20],
)
@pytest.mark.parametrize("status", [200, 401, 404, 500])
async def test_quotas_that_are_not_understood_are_not_known(status: int, body: object) -> None:
    """Whatever comes back instead of them, nothing fails for it: sending does not depend on them."""
    async with stub(answer(status, body)) as server, mailer(server.url) as mail:
        assert await mail.usage() is None
