"""The stand-in's rate limit and quotas, on a clock that only the test moves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from devstack.provider.limits import next_month_start
from tests.devstack.standin import MIDNIGHT, mail, standing_in


async def test_the_eleventh_request_of_a_second_is_refused() -> None:
    """Ten requests fit into a second, whatever they ask; the next one is a 429 with `retry-after`."""
    async with standing_in(rate=10) as stand_in:
        for used in range(1, 11):
            response = await stand_in.http.get("/usage")
            assert response.headers["ratelimit-limit"] == "10"
            assert response.headers["ratelimit-remaining"] == str(10 - used)
            assert response.headers["ratelimit-reset"] == "1"
        response = await stand_in.send(mail(), "key")
        assert (response.status_code, response.json()["name"]) == (429, "rate_limit_exceeded")
        assert response.headers["retry-after"] == "1"
        assert response.headers["ratelimit-remaining"] == "0"
        assert await stand_in.control.accepted() == []
        assert (await stand_in.control.stats())["refused_429"] == 1


async def test_windows_are_fixed_seconds_without_burst() -> None:
    """The count starts anew with the clock's second, and unused requests are not saved up."""
    async with standing_in(rate=2) as stand_in:
        statuses = []
        for at in (0.9, 0.95, 0.99, 1.0, 1.01, 1.5, 9.0, 9.1, 9.2):
            stand_in.time = MIDNIGHT + timedelta(seconds=at)
            statuses.append((await stand_in.send(mail())).status_code)
        assert statuses == [200, 200, 429, 200, 200, 429, 200, 200, 429]


async def test_all_keys_share_the_teams_limit() -> None:
    """The limit is the team's, not the key's; a request with a wrong key does not use it."""
    async with standing_in(rate=2, api_keys=("re_a", "re_b")) as stand_in:
        statuses = [
            (await stand_in.send(mail(), authorization=f"Bearer {key}")).status_code
            for key in ("re_wrong", "re_a", "re_b", "re_a")
        ]
        assert statuses == [403, 200, 200, 429]


async def test_the_stand_ins_own_routes_are_neither_limited_nor_counted() -> None:
    """The inbox and `/_/` work when the API's second is used up."""
    async with standing_in(rate=1) as stand_in:
        await stand_in.send(mail())
        for path in ("/_/health", "/_/stats", "/inbox"):
            assert (await stand_in.control.http.get(path)).status_code == 200
        assert (await stand_in.control.stats())["requests"] == 1


async def test_rate_zero_is_unlimited() -> None:
    """Without a limit nothing is refused and there are no rate-limit headers."""
    async with standing_in(rate=0) as stand_in:
        responses = [await stand_in.send(mail()) for _ in range(50)]
        assert {response.status_code for response in responses} == {200}
        assert "ratelimit-limit" not in responses[0].headers


async def test_a_request_that_does_not_fit_the_daily_quota_is_refused_whole() -> None:
    """Each recipient counts; what does not fit is a 429 and uses nothing, what fits still goes."""
    async with standing_in(daily_quota=5) as stand_in:
        first = await stand_in.send([mail(["a@b.dev", "c@d.dev"], cc="e@f.dev", bcc="g@h.dev")])
        assert first.headers["x-resend-daily-quota"] == "4"
        refused = await stand_in.send([mail(), mail()])
        assert (refused.status_code, refused.json()["name"]) == (429, "daily_quota_exceeded")
        assert refused.headers["x-resend-daily-quota"] == "4"
        assert (await stand_in.send(mail())).status_code == 200


async def test_the_daily_quota_is_renewed_at_midnight_utc() -> None:
    """It is a calendar day, not a rolling one."""
    async with standing_in(daily_quota=1) as stand_in:
        stand_in.pass_time(hours=23, minutes=59, seconds=59)
        assert (await stand_in.send(mail())).status_code == 200
        assert (await stand_in.send(mail())).status_code == 429
        stand_in.pass_time(seconds=1)
        response = await stand_in.send(mail())
        assert response.headers["x-resend-daily-quota"] == "1"
        assert response.headers["x-resend-monthly-quota"] == "2"


async def test_the_month_is_counted_anew_on_its_first() -> None:
    """Its days add up, and without a daily quota nothing is said of a day."""
    async with standing_in() as stand_in:
        await stand_in.send(mail())
        stand_in.pass_time(days=10)
        second = await stand_in.send(mail())
        assert second.headers["x-resend-monthly-quota"] == "2"
        assert "x-resend-daily-quota" not in second.headers
        stand_in.pass_time(days=21)
        assert (await stand_in.send(mail())).headers["x-resend-monthly-quota"] == "1"


async def test_a_replay_uses_no_quota() -> None:
    """Only what is accepted counts."""
    async with standing_in(daily_quota=1) as stand_in:
        await stand_in.send(mail(), "key")
        again = await stand_in.send(mail(), "key")
        assert (again.status_code, again.headers["x-resend-daily-quota"]) == (200, "1")


async def test_usage_tells_rate_quotas_and_when_they_are_renewed() -> None:
    """`GET /usage` is what a client needs to pace itself and to wait for a quota."""
    async with standing_in(rate=10, daily_quota=100) as stand_in:
        await stand_in.send([mail()] * 3)
        usage = (await stand_in.http.get("/usage")).json()
        assert usage["rate_limit"] == {"limit": 10, "duration": "1000ms"}
        assert usage["emails"] == {
            "daily": {
                "used": 3,
                "limit": 100,
                "sent": 3,
                "received": 0,
                "resets_at": "2026-12-02T00:00:00.000000Z",
            },
            "monthly": {
                "used": 3,
                "limit": None,
                "sent": 3,
                "received": 0,
                "resets_at": "2027-01-01T00:00:00.000000Z",
            },
        }


async def test_without_quotas_usage_has_no_limits() -> None:
    """A plan without quotas says null."""
    async with standing_in() as stand_in:
        emails = (await stand_in.http.get("/usage")).json()["emails"]
        assert (emails["daily"]["limit"], emails["monthly"]["limit"]) == (None, None)


@pytest.mark.parametrize("day", [1, 28, 31])
def test_the_next_month_starts_on_its_first(day: int) -> None:
    """From any day of a month the next one starts at its first midnight."""
    assert next_month_start(MIDNIGHT.replace(day=day, hour=23)) == MIDNIGHT.replace(
        year=2027, month=1
    )


async def test_every_request_takes_the_latency() -> None:
    """The configured latency is waited on accepted, replayed and read requests alike."""
    async with standing_in(latency=timedelta(milliseconds=20)) as stand_in:
        await stand_in.send(mail(), "key")
        await stand_in.send(mail(), "key")
        await stand_in.http.get("/usage")
        assert stand_in.slept == [0.02, 0.02, 0.02]
