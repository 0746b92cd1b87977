"""The stand-in tells what became of each e-mail, as Resend does: signed, at least once, unordered."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import resend

from devstack.provider import webhooks
from devstack.provider.webhooks import HttpPost
from tests.devstack.standin import SECRET, StandIn, mail, standing_in

HOOK: dict[str, Any] = {"webhook_url": "http://hook.test/x", "webhook_secret": SECRET}


async def test_a_delivered_email_is_told_in_two_events() -> None:
    """`email.sent`, then `email.delivered`, with `tags` as an object and the ids of the e-mail."""
    tags = [{"name": "reminder_id", "value": "r1"}, {"name": "kind", "value": "24h"}]
    async with standing_in(**HOOK) as stand_in:
        email_id = (await stand_in.send(mail(tags=tags))).json()["id"]
        sent, delivered = await stand_in.deliver()
        assert sent == {
            "type": "email.sent",
            "created_at": "2026-12-01T00:00:00.000000Z",
            "data": {
                "email_id": email_id,
                "message_id": f"<{email_id}@mail.invalid>",
                "created_at": "2026-12-01T00:00:00.000000Z",
                "from": "R <r@us.dev>",
                "to": ["ana@clinic.dev"],
                "subject": "Soon",
                "tags": {"reminder_id": "r1", "kind": "24h"},
            },
        }
        assert delivered["type"] == "email.delivered"
        assert delivered["created_at"] > sent["created_at"]


@pytest.mark.parametrize(
    ("address", "types", "details"),
    [
        ("delivered@resend.dev", ["email.sent", "email.delivered"], None),
        ("delivered+label@resend.dev", ["email.sent", "email.delivered"], None),
        ("bounced@resend.dev", ["email.sent", "email.bounced"], ("bounce", "Permanent")),
        (
            "Bounced+a <bounced+a@resend.dev>",
            ["email.sent", "email.bounced"],
            ("bounce", "Permanent"),
        ),
        (
            "complained+b@resend.dev",
            ["email.sent", "email.delivered", "email.complained"],
            None,
        ),
        (
            "suppressed@resend.dev",
            ["email.suppressed"],
            ("suppressed", "OnAccountSuppressionList"),
        ),
        ("suppressed+c@resend.dev", ["email.sent", "email.delivered"], None),
    ],
)
async def test_test_addresses_stand_for_outcomes(
    address: str, types: list[str], details: tuple[str, str] | None
) -> None:
    """They are accepted like any other; the events tell what they stand for."""
    async with standing_in(**HOOK) as stand_in:
        response = await stand_in.send(mail(address))
        assert response.status_code == 200
        events = await stand_in.deliver()
        assert [event["type"] for event in events] == types
        if details is not None:
            assert events[-1]["data"][details[0]]["type"] == details[1]
        read = (await stand_in.http.get(f"/emails/{response.json()['id']}")).json()
        assert read["last_event"] == types[-1].removeprefix("email.")


@pytest.mark.parametrize("outcome", ["bounced", "complained"])
async def test_bounced_and_complained_addresses_get_no_more_mail(outcome: str) -> None:
    """They join the suppression list: the next e-mail is accepted and suppressed."""
    async with standing_in(**HOOK) as stand_in:
        address = f"{outcome}+once@resend.dev"
        await stand_in.send(mail(address))
        await stand_in.deliver()
        assert (await stand_in.send(mail(address.upper()))).status_code == 200
        assert [event["type"] for event in await stand_in.deliver()] == ["email.suppressed"]


async def test_events_are_signed_so_that_the_sdk_accepts_them() -> None:
    """`resend.Webhooks.verify` takes the event, and refuses it with one byte changed."""
    async with standing_in(**HOOK) as stand_in:
        stand_in.time = datetime.fromtimestamp(time.time(), UTC)
        await stand_in.send(mail(subject="Größe"))
        await stand_in.deliver()
        for headers, body in stand_in.posted:
            payload = body.decode()

            def verify(payload: str, headers: dict[str, str] = headers) -> object:
                return resend.Webhooks.verify(
                    {
                        "payload": payload,
                        "headers": {
                            "id": headers["svix-id"],
                            "timestamp": headers["svix-timestamp"],
                            "signature": headers["svix-signature"],
                        },
                        "webhook_secret": SECRET,
                    }
                )

            assert verify(payload) == json.loads(body)
            with pytest.raises(ValueError, match="no matching signature"):
                verify(payload.replace("Gr", "gr"))


async def test_an_event_is_repeated_until_it_is_taken() -> None:
    """Each attempt has the same `svix-id` and a signature of its own time."""
    retries = (timedelta(seconds=5), timedelta(minutes=5))
    async with standing_in(**HOOK, webhook_retries=retries) as stand_in:
        stand_in.webhook_status = 500
        await stand_in.send(mail("suppressed@resend.dev"))
        assert len(await stand_in.deliver()) == 1
        assert await stand_in.deliver() == []
        stand_in.pass_time(seconds=5)
        stand_in.webhook_status = 204
        assert len(await stand_in.deliver()) == 1
        stand_in.pass_time(days=1)
        assert await stand_in.deliver() == []
        (first, _), (second, _) = stand_in.posted
        assert first["svix-id"] == second["svix-id"]
        assert int(second["svix-timestamp"]) - int(first["svix-timestamp"]) == 5
        assert first["svix-signature"] != second["svix-signature"]


async def test_an_event_is_given_up_in_the_end() -> None:
    """After the last wait of the schedule it is dropped and counted."""
    async with standing_in(**HOOK, webhook_retries=(timedelta(seconds=1),)) as stand_in:
        stand_in.webhook_status = 0
        await stand_in.send(mail("suppressed@resend.dev"))
        for _ in range(5):
            await stand_in.deliver()
            stand_in.pass_time(seconds=1)
        assert len(stand_in.posted) == 2
        stats = (await stand_in.control.stats())["webhooks"]
        assert (stats["given_up"], stats["failed_attempts"], stats["pending"]) == (1, 2, 0)


async def test_events_can_be_told_twice() -> None:
    """`webhook_twice` posts the same event with the same `svix-id` two times."""
    async with standing_in(**HOOK) as stand_in:
        await stand_in.control.faults(kind="webhook_twice", count=1)
        await stand_in.send(mail())
        events = await stand_in.deliver()
        assert Counter(event["type"] for event in events) == {"email.sent": 2, "email.delivered": 1}
        assert len({headers["svix-id"] for headers, _ in stand_in.posted}) == 2


async def test_events_can_be_told_out_of_order() -> None:
    """`webhook_out_of_order` keeps the first event back; `created_at` still has the true order."""
    async with standing_in(**HOOK) as stand_in:
        await stand_in.control.faults(kind="webhook_out_of_order", latency_ms=100, count=1)
        await stand_in.send([mail(), mail()])
        early = await stand_in.deliver()
        stand_in.pass_time(milliseconds=100)
        late = await stand_in.deliver()
        assert [event["type"] for event in early + late] == ["email.delivered"] * 2 + [
            "email.sent"
        ] * 2
        assert early[0]["created_at"] > late[0]["created_at"]


async def test_events_survive_another_start(tmp_path: Path) -> None:
    """What was accepted but not told before a crash is told after it."""
    file = tmp_path / "provider.db"
    async with standing_in(file, **HOOK) as stand_in:
        await stand_in.send(mail())
    async with standing_in(file, **HOOK) as stand_in:
        assert len(await stand_in.deliver()) == 2


async def test_nothing_is_queued_without_a_url() -> None:
    """A stand-in without a webhook keeps no events; one can be set, and restored, later."""
    async with standing_in(**{**HOOK, "webhook_url": None}) as stand_in:
        await stand_in.send(mail())
        assert (await stand_in.control.stats())["webhooks"]["pending"] == 0
        await stand_in.control.webhook("http://later.test/", SECRET)
        await stand_in.send(mail())
        assert (await stand_in.control.stats())["webhooks"]["pending"] == 2
        await stand_in.control.reset()
        assert (await stand_in.control.stats())["webhooks"]["url"] is None
        bad = await stand_in.control.http.put("/_/webhook", json={"to": "x"})
        assert bad.status_code == 422


async def test_a_reset_drops_events_on_their_way() -> None:
    """An event whose e-mail was forgotten is not told any more, and takes no newer one with it."""
    async with standing_in(**HOOK) as stand_in:
        await stand_in.send(mail())
        under_way = stand_in.provider.store.due_events(stand_in.time, 10)
        await stand_in.control.reset()
        assert await stand_in.deliver() == []
        await stand_in.send(mail())
        stand_in.provider.store.settle_events(under_way, [])
        assert len(await stand_in.deliver()) == 2


async def test_the_delivery_wakes_up_for_new_and_for_due_events() -> None:
    """The running delivery posts at once, and again when a retry is due, without being asked."""
    async with standing_in(**HOOK, webhook_retries=(timedelta(),)) as stand_in:
        stand_in.webhook_status = 500
        async with _delivering(stand_in):
            await stand_in.send(mail("suppressed@resend.dev"))
            await _told(stand_in, 2)


async def test_the_delivery_outlives_a_failure_of_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk, say, is logged, and the events are delivered once it is over."""
    monkeypatch.setattr(webhooks, "PAUSE", timedelta())
    failures = [OSError("disk full")]

    def sign(*_: object) -> str:
        if failures:
            raise failures.pop()
        return "v1,x"

    monkeypatch.setattr(webhooks, "sign", sign)
    async with standing_in(**HOOK) as stand_in, _delivering(stand_in):
        await stand_in.send(mail("suppressed@resend.dev"))
        await _told(stand_in, 1)
    assert "disk full" in caplog.text


@asynccontextmanager
async def _delivering(stand_in: StandIn) -> AsyncIterator[None]:
    """The delivery runs, and has nothing to do when the block begins."""
    running = asyncio.create_task(stand_in.provider.webhooks.run())
    await asyncio.sleep(0)
    yield
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def _told(stand_in: StandIn, events: int) -> None:
    """Wait until so many events were posted."""
    async with asyncio.timeout(5):
        while len(stand_in.posted) < events:
            await stand_in.told.wait()
            stand_in.told.clear()


Answerer = Callable[[bytes], bytes | None]


@asynccontextmanager
async def _listening(answer: Answerer) -> AsyncIterator[tuple[str, list[bytes], list[int]]]:
    """A listener; its URL, the requests it got, and one entry for each connection."""
    requests: list[bytes] = []
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                requests.append(head + await reader.readexactly(length))
                reply = answer(requests[-1])
                if reply is None:
                    break
                writer.write(reply)
        except EOFError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/hook?a=b", requests, connections


async def test_events_are_posted_on_kept_connections() -> None:
    """The request is plain HTTP/1.1, and the next one uses the same connection."""
    post = HttpPost()
    async with _listening(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (
        url,
        requests,
        connections,
    ):
        for _ in range(3):
            assert await post(url, {"svix-id": "msg_1"}, b"{}") == 200
        assert len(connections) == 1
        assert requests[0].startswith(b"POST /hook?a=b HTTP/1.1\r\nhost: 127.0.0.1:")
        assert requests[0].endswith(b"\r\nsvix-id: msg_1\r\n\r\n{}")
        await post.close()


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 500),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", 302),
        (b"nonsense\r\n\r\n", 0),
        (None, 0),
    ],
)
async def test_whatever_a_listener_answers_is_a_status(reply: bytes | None, status: int) -> None:
    """Its status if there is one, else 0; never an exception."""
    post = HttpPost()
    async with _listening(lambda _: reply) as (url, _, _):
        assert await post(url, {}, b"{}") == status
        await post.close()


async def test_a_connection_closed_meanwhile_is_no_failed_attempt() -> None:
    """When the listener has closed a kept connection, the event goes over a new one."""
    post = HttpPost()
    replies = [b"HTTP/1.1 204 No Content\r\n\r\n", None, b"HTTP/1.1 204 No Content\r\n\r\n"]
    async with _listening(lambda _: replies.pop(0)) as (url, _, connections):
        assert await post(url, {}, b"{}") == 204
        assert await post(url, {}, b"{}") == 204
        assert len(connections) == 2
        await post.close()


async def test_a_listener_that_is_not_there_is_a_status() -> None:
    """Nothing listens, or the URL is none: 0."""
    post = HttpPost()
    async with _listening(lambda _: None) as (url, _, _):
        pass
    assert await post(url, {}, b"{}") == 0
    assert await post("nonsense", {}, b"{}") == 0
