"""What the pages refuse or make harmless: forms from elsewhere, huge ones, SQL and HTML in every field."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html import escape, unescape
from typing import Any
from uuid import UUID, uuid4

import pytest

from reminders.db.audit import LONGEST_REASON, AuditLog
from reminders.db.engine import Database
from starter.admin.cookies import COOKIE
from tests.starter.admin.conftest import Pages
from tests.starter.conftest import Api

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE session_reminder_emails; --",
    "{{ 7 * 7 }}{% raw %}",
    "%_\\",
    "\N{PILE OF POO}\u202eevil",
)


@pytest.fixture
async def pages(shared_pages: Api) -> AsyncIterator[Pages]:
    """Somebody who has just signed in, to an application that is not this test's own."""
    async with Pages(shared_pages) as pages:
        assert 303 == (await pages.sign_in()).status_code
        yield pages


async def test_a_form_without_its_token_is_refused(pages: Pages) -> None:
    """A cookie alone changes nothing."""
    session_id, _ = await pages.api.enrolled()
    answer = await pages.post(f"/admin/sessions/{session_id}/cancel", data={"reason": "x"})
    assert 403 == answer.status_code
    assert "scheduled" == (await pages.api.get(f"/v1/sessions/{session_id}")).json()["status"]


async def test_a_form_with_the_token_of_another_session_is_refused(pages: Pages) -> None:
    """Tokens belong to one session, as its cookie does."""
    foreign = await pages.token()
    await pages.sign_in()
    answer = await pages.post("/admin/search", data={"csrf": foreign, "q": "x"})
    assert 403 == answer.status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/admin/search", "/admin/sign-in"])
async def test_a_form_from_another_site_is_refused(
    pages: Pages, headers: dict[str, str], path: str
) -> None:
    """Even with the right token, and signing in as well."""
    fields = {"csrf": await pages.token(), "q": "x", "username": "maria", "password": "y"}
    answer = await pages.post(path, data=fields, headers=headers)
    assert 403 == answer.status_code


async def test_a_form_of_our_own_page_passes(pages: Pages) -> None:
    """Browsers say where a form is from; from here is fine."""
    headers = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    fields = {"csrf": await pages.token(), "q": "x"}
    assert 303 == (await pages.post("/admin/search", data=fields, headers=headers)).status_code


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_huge_form_is_refused_unread(pages: Pages, chunked: bool) -> None:
    """Announced or not, it never is in memory."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"q=" + b"x" * 1024

    headers = {"content-type": "application/x-www-form-urlencoded"}
    content = body() if chunked else b"q=" + b"x" * 100_000
    answer = await pages.post("/admin/search", content=content, headers=headers)
    assert 413 == answer.status_code


async def test_a_form_of_a_thousand_fields_is_refused(pages: Pages) -> None:
    """So many fields has no form of ours."""
    answer = await pages.submit("/admin/search", **{f"f{n}": "x" for n in range(1000)})
    assert 422 == answer.status_code


async def test_a_rule_that_is_due_with_another_comes_back_in_its_form(pages: Pages) -> None:
    """What was typed is still there, and what is wrong with it."""
    rule = {"reminder_type": "1day", "minutes_before": "1440", "sort_order": "0"}
    subject = "{session_title} is tomorrow, as typed"
    answer = await pages.submit(
        "/admin/rules/diff", verb="add", email_subject_template=subject, is_enabled="on", **rule
    )
    assert 409 == answer.status_code
    assert subject in answer.text
    assert "due at the same instant" in answer.text


@pytest.mark.parametrize("at", ["0001-01-01T00:00%2B14:00", "9999-12-31T23:59-10:00", "soon"])
async def test_an_instant_that_there_is_not(pages: Pages, at: str) -> None:
    """The field is named, and how it is written."""
    answer = await pages.get(f"/admin/preview?at={at}")
    assert 200 == answer.status_code, "the form is still there"
    assert "write for example 2026-12-01T15:00" in answer.text


@pytest.mark.parametrize("text", HOSTILE)
async def test_whatever_people_typed_is_shown_as_text(
    pages: Pages, database: Database, text: str
) -> None:
    """HTML, SQL and template code in titles, names, reasons and searches are only letters."""
    session_id = await pages.api.session(title=text, speaker_name=text, location=text)
    user_id = uuid4()
    body = {"email": "ana@hospital.example", "full_name": text}
    await pages.api.put(f"/v1/users/{user_id}", json=body)
    await pages.api.enroll(session_id, user_id)
    here = f"/admin/enrollments/{session_id}/{user_id}"
    answer = await pages.submit(f"{here}/cancel", reason=text)
    assert 303 == answer.status_code
    entries = await AuditLog(database).entries(session_id=session_id)
    assert [text] == [entry.reason for entry in entries]
    for path in (
        f"/admin/sessions/{session_id}",
        f"/admin/sessions/{session_id}/cancel",
        here,
        f"{here}/cancel",
        f"/admin/people/{user_id}",
        answer.headers["location"],
        f"/admin/audit?session={session_id}",
    ):
        shown = await pages.get(path)
        assert 200 == shown.status_code, path
        assert escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in shown.text, (
            path
        )
        assert "<script>alert" not in shown.text
        assert "<img src=x" not in shown.text
    for path in (f"/admin/sessions/{session_id}/roster", "/admin/people", "/admin/search"):
        found = await pages.get((await pages.submit(path, q=text)).headers["location"])
        assert found.status_code in (200, 303), path
    listed = await pages.submit("/admin/sessions", q=text)
    assert f"/admin/sessions/{session_id}" in (await pages.get(listed.headers["location"])).text


@pytest.mark.parametrize("path", ["/admin/people", "/admin/search"])
async def test_what_cannot_be_stored_is_refused_by_its_field(pages: Pages, path: str) -> None:
    """PostgreSQL keeps no NUL; that is said, not stumbled over."""
    answer = await pages.submit(path, q="a\0b")
    assert 422 == answer.status_code
    assert "q: has a character that cannot be stored" in answer.text


async def test_a_deed_needs_a_reason_of_bounded_length(pages: Pages) -> None:
    """Nothing is done without one, and no novel is kept."""
    session_id, _ = await pages.api.enrolled()
    for reason in ("", "   ", "x" * (LONGEST_REASON + 1)):
        answer = await pages.submit(f"/admin/sessions/{session_id}/cancel", reason=reason)
        assert 422 == answer.status_code
        assert "reason: " in answer.text
    assert "scheduled" == (await pages.api.get(f"/v1/sessions/{session_id}")).json()["status"]


@pytest.mark.parametrize(
    "path",
    [
        "/admin/nowhere",
        "/admin/sessions/not-a-uuid",
        f"/admin/sessions/{UUID(int=404)}",
        f"/admin/people/{UUID(int=404)}",
        f"/admin/enrollments/{UUID(int=404)}/{UUID(int=404)}",
        f"/admin/reminders/{UUID(int=404)}",
        "/admin/audit/999999999999999999999999",
    ],
)
async def test_what_does_not_exist_is_a_page_that_says_so(pages: Pages, path: str) -> None:
    """In words, with the way back, and as a 404."""
    answer = await pages.get(path)
    assert 404 == answer.status_code
    assert answer.headers["content-type"].startswith("text/html")
    assert "To the overview" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/admin/sessions?after=x",
        "/admin/sessions?after=2026-01-01~x",
        "/admin/reminders?status=x",
        "/admin/reminders?after=x",
        "/admin/failed?reason=x",
        "/admin/runs?after=x",
    ],
)
async def test_a_query_that_is_none_of_ours_names_its_field(pages: Pages, path: str) -> None:
    """Typed by hand or cut by a mail program."""
    answer = await pages.get(path)
    assert 422 == answer.status_code
    assert "Not acceptable" in answer.text


async def test_every_answer_has_the_headers_that_keep_others_out(pages: Pages) -> None:
    """Pages, errors and the way to sign in alike."""
    answers = [await pages.get(p) for p in ("/admin", "/admin/nowhere", "/admin/sign-in")]
    answers.append(await pages.post("/admin/search"))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "no-store" == answer.headers["cache-control"]
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "same-origin" == answer.headers["referrer-policy"]


async def test_addresses_do_not_reach_urls(pages: Pages, caplog: pytest.LogCaptureFixture) -> None:
    """URLs end up in logs: people are looked for in forms, and lead to ids."""
    await pages.api.user()
    await pages.api.user()
    for path in ("/admin/people", "/admin/search"):
        answer = await pages.submit(path, q="ana.ruiz@hospital.example")
        found = await pages.get(answer.headers["location"])
        assert found.text.count("<td>ana.ruiz@hospital.example</td>") > 1
        answer = await pages.submit(path, q="nobody@hospital.example")
        nobody = await pages.get(answer.headers["location"])
        assert (200, True) == (nobody.status_code, "matches <q>nobody@" in nobody.text)
    assert "hospital.example" not in caplog.text


@pytest.mark.parametrize(
    ("minutes", "says"),
    [
        ("-5", "minutes_before: must be a whole number, and no less than 0"),
        ("1.5", "minutes_before: must be a whole number, and no less than 0"),
        ("0", ">minutes_before is a whole number from 1 to"),
    ],
)
async def test_a_lead_that_is_none_is_refused_in_words(
    pages: Pages, minutes: str, says: str
) -> None:
    """Before anything is compared."""
    fields = {"verb": "add", "reminder_type": "odd", "email_subject_template": "Soon"}
    answer = await pages.submit("/admin/rules/diff", **fields, minutes_before=minutes)
    assert 422 == answer.status_code
    assert says in answer.text


async def test_a_rule_that_is_there_is_not_offered_to_be_added(pages: Pages) -> None:
    """That is said at once, and not after somebody wrote why; one session may have its own."""
    session_id = await pages.api.session()
    fields = {"verb": "add", "reminder_type": "2h", "email_subject_template": "Soon"}
    own = {"minutes_before": "150", "session": str(session_id)}
    answer = await pages.submit("/admin/rules/diff", **fields, minutes_before="150")
    assert 409 == answer.status_code
    assert 200 == (await pages.submit("/admin/rules/diff", **fields, **own)).status_code


async def test_a_rule_that_somebody_changed_meanwhile_is_looked_at_again(pages: Pages) -> None:
    """Saving what was shown would take back what was not; a second click on Save is no such change."""
    session_id = await pages.api.session()
    path, of_session = "/v1/reminder-configurations", {"session_id": str(session_id)}

    async def shown() -> dict[str, str]:
        page = await pages.submit(
            "/admin/rules/diff",
            verb="change",
            session=str(session_id),
            reminder_type="2h",
            email_subject_template="Soon",
            minutes_before="120",
            is_enabled="on",
        )
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        fields = {name: unescape(value) for name, value in hidden.items() if name != "csrf"}
        return {**fields, "reason": "a typing error"}

    async def rule() -> Any:
        rules = (await pages.api.get(path, params=of_session)).json()["items"]
        return next(r for r in rules if r["reminder_type"] == "2h")

    before = await shown()
    await pages.api.patch(f"{path}/2h", params=of_session, json={"is_enabled": False})
    assert 409 == (await pages.submit("/admin/rules/apply", **before)).status_code
    assert not (await rule())["is_enabled"]
    now = await shown()
    for _ in range(2):
        assert 200 == (await pages.submit("/admin/rules/apply", **now)).status_code
    assert (await rule())["is_enabled"]


async def test_what_cannot_be_rehearsed_or_shown_is_said_in_the_words_of_the_page(
    pages: Pages,
) -> None:
    """A session that there is not, one that is cancelled, and a zone that nobody knows."""
    nowhere = await pages.get(f"/admin/rehearsal?session={UUID(int=404)}")
    assert 404 == nowhere.status_code
    session_id = await pages.api.session(status="cancelled")
    cancelled = await pages.get(f"/admin/rehearsal?session={session_id}")
    assert (409, True) == (cancelled.status_code, "restore it first" in cancelled.text)
    preview = await pages.get("/admin/preview", params={"zone": "Mars/Base"})
    assert "zone: is not an IANA time zone" in preview.text


async def test_a_key_of_the_api_does_not_open_the_pages(pages: Pages) -> None:
    """And a cookie of the pages does not open the API."""
    assert 303 == (await pages.api.get("/admin")).status_code
    session_id = await pages.api.session(starts_in=timedelta(days=1))
    cookie = {"cookie": f"{COOKIE}={pages.cookies[COOKIE]}"}
    answer = await pages.get(f"/v1/sessions/{session_id}", headers=cookie)
    assert 401 == answer.status_code


ODD = (
    "\0",
    "\ud800",
    "9" * 40,
    "-1",
    "infinity",
    "9999-12-31T23:59:59~x",
    "x" * 3000,
    "e30=",
    "~",
    "",
)
"""What no page expects in its address."""


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/audit", "session user before"),
        ("/audit/{}", ""),
        ("/failed", "reason session"),
        ("/people/{}", ""),
        ("/preview", "session user rule at locale zone"),
        ("/preview/mail", "session user rule at locale zone scheme"),
        ("/redrive", "session"),
        ("/rehearsal", "session"),
        ("/reminders", "status after"),
        ("/rules", "session"),
        ("/rules/edit", "reminder_type session"),
        ("/runs", "after"),
        ("/search", "search"),
        ("/people", "search"),
        ("/sessions", "search period after"),
        ("/sessions/{}", "search status after"),
        ("/sign-in", "next"),
        ("/{}", ""),
    ],
)
async def test_no_address_is_a_mistake_of_ours(pages: Pages, path: str, names: str) -> None:
    """Odd values in every address are told on a page; an unknown or a second one is refused there."""
    session_id = await pages.api.session()
    for value in ODD:
        written = "".join(f"%{byte:02X}" for byte in value.encode(errors="surrogatepass"))
        url = f"/admin{path}".replace("{}", written if not names else str(session_id))
        for asked in [url, *(f"{url}?{name}={written}" for name in names.split())]:
            answer = await pages.get(asked)
            assert answer.status_code < 500, asked
            assert answer.has_redirect_location or "<h1>" in answer.text or "/mail" in path, asked
    first = f"{(names or 'x').split()[0]}=1"
    for query in ("dry_run=true", f"{first}&{first}"):
        answer = await pages.get(f"/admin{path}?{query}".replace("{}", "1" if names else "x"))
        assert answer.status_code in (404, 422), (path, query)
        assert "<h1>" in answer.text


async def test_a_form_with_text_that_cannot_be_stored(pages: Pages) -> None:
    """NUL in any field of a form is told on a page that names it."""
    session_id, _ = await pages.api.enrolled()
    for name, path in (("q", "/admin/people"), ("reason", f"/admin/sessions/{session_id}/cancel")):
        answer = await pages.submit(path, **{name: "a\0b"})
        assert (422, True) == (answer.status_code, f"{name}: " in answer.text)
    assert 422 == (await pages.submit("/admin/sign-in", username="\0", password="x")).status_code
