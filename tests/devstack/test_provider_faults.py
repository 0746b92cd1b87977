"""The stand-in misbehaves as it is told to, and no longer than that."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.provider.exchange import DroppedError
from tests.devstack.standin import StandIn, mail, standing_in


async def _statuses(stand_in: StandIn, requests: int) -> list[int]:
    return [(await stand_in.send(mail())).status_code for _ in range(requests)]


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ({"status": 401}, "restricted_api_key"),
        ({"status": 403}, "invalid_api_key"),
        ({"status": 403, "name": "suspended_api_key"}, "suspended_api_key"),
        ({"status": 409}, "concurrent_idempotent_requests"),
        ({"status": 429}, "rate_limit_exceeded"),
        ({"status": 429, "name": "monthly_quota_exceeded"}, "monthly_quota_exceeded"),
        ({"status": 500}, "application_error"),
        ({"status": 503}, "service_unavailable"),
    ],
)
async def test_a_status_fault_answers_like_the_table(fault: dict[str, Any], name: str) -> None:
    """It has the error body, accepts nothing, and is over when its count is."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(kind="status", count=1, **fault)
        response = await stand_in.send(mail(), "key")
        assert response.status_code == fault["status"]
        assert response.json() == {
            "statusCode": fault["status"],
            "name": name,
            "message": "An injected fault.",
        }
        assert await stand_in.control.accepted() == []
        assert await _statuses(stand_in, 1) == [200]


async def test_a_storm_of_429_says_when_to_come_again() -> None:
    """`retry_after` becomes the header; a 429 has at least one second without it."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(kind="status", status=429, retry_after=2, count=1)
        await stand_in.control.faults(kind="status", status=429, count=1)
        await stand_in.control.faults(kind="status", status=503, count=1)
        headers = [(await stand_in.send(mail())).headers.get("retry-after") for _ in range(3)]
        assert headers == ["2", "1", None]


async def test_a_firewall_looks_at_what_is_in_a_request() -> None:
    """Only requests that contain what it does not like are refused, and those every time."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(
            kind="status", status=403, html=True, containing="ana@uni.example"
        )
        refused = [await stand_in.send(mail(to=["ana@uni.example"])) for _ in range(2)]
        assert [403, 403] == [response.status_code for response in refused]
        assert "403 Forbidden" in refused[0].text
        assert await _statuses(stand_in, 1) == [200]


async def test_a_proxy_answers_html() -> None:
    """A 502 may be a page, not JSON."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(kind="status", status=502, html=True, count=1)
        response = await stand_in.send(mail())
        assert response.headers["content-type"].startswith("text/html")
        assert "502 Bad Gateway" in response.text


async def test_a_failure_after_acceptance_is_found_by_its_key() -> None:
    """With `accept`, the answer is an error although the e-mail is accepted."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(kind="status", status=502, html=True, accept=True, count=1)
        assert (await stand_in.send(mail(), "key")).status_code == 502
        accepted = await stand_in.control.accepted()
        assert (await stand_in.send(mail(), "key")).json() == {"id": accepted[0]["id"]}
        assert len(await stand_in.control.accepted()) == 1


async def test_a_drop_after_acceptance_is_found_by_its_key() -> None:
    """No answer comes back, and the same key gets the ids of what was accepted."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(kind="drop_after_accept", count=1)
        with pytest.raises(DroppedError):
            await stand_in.send([mail(), mail()], "key")
        assert len(await stand_in.control.accepted()) == 2
        response = await stand_in.send([mail(), mail()], "key")
        assert len(response.json()["data"]) == 2
        assert len(await stand_in.control.accepted()) == 2
        dropped, answered = await stand_in.control.requests()
        assert (dropped["status"], dropped["name"]) == (0, "dropped")
        assert answered["replayed"]


async def test_a_drop_before_acceptance_leaves_nothing() -> None:
    """No answer comes back and nothing was accepted."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(kind="drop_before_accept", count=1)
        with pytest.raises(DroppedError):
            await stand_in.send(mail(), "key")
        assert await stand_in.control.accepted() == []


async def test_slowness_adds_up_with_other_faults() -> None:
    """All delays that apply are waited before the first real fault strikes."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(
            {"kind": "slow", "latency_ms": 250},
            {"kind": "slow", "latency_ms": 500, "path": "/emails/batch"},
            {"kind": "status", "status": 500, "latency_ms": 1000, "path": "/emails/batch"},
        )
        assert (await stand_in.send(mail())).status_code == 200
        assert (await stand_in.send([mail()])).status_code == 500
        assert stand_in.slept == [0.25, 1.75]


async def test_faults_are_picked_by_path_and_count() -> None:
    """A fault strikes only what it names, `count` times."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(kind="status", status=500, path="/emails", count=2)
        assert (await stand_in.send([mail()])).status_code == 200
        assert await _statuses(stand_in, 3) == [500, 500, 200]
        (fault,) = await stand_in.control.faults_in_force()
        assert (fault["hits"], fault["active"]) == (2, False)


async def test_the_first_of_several_faults_strikes_first() -> None:
    """Several faults take their turns in the order in which they were put in force."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(
            {"kind": "status", "status": 429, "count": 2},
            {"kind": "status", "status": 500, "count": 1},
        )
        assert await _statuses(stand_in, 4) == [429, 429, 500, 200]


async def test_faults_can_be_lifted() -> None:
    """All of them at once, and then requests are answered as ever."""
    async with standing_in() as stand_in:
        await stand_in.control.faults(
            {"kind": "status", "status": 500}, {"kind": "status", "status": 503}
        )
        assert await _statuses(stand_in, 1) == [500]
        await stand_in.control.clear_faults()
        assert await _statuses(stand_in, 1) == [200]
        assert await stand_in.control.faults_in_force() == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "earthquake"},
        {"kind": "status"},
        {"kind": "slow", "status": 500},
        {"kind": "slow", "hang": True},
        {"kind": "status", "status": 200},
        {"kind": "slow", "latency": 5},
        {"kind": "slow", "probability": 0},
        ["slow"],
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(fault: object) -> None:
    """A mistyped fault must not look like a system that stands everything."""
    async with standing_in() as stand_in:
        response = await stand_in.control.http.post("/_/faults", json=fault)
        assert response.status_code == 422
        assert await stand_in.control.faults_in_force() == []


async def test_rate_and_keys_come_before_faults() -> None:
    """A fault strikes only requests that were let in, so that its count is used on them."""
    async with standing_in(rate=1) as stand_in:
        await stand_in.control.faults(kind="status", status=500, count=1)
        assert (await stand_in.send(mail(), authorization="Bearer x")).status_code == 403
        response = await stand_in.send(mail())
        assert (response.status_code, response.headers["ratelimit-remaining"]) == (500, "0")
        assert await _statuses(stand_in, 1) == [429]
