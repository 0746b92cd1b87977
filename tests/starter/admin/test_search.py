"""Searches: no name in a URL, and Back, reload and a second tab find them again."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from starter.admin.cookies import LONGEST_SEARCH, Operator, SearchHistory
from tests.starter.admin.conftest import NAME, PASSWORD, Pages

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MARIA = Operator(name="maria", sign_in_id="m1", since=NOW, seen_at=NOW)
EVE = Operator(name="eve", sign_in_id="e1", since=NOW, seen_at=NOW)


def test_a_search_is_remembered_for_one_sign_in_alone() -> None:
    """The same text keeps its id; nobody else who uses the browser, and no forger, sees it."""
    history = SearchHistory(b"key")
    first, cookie = history.add(None, MARIA, "Ana Ruiz")
    second, cookie = history.add(cookie, MARIA, "Sepsis")
    assert (first, cookie) != history.add(cookie, MARIA, "Ana Ruiz")
    assert first == history.add(cookie, MARIA, "Ana Ruiz")[0]
    assert {first: "Ana Ruiz", second: "Sepsis"} == history.read(cookie, MARIA)
    assert {} == history.read(cookie, EVE) == history.read("forged", MARIA)
    assert {} == SearchHistory(b"another").read(cookie, MARIA)


def test_the_cookie_stays_small_enough_for_browsers() -> None:
    """The oldest searches are forgotten first; the longest one there may be always fits."""
    history, cookie = SearchHistory(b"key"), None
    for n in range(40):
        widest = "".join(chr(0x1F300 + (n * 7 + 11 * i) % 700) for i in range(LONGEST_SEARCH))
        newest, cookie = history.add(cookie, MARIA, widest)
        assert len(cookie) < 4000
    assert widest == history.read(cookie, MARIA)[newest]


async def test_the_header_finds_people_and_sessions(pages: Pages) -> None:
    """By a part of a name, an address or a title; what is found alone is shown at once."""
    name, title = f"Zoë {uuid4().hex[:8]}", f"Sepsis {uuid4().hex[:8]}"
    user_id, session_id = uuid4(), await pages.api.session(title=title)
    body = {"email": f"{user_id.hex[:8]}@hospital.example", "full_name": name}
    await pages.api.put(f"/v1/users/{user_id}", json=body)
    for text, path in (
        (name, f"/admin/people/{user_id}"),
        (body["email"], f"/admin/people/{user_id}"),
        (title, f"/admin/sessions/{session_id}"),
    ):
        found = await pages.submit("/admin/search", q=text)
        shown = await pages.get(found.headers["location"])
        assert (303, path) == (shown.status_code, shown.headers["location"]), text
    session_of_hers = await pages.api.session(title=f"About {name}")
    both = await pages.get((await pages.submit("/admin/search", q=name)).headers["location"])
    assert 200 == both.status_code
    assert f"/admin/people/{user_id}" in both.text
    assert f"/admin/sessions/{session_of_hers}" in both.text


async def test_no_search_shows_what_was_searched_for_in_its_url(pages: Pages) -> None:
    """Whichever field it is typed into; the page itself, and its title, can be gone back to."""
    session_id = await pages.api.session()
    for path in ("/search", "/people", "/sessions", f"/sessions/{session_id}/roster"):
        answer = await pages.submit(f"/admin{path}", q="Nobody Nowhere")
        location = answer.headers["location"]
        assert 303 == answer.status_code
        assert "Nobody" not in location
        for _ in range(2):
            shown = await pages.get(location)
            assert 200 == shown.status_code, location
            assert "Nobody Nowhere" in shown.text
            assert "Nobody" not in shown.text.partition("</title>")[0]


async def test_a_search_that_is_forgotten_asks_to_search_again(pages: Pages) -> None:
    """In another browser, or after signing in once more."""
    location = (await pages.submit("/admin/people", q="ana")).headers["location"]
    await pages.sign_in(NAME, PASSWORD)
    answer = await pages.get(location)
    assert (410, True) == (answer.status_code, "search again" in answer.text)
