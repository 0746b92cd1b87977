"""Who may see the pages: signing in and out, cookies, too many tries, and nobody from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from itsdangerous import URLSafeSerializer

from reminders.domain.errors import ConfigurationError
from reminders.settings import Settings, load
from starter.admin.auth import FREE_TRIES, LONGEST_WAIT, MOST_TOGETHER, SignInRateLimit
from starter.admin.cookies import COOKIE, IDLE, LONGEST, SignInCookies
from tests.starter.admin.conftest import PASSWORD, Pages, with_sign_in
from tests.starter.conftest import serving

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class _Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


async def test_an_operator_is_sent_to_sign_in_and_then_to_the_page_they_wanted(
    visit: Pages,
) -> None:
    """The page that was asked for comes after the password."""
    asked = await visit.get("/admin/failed?reason=quota")
    assert (303, "/admin/sign-in?next=%2Fadmin%2Ffailed%3Freason%3Dquota") == (
        asked.status_code,
        asked.headers["location"],
    )
    answer = await visit.post(
        "/admin/sign-in",
        data={"username": "maria", "password": PASSWORD, "next": "/admin/failed?reason=quota"},
    )
    assert (303, "/admin/failed?reason=quota") == (answer.status_code, answer.headers["location"])
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/admin" in cookie
    assert 200 == (await visit.get("/admin/failed")).status_code


@pytest.mark.parametrize(
    ("name", "password"), [("maria", "wrong"), ("root", PASSWORD), ("", ""), ("maria", "\ud800\0")]
)
async def test_a_wrong_name_or_password_is_refused(visit: Pages, name: str, password: str) -> None:
    """Neither is told apart from the other, and no cookie is given."""
    fields = {"username": name, "password": password.encode(errors="surrogatepass")}
    answer = await visit.post("/admin/sign-in", data=fields)
    assert 401 == answer.status_code
    assert "Name or password is wrong." in answer.text
    assert "set-cookie" not in answer.headers


async def test_after_too_many_tries_even_the_right_password_has_to_wait(visit: Pages) -> None:
    """Guessing gets slower and slower; the answer says how long to wait."""
    for _ in range(FREE_TRIES):
        assert 401 == (await visit.sign_in(password="wrong")).status_code
    answer = await visit.sign_in()
    assert 429 == answer.status_code
    assert int(answer.headers["retry-after"]) >= 1


def test_the_wait_doubles_and_ends() -> None:
    """Each wrong password doubles the wait up to a quarter of an hour; an hour forgives."""
    limit, now, waits = SignInRateLimit(), NOW, []
    for _ in range(FREE_TRIES + 12):
        limit.failed("203.0.113.7", now)
        waits.append(limit.wait("203.0.113.7", now).total_seconds())
        now += limit.wait("203.0.113.7", now)
    assert [0, 0, 0, 0, 2, 4, 8] == waits[:7]
    assert LONGEST_WAIT.total_seconds() == waits[-1]
    assert timedelta() == limit.wait("203.0.113.8", now)
    assert timedelta() == limit.wait("203.0.113.7", now + timedelta(hours=1))


def test_many_addresses_together_are_slowed_too() -> None:
    """A guess from each of many addresses does not help, and who signed in before is let through."""
    limit = SignInRateLimit()
    limit.succeeded("198.51.100.1")
    for n in range(MOST_TOGETHER):
        limit.failed(f"2001:db8:{n:x}::1", NOW)
    assert limit.wait("192.0.2.1", NOW) > timedelta()
    assert timedelta() == limit.wait("198.51.100.1", NOW)
    assert timedelta() == limit.wait("192.0.2.1", NOW + timedelta(minutes=1))


def test_a_whole_ipv6_network_counts_as_one_address() -> None:
    """Whoever has a /64 has all of its addresses."""
    limit = SignInRateLimit()
    for n in range(FREE_TRIES):
        limit.failed(f"2001:db8::{n + 1:x}", NOW)
    assert limit.wait("2001:db8::ffff", NOW) > timedelta()


async def test_signing_out_ends_the_session_for_a_copy_of_its_cookie_too(pages: Pages) -> None:
    """The cookie is not only deleted in this browser."""
    copy = pages.cookies[COOKIE]
    answer = await pages.submit("/admin/sign-out")
    assert (303, "/admin/sign-in") == (answer.status_code, answer.headers["location"])
    pages.cookies.clear()
    again = await pages.get("/admin", headers={"cookie": f"{COOKIE}={copy}"})
    assert 303 == again.status_code


@pytest.mark.parametrize("kind", ["nonsense", "another-key", "cut", "empty"])
async def test_a_forged_cookie_is_none(visit: Pages, kind: str) -> None:
    """Only what this installation signed counts."""
    await visit.sign_in()
    good = visit.cookies[COOKIE]
    claim = {"name": "maria", "id": "x", "since": int(NOW.timestamp()), "seen": 2**33}
    forged = {
        "nonsense": "a.b.c",
        "another-key": str(
            URLSafeSerializer(b"guess", salt="reminders-admin-session").dumps(claim)
        ),
        "cut": good[:-4],
        "empty": "",
    }[kind]
    visit.cookies.clear()
    answer = await visit.get("/admin", headers={"cookie": f"{COOKIE}={forged}"})
    assert 303 == answer.status_code


def test_a_session_ends_when_idle_or_old() -> None:
    """An hour without a click, or half a day in any case."""
    clock = _Clock()
    cookies = SignInCookies(b"key", clock)
    operator = cookies.new("maria")
    clock.at += IDLE
    assert cookies.decode(cookies.encode(operator)) is not None
    clock.at += timedelta(seconds=1)
    assert cookies.decode(cookies.encode(operator)) is None
    clock.at = NOW
    while clock.at - NOW <= LONGEST:
        seen = cookies.decode(cookies.encode(operator))
        assert seen is not None
        operator = cookies.renewed(seen) or seen
        clock.at += IDLE / 2
    assert cookies.decode(cookies.encode(operator)) is None


async def test_a_new_password_ends_every_session(pages: Pages, admin_settings: Settings) -> None:
    """Also in other processes: they all make their key of the password."""
    cookie = {"cookie": f"{COOKIE}={pages.cookies[COOKIE]}"}
    async with serving(admin_settings) as same:
        assert 200 == (await same.get("/admin/people", headers=cookie)).status_code
    other = with_sign_in(admin_settings, admin_password="another one altogether")
    async with serving(other) as changed:
        assert 303 == (await changed.get("/admin/people", headers=cookie)).status_code


async def test_part_of_a_page_whose_session_has_ended_has_the_page_ask(visit: Pages) -> None:
    """A poll does not put the sign-in form into the middle of a page."""
    answer = await visit.get("/admin", headers={"hx-request": "true"})
    assert (204, "true") == (answer.status_code, answer.headers["hx-refresh"])


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/admin//x", "/v1"])
async def test_signing_in_leads_nowhere_else(visit: Pages, target: str) -> None:
    """A link that is made to look like ours ends at our first page."""
    answer = await visit.post(
        "/admin/sign-in", data={"username": "maria", "password": PASSWORD, "next": target}
    )
    assert "/admin" == answer.headers["location"]


async def test_a_link_from_elsewhere_gets_its_cookie_on_the_second_step(pages: Pages) -> None:
    """A strict cookie stays behind when another site leads here; nobody has to sign in again."""
    answer = await pages.get(
        "/admin/sign-in?next=/admin/runs", headers={"sec-fetch-site": "cross-site"}
    )
    assert 'http-equiv="refresh" content="0; url=/admin/runs"' in answer.text


async def test_the_cookie_is_secure_where_the_connection_is(visit: Pages) -> None:
    """Behind a proxy that ends TLS as well, when it says so."""
    answer = await visit.post(
        "https://127.0.0.1:8000/admin/sign-in", data={"username": "maria", "password": PASSWORD}
    )
    assert "Secure" in answer.headers["set-cookie"]


async def test_without_credentials_this_machine_needs_none(settings: Settings) -> None:
    """The demo and a first look are one click; forms are protected all the same."""
    open_ = Settings.model_validate({**dict(settings), "api_keys": ()})
    async with serving(open_) as api, Pages(api) as pages:
        assert 200 == (await pages.get("/admin/people")).status_code
        assert 403 == (await pages.post("/admin/search", data={"q": "x"})).status_code
        assert 303 == (await pages.submit("/admin/search", q="x")).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "reminders.example.com"},
        {"x-forwarded-for": "203.0.113.7"},
        {"forwarded": "for=203.0.113.7"},
    ],
)
async def test_without_credentials_nobody_else_gets_in(
    settings: Settings, headers: dict[str, str]
) -> None:
    """Neither by another name for this machine, nor through a proxy on it."""
    open_ = Settings.model_validate({**dict(settings), "api_keys": ()})
    async with serving(open_) as api, Pages(api) as pages:
        answer = await pages.get("/admin", headers=headers)
    assert 403 == answer.status_code
    assert "ADMIN_USERNAME" in answer.text


async def test_where_others_use_the_api_the_pages_need_credentials(settings: Settings) -> None:
    """With keys for the API but no password, the pages are closed and say what to set."""
    async with serving(settings) as api, Pages(api) as pages:
        answer = await pages.get("/admin")
    assert 403 == answer.status_code
    assert "Set ADMIN_USERNAME and ADMIN_PASSWORD" in answer.text


@pytest.mark.parametrize("name", ["ADMIN_USERNAME", "ADMIN_PASSWORD"])
def test_half_a_sign_in_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A name without a password, or the other way round, stops the start."""
    monkeypatch.setenv(name, "something")
    with pytest.raises(ConfigurationError, match=f"{name} is set"):
        load()
