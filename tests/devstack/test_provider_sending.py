"""The stand-in accepts e-mails once, remembers them, and shows them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID

import pytest

from devstack.provider.store import Store, StoreInUseError
from tests.devstack.standin import mail, standing_in


async def test_an_accepted_email_can_be_read_back() -> None:
    """The answer is an id; `GET /emails/{id}` has everything that was sent."""
    sent = mail("Ana <ana@clinic.dev>", text="Soon", tags=[{"name": "kind", "value": "24h"}])
    async with standing_in() as stand_in:
        email_id = (await stand_in.send(sent)).json()["id"]
        read = (await stand_in.http.get(f"/emails/{email_id}")).json()
        assert UUID(read.pop("id")) == UUID(email_id)
        assert read == {
            "object": "email",
            "message_id": f"<{email_id}@mail.invalid>",
            "from": "R <r@us.dev>",
            "to": ["Ana <ana@clinic.dev>"],
            "cc": None,
            "bcc": None,
            "reply_to": None,
            "subject": "Soon",
            "html": "<p>Soon</p>",
            "text": "Soon",
            "tags": [{"name": "kind", "value": "24h"}],
            "created_at": "2026-12-01 00:00:00.000000+00",
            "last_event": "delivered",
            "scheduled_at": None,
        }


async def test_a_batch_answers_in_the_order_of_the_request() -> None:
    """A hundred e-mails are one request and get a hundred ids, in their order."""
    async with standing_in() as stand_in:
        response = await stand_in.send([mail(f"u{n}@clinic.dev") for n in range(100)], "key")
        assert list(response.json()) == ["data"]
        accepted = await stand_in.control.accepted(bodies=True)
        assert [row["id"] for row in response.json()["data"]] == [row["id"] for row in accepted]
        assert [row["to"] for row in accepted] == [[f"u{n}@clinic.dev"] for n in range(100)]
        assert {row["html"] for row in accepted} == {"<p>Soon</p>"}
        assert {row["idempotency_key"] for row in accepted} == {"key"}
        stats = await stand_in.control.stats()
        assert (stats["requests"], stats["accepted"]) == (1, 100)
        assert stats["batch_sizes"] == {"100": 1}


async def test_a_strict_batch_is_all_or_nothing() -> None:
    """One bad e-mail refuses the whole batch with the first error."""
    async with standing_in() as stand_in:
        response = await stand_in.send([mail(), mail("nobody"), mail(subject=None)])
        assert response.json()["message"].startswith("Invalid `to` field.")
        assert await stand_in.control.accepted() == []


async def test_a_permissive_batch_accepts_the_good_ones() -> None:
    """`data` has the ids of the accepted only, `errors` the request's index of each other one."""
    bad = {key: value for key, value in mail().items() if key != "to"}
    batch = [mail("a@b.dev"), mail("nobody"), mail("c@d.dev"), bad, mail("e@f.dev")]
    async with standing_in() as stand_in:
        response = await stand_in.send(batch, x_batch_validation="permissive")
        assert response.status_code == 200
        answer = response.json()
        assert [error["index"] for error in answer["errors"]] == [1, 3]
        assert answer["errors"][1]["message"] == "The `to` field is missing."
        accepted = await stand_in.control.accepted()
        assert [row["id"] for row in answer["data"]] == [row["id"] for row in accepted]
        assert [row["to"] for row in accepted] == [["a@b.dev"], ["c@d.dev"], ["e@f.dev"]]
        assert [row["position"] for row in accepted] == [0, 2, 4]


async def test_a_permissive_batch_may_hold_nothing_good() -> None:
    """With every e-mail bad, the answer is a 200 with errors only, and the key keeps it."""
    async with standing_in() as stand_in:
        options = {"key": "k", "x_batch_validation": "permissive"}
        first = await stand_in.send([mail("nobody")], **options)
        assert first.json()["data"] == []
        again = await stand_in.send([mail("nobody")], **options)
        assert again.json() == first.json()
        assert (await stand_in.control.stats())["replayed"] == 1


async def test_the_same_key_and_body_are_accepted_once() -> None:
    """A repetition gets the first answer and sends nothing."""
    async with standing_in() as stand_in:
        first = await stand_in.send([mail(), mail()], "key")
        again = await stand_in.send([mail(), mail()], "key")
        assert (again.status_code, again.json()) == (200, first.json())
        stats = await stand_in.control.stats()
        assert (stats["requests"], stats["accepted"], stats["replayed"]) == (2, 2, 1)


async def test_the_same_key_with_another_body_is_refused() -> None:
    """One byte more, even without meaning, is another request."""
    async with standing_in() as stand_in:
        body = json.dumps(mail()).encode()
        await stand_in.post("/emails", body, "key")
        response = await stand_in.post("/emails", body + b" ", "key")
        assert (response.status_code, response.json()["name"]) == (
            409,
            "invalid_idempotent_request",
        )


async def test_keys_are_kept_apart_by_endpoint() -> None:
    """The same key means nothing at the other endpoint."""
    async with standing_in() as stand_in:
        assert (await stand_in.send(mail(), "key")).status_code == 200
        assert (await stand_in.send([mail()], "key")).status_code == 200
        assert len(await stand_in.control.accepted()) == 2


async def test_a_key_is_forgotten_after_a_day() -> None:
    """24 hours later the same key accepts anew; a moment earlier it does not."""
    async with standing_in() as stand_in:
        first = (await stand_in.send(mail(), "key")).json()
        stand_in.pass_time(hours=23, minutes=59)
        assert (await stand_in.send(mail(), "key")).json() == first
        stand_in.pass_time(minutes=1)
        assert (await stand_in.send(mail(), "key")).json() != first


async def test_a_request_in_flight_holds_its_key() -> None:
    """Until the first is answered, others with its key are told to come again."""
    async with standing_in() as stand_in:
        stand_in.gate.clear()
        await stand_in.control.faults(kind="slow", latency_ms=5000, count=1)
        first = asyncio.create_task(stand_in.send(mail(), "key"))
        await stand_in.waiting.wait()
        for body in (mail(), mail(subject="Other")):
            response = await stand_in.send(body, "key")
            assert response.status_code == 409
            assert response.json()["name"] == "concurrent_idempotent_requests"
        assert (await stand_in.send([mail()], "key")).status_code == 200
        stand_in.gate.set()
        assert (await first).status_code == 200
        assert (await stand_in.send(mail(), "key")).json() == (await first).json()


async def test_many_at_once_with_one_key_are_accepted_once() -> None:
    """Whatever the interleaving, one request is accepted and the others are replays or 409."""
    async with standing_in() as stand_in:
        responses = await asyncio.gather(*(stand_in.send(mail(), "key") for _ in range(20)))
        assert {response.status_code for response in responses} <= {200, 409}
        assert len({response.text for response in responses if response.status_code == 200}) == 1
        assert len(await stand_in.control.accepted()) == 1


@pytest.mark.parametrize("refusal", ["422", "429", "500"])
async def test_a_refused_request_does_not_use_up_its_key(refusal: str) -> None:
    """After a 4xx, a 429 or a 500 the key accepts, even another body."""
    async with standing_in(daily_quota=1) as stand_in:
        if refusal == "422":
            refused = await stand_in.send(mail("nobody"), "key")
        elif refusal == "429":
            refused = await stand_in.send(mail(["a@b.dev", "c@d.dev"]), "key")
        else:
            await stand_in.control.faults(kind="status", status=500, count=1)
            refused = await stand_in.send(mail(subject="Other"), "key")
        assert refused.status_code == int(refusal)
        assert (await stand_in.send(mail(), "key")).status_code == 200


async def test_what_was_accepted_survives_another_start(tmp_path: Path) -> None:
    """A new process on the same file knows the e-mails, the keys, the quotas, the suppressions."""
    file = tmp_path / "provider.db"
    async with standing_in(file, daily_quota=10) as stand_in:
        first = (await stand_in.send(mail(), "key")).json()
        await stand_in.send(mail("bounced+1@resend.dev"))
    async with standing_in(file, daily_quota=10) as stand_in:
        again = await stand_in.send(mail(), "key")
        assert again.json() == first
        assert again.headers["x-resend-daily-quota"] == "2"
        assert len(await stand_in.control.accepted()) == 2
        assert stand_in.provider.store.suppressions == {"bounced+1@resend.dev": "bounce"}


def test_a_file_has_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second stand-in on the same file does not start: it would not know what is in flight."""
    monkeypatch.setattr("devstack.provider.store.BUSY_SECONDS", 0)
    first = Store(tmp_path / "provider.db")
    with pytest.raises(StoreInUseError, match="in use"):
        Store(tmp_path / "provider.db")
    first.close()


async def test_accepted_emails_are_read_in_pages() -> None:
    """`since_seq` and `limit` page through everything accepted, in order, with nothing twice."""
    async with standing_in() as stand_in:
        await stand_in.send([mail(f"u{n}@clinic.dev") for n in range(7)])
        since, seen = 0, []
        while True:
            url = f"/_/accepted?since_seq={since}&limit=3"
            page = (await stand_in.control.http.get(url)).json()
            seen += [row["to"][0] for row in page["data"]]
            since = page["next_seq"]
            if not page["has_more"]:
                break
        assert seen == [f"u{n}@clinic.dev" for n in range(7)]
        assert (await stand_in.control.accepted(since_seq=since)) == []


async def test_requests_are_logged() -> None:
    """Every API request is noted with key, size, status and error name; `/_/` is not."""
    async with standing_in() as stand_in:
        await stand_in.send([mail()] * 3, "k1")
        await stand_in.send(mail("nobody"))
        first, second = await stand_in.control.requests()
        assert (first["path"], first["idempotency_key"], first["emails"]) == (
            "/emails/batch",
            "k1",
            3,
        )
        assert (second["status"], second["name"]) == (422, "validation_error")
        assert second["bytes"] == len(json.dumps(mail("nobody")))


async def test_a_reset_forgets_everything() -> None:
    """Afterwards there are no e-mails, keys, counts, suppressions or used quota."""
    async with standing_in(daily_quota=1) as stand_in:
        await stand_in.send(mail("bounced@resend.dev"), "key")
        await stand_in.control.reset()
        assert await stand_in.control.accepted() == []
        assert stand_in.provider.store.suppressions == {}
        assert (await stand_in.control.stats())["requests"] == 0
        response = await stand_in.send(mail(), "key")
        assert response.status_code == 200
        assert response.headers["x-resend-daily-quota"] == "1"
