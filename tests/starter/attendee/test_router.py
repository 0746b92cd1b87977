"""The stop page and the calendar file, as attendees, mail programs and strangers meet them."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx2
import icalendar
import pytest
from playwright.async_api import Page
from pydantic import SecretStr
from sqlalchemy import delete, update
from sqlalchemy import text as sql
from temporalio.client import Client

from devstack.ports import free_ports
from reminders.db.audit import AuditLog
from reminders.db.engine import Database
from reminders.db.ledger import ReminderQueries
from reminders.db.preferences import block, withhold
from reminders.db.tables import SessionRow, UserRow
from reminders.domain.model import OptOut, StatusReason
from reminders.settings import Settings
from reminders.tokens import Purpose, Tokens
from starter.attendee.router import REDACT
from starter.services.handover import Handover
from tests import browser as looks
from tests.starter.conftest import ADDRESS, Api, a_body, a_worker, listening, serving

SECRET = "of-the-tests-only-0123456789-abcdefghij"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
TOKENS = Tokens([SECRET])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of the other tests here, with links."""
    return settings.model_copy(
        update={
            "public_base_url": "https://reminders.example",
            "token_secret": (SecretStr(SECRET),),
            "email_from": "Reminders <reminders@platform.example>",
            "email_product_name": "Faculty <of> Medicine",
        }
    )


@dataclass(frozen=True)
class Visit:
    """One attendee's links, followed without any key."""

    api: Api
    session_id: UUID
    user_id: UUID

    @property
    def stop(self) -> str:
        """Path of the stop page."""
        return f"/stop/{TOKENS.make(Purpose.STOP, self.session_id, self.user_id)}"

    @property
    def calendar(self) -> str:
        """Path of the calendar file."""
        return f"/calendar/{TOKENS.make(Purpose.CALENDAR, self.session_id, self.user_id)}.ics"

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """Open an address."""
        return await self.api.get(path, headers={"authorization": "", **headers})

    async def post(self, **fields: str) -> httpx2.Response:
        """Post to the stop page, as a browser or a mail program."""
        return await self.api.post(self.stop, data=fields, headers={"authorization": ""})

    async def statuses(self, database: Database) -> list[str]:
        """The enrollment's rows as `status` or `status: reason`, earliest due first."""
        rows = await ReminderQueries(database).of_enrollment(self.session_id, self.user_id)
        return [f"{r.status}: {r.reason}" if r.reason else str(r.status) for r in rows]


@pytest.fixture
async def visit(api: Api) -> Visit:
    """An attendee with three reminders ahead."""
    return Visit(api, *await api.enrolled(title="Cardiology update"))


async def test_links_end_long_after_their_session(api: Api, database: Database) -> None:
    """A day before they end all open; a day after, none does, and nothing is stopped by them."""
    visit = Visit(api, *await api.enrolled())
    for days, status in ((364, 200), (366, 404)):
        async with database.transaction() as connection:
            await connection.execute(
                update(SessionRow)
                .where(SessionRow.id == visit.session_id)
                .values(start_time=datetime.now(UTC) - timedelta(days=days), end_time=None)
            )
        followed = [await visit.get(visit.stop), await visit.get(visit.calendar)]
        followed.append(await visit.post(action="everything"))
        assert [status] * 3 == [answer.status_code for answer in followed]
        await visit.post(action="resume")
    assert status == (await visit.post(**ONE_CLICK)).status_code


@pytest.mark.usefixtures("impatient")
class TestStopPage:
    """GET and POST /stop/{token}."""

    async def test_opening_it_changes_nothing(self, visit: Visit, database: Database) -> None:
        """Scanners and previews open links: the page asks, and everything stays as it is."""
        answers = [await visit.get(visit.stop) for _ in range(2)]
        assert [200, 200] == [answer.status_code for answer in answers]
        assert "Stop reminders?" in answers[0].text
        assert "Cardiology update" in answers[0].text
        assert ["scheduled"] * 3 == await visit.statuses(database)

    async def test_what_is_added_to_a_link_on_its_way(
        self, visit: Visit, database: Database
    ) -> None:
        """Opening passes over anything; acting only what trackers add, never what it might mean."""
        for added in ("utm_source=mail&gclid=1", "v=2&v=3", "dry_run=true", "x=%00"):
            opened = await visit.get(f"{visit.stop}?{added}")
            assert (200, True) == (opened.status_code, 'action="?"' in opened.text)
            assert 200 == (await visit.get(f"{visit.calendar}?{added}")).status_code
        refused = await visit.api.post(f"{visit.stop}?dry_run=true", data=ONE_CLICK)
        assert (422, ["scheduled"] * 3) == (refused.status_code, await visit.statuses(database))
        done = await visit.api.post(f"{visit.stop}?utm_source=a&utm_source=b", data=ONE_CLICK)
        assert (200, ["skipped: opted_out"] * 3) == (
            done.status_code,
            await visit.statuses(database),
        )

    async def test_one_session(self, visit: Visit, database: Database, api: Api) -> None:
        """Stopping a session's reminders ends what waits for it, and leaves other sessions be."""
        other = Visit(api, await api.session(), visit.user_id)
        await api.enroll(other.session_id, other.user_id)
        answers = [await visit.post(action="session") for _ in range(2)]
        assert [200, 200] == [answer.status_code for answer in answers]
        assert "Reminders for this session are off" in answers[1].text
        assert ["skipped: opted_out"] * 3 == await visit.statuses(database)
        assert ["scheduled"] * 3 == await other.statuses(database)
        (entry,) = await AuditLog(database).entries(user_id=visit.user_id)
        assert ("preferences_changed", "attendee") == (entry.action, entry.actor)

    async def test_all(self, visit: Visit, database: Database, api: Api) -> None:
        """Stopping all reminders reaches every session, and those enrolled in later."""
        other = Visit(api, await api.session(), visit.user_id)
        await api.enroll(other.session_id, other.user_id)
        answer = await visit.post(action="everything")
        later = Visit(api, await api.session(), visit.user_id)
        await api.enroll(later.session_id, later.user_id)
        assert "All reminders are off" in answer.text
        for stopped in (visit, other, later):
            assert ["skipped: opted_out"] * 3 == await stopped.statuses(database)

    @pytest.mark.parametrize("fields", [ONE_CLICK, {"action": "session"}, {"action": "everything"}])
    async def test_however_much_is_stopped_already(
        self, visit: Visit, database: Database, fields: dict[str, str]
    ) -> None:
        """The bound is for programs: whoever has stopped hundreds of sessions can stop one more."""
        async with database.transaction() as connection:
            await connection.execute(
                sql("""
                WITH past AS (
                    INSERT INTO sessions (id, title, start_time)
                    SELECT gen_random_uuid(), 'Before', now() - interval '1 year'
                      FROM generate_series(1, 250) RETURNING id)
                INSERT INTO reminder_preferences (user_id, session_id, reason)
                SELECT :user_id, id, 'opted_out' FROM past
                """),
                {"user_id": visit.user_id},
            )
        assert 200 == (await visit.post(**fields)).status_code
        assert ["skipped: opted_out"] * 3 == await visit.statuses(database)
        path = f"/v1/users/{visit.user_id}/preferences"
        kept = {"opt_outs": [{"session_id": str(visit.session_id)}]}
        assert 200 == (await visit.api.put(path, json=kept)).status_code

    async def test_undo(
        self, visit: Visit, database: Database, client: Client, settings: Settings
    ) -> None:
        """Taking it back plans what still lies ahead anew, under the next generation, once."""
        async with a_worker(client, settings):
            await visit.post(action="session")
            await visit.post(action="everything")
            answers = [await visit.post(action="resume") for _ in range(2)]
        assert "Reminders are on again" in answers[1].text
        rows = await ReminderQueries(database).of_enrollment(visit.session_id, visit.user_id)
        assert {1: "skipped", 2: "scheduled"} == {r.generation: str(r.status) for r in rows}
        assert 6 == len(rows)

    async def test_who_has_left_is_not_told_that_they_stay_enrolled(
        self, visit: Visit, api: Api
    ) -> None:
        """There is nothing to stop for that session; what is stopped everywhere, still is."""
        assert "you stay enrolled" in (await visit.get(visit.stop)).text
        await api.delete(f"/v1/enrollments/{visit.session_id}/{visit.user_id}")
        page = (await visit.get(visit.stop)).text
        assert ["There are no more reminders for this session", "Stop all reminders"] == [
            words
            for words in (
                "There are no more reminders for this session",
                "you stay enrolled",
                'value="session"',
                "Stop all reminders",
            )
            if words in page
        ]

    async def test_who_gets_nothing_anyway_is_told_so(
        self, visit: Visit, database: Database
    ) -> None:
        """After a complaint nothing is sent, whatever they choose here: the page does not say otherwise.

        Of a single session it is known from a ledger that was restored; the others can be stopped.
        """
        async with database.transaction() as connection:
            only = [OptOut(visit.session_id, "24h")]
            await withhold(connection, visit.user_id, only, StatusReason.SPAM_COMPLAINT)
        assert "Stop all reminders" in (await visit.get(visit.stop)).text
        async with database.transaction() as connection:
            await block(connection, visit.user_id, ADDRESS, StatusReason.SPAM_COMPLAINT)
        for page in (await visit.get(visit.stop), await visit.post(action="resume")):
            assert "All reminders are off" in page.text
            assert "Turn them on again" not in page.text

    @pytest.mark.parametrize("encoding", ["form", "multipart"])
    async def test_one_click(self, visit: Visit, database: Database, encoding: str) -> None:
        """A mail program's post stops this session's reminders, without question or redirect."""
        if encoding == "form":
            answer = await visit.post(**ONE_CLICK)
        else:
            files = {name: (None, value) for name, value in ONE_CLICK.items()}
            answer = await visit.api.post(visit.stop, files=files)
        assert (200, b"") == (answer.status_code, answer.content)
        assert "set-cookie" not in answer.headers
        assert ["skipped: opted_out"] * 3 == await visit.statuses(database)

    async def test_a_stop_counts_whatever_its_workflow_does(
        self, visit: Visit, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is stored, and nothing goes out: another's namespace or an odd session changes no answer."""

        async def fails(*_: object, **__: object) -> None:
            raise ValueError

        monkeypatch.setattr(Handover, "hand_over", fails)
        assert 200 == (await visit.post(**ONE_CLICK)).status_code
        assert ["skipped: opted_out"] * 3 == await visit.statuses(database)

    @pytest.mark.parametrize("body", ["", "action=other", "action=resume2&x=" + "y" * 2000, "%"])
    async def test_a_post_that_says_nothing(
        self, visit: Visit, database: Database, body: str
    ) -> None:
        """What is neither stop nor undo changes nothing, and gets the page that asks."""
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = await visit.api.post(visit.stop, content=body, headers=headers)
        assert 400 == answer.status_code
        assert "Stop reminders?" in answer.text
        assert ["scheduled"] * 3 == await visit.statuses(database)

    async def test_headers(self, visit: Visit) -> None:
        """Nothing is loaded, framed, indexed, kept or passed on: the address is a credential."""
        for answer in (await visit.get(visit.stop), await visit.get("/stop/none")):
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "no-referrer" == answer.headers["referrer-policy"]
            assert "no-store" == answer.headers["cache-control"]
            assert "noindex" in answer.headers["x-robots-tag"]

    async def test_a_hostile_title(self, api: Api) -> None:
        """Markup in a title is shown, and is none."""
        visit = Visit(api, *await api.enrolled(title='<script>x</script>" onload="y'))
        text = (await visit.get(visit.stop)).text
        assert "<script" not in text
        assert "&lt;script&gt;x" in text

    async def test_a_session_that_is_over_or_gone(self, visit: Visit, database: Database) -> None:
        """Of the session there is nothing left to stop, of all others there is."""
        async with database.transaction() as connection:
            past = SessionRow.start_time - timedelta(days=30)
            await connection.execute(
                update(SessionRow).where(SessionRow.id == visit.session_id).values(start_time=past)
            )
        over = (await visit.get(visit.stop)).text
        async with database.transaction() as connection:
            await connection.execute(delete(SessionRow).where(SessionRow.id == visit.session_id))
        gone = (await visit.get(visit.stop)).text
        assert 200 == (await visit.post(**ONE_CLICK)).status_code
        assert 400 == (await visit.post(action="session")).status_code
        for text in (over, gone):
            assert "Stop reminders for this session" not in text
            assert "Stop all reminders" in text
        assert 200 == (await visit.post(action="everything")).status_code

    async def test_in_the_language_of_the_reader(self, visit: Visit, database: Database) -> None:
        """The page speaks the attendee's language, in their zone; without a person, the browser's."""
        async with database.transaction() as connection:
            await connection.execute(
                update(UserRow)
                .where(UserRow.id == visit.user_id)
                .values(locale="de-AT", time_zone="Europe/Vienna")
            )
        page = (await visit.get(visit.stop)).text
        assert '<html lang="de-AT"' in page
        assert "Erinnerungen abbestellen?" in page
        assert re.search(r"Ortszeit Wien \(UTC[+][12]\)", page), "as the e-mail names it"
        languages = {"accept-language": "xx, fr-CA;q=0.8, de;q=0.5"}
        assert "Ce lien ne fonctionne pas" in (await visit.get("/stop/none", **languages)).text
        english = {"accept-language": "en-GB,en;q=0.9,de;q=0.8"}
        assert "This link does not work" in (await visit.get("/stop/none", **english)).text

    async def test_it_says_whose_it_is(self, visit: Visit) -> None:
        """Every page carries the product's name, as the e-mails do: whoever follows a link knows."""
        for path in (visit.stop, "/stop/none"):
            page = (await visit.get(path)).text
            assert re.search("<title>.+ &middot; Faculty &lt;of&gt; Medicine</title>", page)
            assert '<p class="product">Faculty &lt;of&gt; Medicine</p>' in page

    async def test_postgresql_is_away(self, settings: Settings) -> None:
        """Nothing is done, and the page says that trying again is safe, and offers it."""
        (port,) = free_ports(1)
        url = SecretStr(f"postgresql://nobody@127.0.0.1:{port}/none")
        async with serving(settings.model_copy(update={"database_url": url})) as api:
            visit = Visit(api, uuid4(), uuid4())
            answers = [
                await visit.get(visit.stop),
                await visit.post(action="everything"),
                await visit.post(**ONE_CLICK),
                await visit.get(visit.calendar),
            ]
        assert [503] * 4 == [answer.status_code for answer in answers]
        assert all("retry-after" in answer.headers for answer in answers)
        assert "Trying again is safe" in answers[1].text
        assert 'name="action" value="everything"' in answers[1].text

    async def test_temporal_is_away(
        self, visit: Visit, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stop holds without Temporal, for the ledger holds it; an undo is to be repeated."""
        (port,) = free_ports(1)
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{port}")
        async with serving(settings) as api:
            away = replace(visit, api=api)
            stopped = await away.post(action="session")
            undone = await away.post(action="resume")
        assert 200 == stopped.status_code
        assert "Reminders for this session are off" in stopped.text
        assert 503 == undone.status_code
        assert 'value="resume"' in undone.text
        await visit.post(action="session")
        assert "scheduled" not in await visit.statuses(database)


@pytest.mark.usefixtures("impatient")
class TestStrangers:
    """What somebody without the e-mail can do."""

    async def test_a_calendar_link_that_names_nobody_is_explained_to_people(
        self, shared_api: Api
    ) -> None:
        """A browser shows a page in its reader's language; a calendar program gets a problem."""
        browser = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "fr-FR,fr;q=0.9"}
        page = await shared_api.get("/calendar/none.ics", headers=browser)
        assert (404, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
        assert "Ce lien ne fonctionne pas" in page.text
        assert "rappels" not in page.text  # what is said of stop links
        program = await shared_api.get("/calendar/none.ics", headers={"Accept": "text/calendar"})
        assert 404 == program.status_code
        assert program.headers["content-type"].startswith("application/problem+json")

    async def test_no_token_but_ours_opens_anything(
        self, visit: Visit, database: Database, shared_api: Api
    ) -> None:
        """Forged, cut, foreign, misused and made up: the same answer, and nothing is touched."""
        ours = visit.stop.rpartition("/")[2]
        theirs = Tokens(["somebody-else's-secret-0123456789abcdef"])
        bad = [
            ours[:-1],
            ours + "A",
            ours[:-1] + ("A" if ours[-1] != "A" else "B"),
            ours.swapcase(),
            theirs.make(Purpose.STOP, visit.session_id, visit.user_id),
            TOKENS.make(Purpose.CALENDAR, visit.session_id, visit.user_id),
            TOKENS.make(Purpose.STOP, visit.session_id, uuid4()),
            "A" * 66,
            "%00" * 22,
            "\N{SNOWMAN}",
        ]
        pages = set()
        for token in bad:
            for answer in (
                await visit.get(f"/stop/{token}"),
                await visit.api.post(f"/stop/{token}", data=ONE_CLICK),
                await visit.api.post(f"/stop/{token}", data={"action": "everything"}),
            ):
                assert 404 == answer.status_code
                pages.add(answer.text)
            calendar = token if token != bad[5] else ours
            answer = await visit.get(f"/calendar/{calendar}.ics")
            assert 404 == answer.status_code
        assert 1 == len(pages)
        assert ["scheduled"] * 3 == await visit.statuses(database)
        # Where links are not configured, there are none.
        assert 404 == (await shared_api.get(visit.stop)).status_code

    async def test_a_link_acts_for_its_owner_only(
        self, visit: Visit, database: Database, api: Api
    ) -> None:
        """Whatever a body says, it is the token's own person whose reminders stop."""
        other = Visit(api, visit.session_id, await api.user())
        await api.enroll(other.session_id, other.user_id)
        await visit.post(action="everything", user_id=str(other.user_id))
        assert ["scheduled"] * 3 == await other.statuses(database)

    def test_no_log_shows_a_token(self, caplog: pytest.LogCaptureFixture) -> None:
        """The access log names the kind of page only."""
        record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s "%s %s"', (), None)
        record.args = ("127.0.0.1", "GET", "/stop/Acp7Ov5xX0bui9EmG_N4rQ")
        assert REDACT.filter(record)
        assert '127.0.0.1 "GET /stop/..."' == record.getMessage()


@pytest.mark.usefixtures("impatient")
class TestCalendar:
    """GET /calendar/{token}.ics."""

    @staticmethod
    def event(answer: httpx2.Response) -> icalendar.Event:
        """The one entry of a file."""
        assert 200 == answer.status_code, answer.text
        (event,) = icalendar.Calendar.from_ical(answer.content).events
        return event

    async def test_it_follows_the_session(self, visit: Visit, api: Api) -> None:
        """Under one address and UID, SEQUENCE rises when the session changes, and only then."""
        first = await visit.get(visit.calendar)
        again = await visit.get(visit.calendar)
        assert first.content == again.content
        path = f"/v1/sessions/{visit.session_id}"
        moved = a_body(timedelta(days=8), title="Cardiology update")
        await api.put(path, json=moved)
        second = await visit.get(visit.calendar)
        await api.put(path, json={**moved, "status": "cancelled"})
        third = await visit.get(visit.calendar)
        one, two, three = (self.event(answer) for answer in (first, second, third))
        assert 1 == len({event["uid"] for event in (one, two, three)})
        assert [0, 1, 2] == [event["sequence"] for event in (one, two, three)]
        assert datetime.fromisoformat(moved["start_time"]) == two.start > one.start
        assert timedelta(hours=1) == two.end - two.start
        assert ["CONFIRMED", "CONFIRMED", "CANCELLED"] == [
            event["status"] for event in (one, two, three)
        ]
        assert b"METHOD:PUBLISH" in first.content
        assert b"METHOD:CANCEL" in third.content

    async def test_an_unenrolled_person_sees_it_go(self, visit: Visit, api: Api) -> None:
        """For them it is cancelled, whoever else takes part."""
        self.event(await visit.get(visit.calendar))
        await api.delete(f"/v1/enrollments/{visit.session_id}/{visit.user_id}")
        event = self.event(await visit.get(visit.calendar))
        assert ("CANCELLED", 1) == (event["status"], event["sequence"])

    async def test_it_is_not_sent_twice(self, visit: Visit) -> None:
        """A calendar that has it already is told so, and gets it anew after a change."""
        first = await visit.get(visit.calendar)
        assert "text/calendar; charset=utf-8; method=PUBLISH" == first.headers["content-type"]
        assert "private, no-cache" == first.headers["cache-control"]
        assert "no-referrer" == first.headers["referrer-policy"]
        tag = {"if-none-match": first.headers["etag"]}
        assert 304 == (await visit.get(visit.calendar, **tag)).status_code
        assert 200 == (await visit.api.head(visit.calendar)).status_code

    async def test_it_says_nothing_of_the_person(self, visit: Visit) -> None:
        """No address but the platform's own, no attendee, no id."""
        content = (await visit.get(visit.calendar)).content
        assert b"ATTENDEE" not in content
        assert [b"mailto:reminders@platform.example"] == [
            line.split(b";")[-1].partition(b":")[2] for line in content.splitlines() if b"@" in line
        ]
        assert str(visit.user_id).encode() not in content


@pytest.mark.usefixtures("impatient")
class TestInTheBrowser:
    """The stop page in Chromium."""

    async def test_stop_and_undo(self, settings: Settings, client: Client, page: Page) -> None:
        """In light and dark, on a phone and a desk: nothing hinders anybody, and it works."""
        async with (
            a_worker(client, settings),
            serving(settings) as api,
            listening(settings) as url,
        ):
            title = "Update on acute coronary syndromes: antithrombotic therapy in the elderly"
            visit = Visit(api, *await api.enrolled(title=title))
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            await page.goto(url + visit.stop)
            buttons = [
                None,
                "Stop reminders for this session",
                "Stop all reminders",
                "Turn them on again",
            ]
            for button in buttons:
                if button:
                    await page.get_by_role("button", name=button).click()
                for scheme in ("light", "dark"):
                    for screen in (looks.PHONE, looks.DESK):
                        await looks.dressed(page, scheme=scheme, screen=screen)
                        assert 0 == await looks.overflow(page)
                    assert [] == await looks.hindrances(page)
            assert "Reminders are on again" == await page.get_by_role("heading").inner_text()
            await page.goto(f"{url}/stop/none")
            assert [] == await looks.hindrances(page)
        assert [] == [text for text in complaints if "404" not in text]
