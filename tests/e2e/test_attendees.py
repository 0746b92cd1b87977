"""What attendees want, on the real server: not yet confirmed, not reminded, forgotten."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import icalendar
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from reminders.db.audit import Action, By
from reminders.db.calendar import calendar_entry
from reminders.db.erasure import ErasureStore
from reminders.db.preference_store import PreferenceStore
from reminders.domain.errors import UserNotFoundError
from reminders.domain.model import Attendee, EnrollmentStatus, OptOut, Session
from reminders.domain.ports import Enrollment
from reminders.mail.calendar import calendar_file
from reminders.settings import Settings
from reminders.tokens import Purpose, Tokens
from starter.services.people import Erasure, Preferences
from tests.stage import Stage, eventually

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def preferences(stage: Stage) -> Preferences:
    """What people want, on this stage."""
    store = PreferenceStore(stage.database, stage.clock)
    return Preferences(
        store=store, catalogue=stage.catalogue, planner=stage.planner, handover=stage.handover
    )


async def sent(stage: Stage, user_ids: Collection[UUID] = ()) -> list[str]:
    """Types of the reminders that the provider accepted, in its order."""
    tags = [mail["tags"]["reminder_id"] for mail in await stage.provider.accepted()]
    page = await stage.queries.list(limit=1000)
    rows = {str(r.id): r for r in page.reminders if not user_ids or r.user_id in user_ids}
    return [rows[tag].reminder_type for tag in tags if tag in rows]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of the other tests, with links in e-mails."""
    return settings.model_copy(
        update={"public_base_url": "https://r.example", "token_secret": (SecretStr("x" * 40),)}
    )


async def test_a_mail_carries_its_readers_links(stage: Stage) -> None:
    """The header that mail programs post to names the reader's own enrollment."""
    session, user_id = await stage.session(starts_in=35 * MINUTE), await stage.attendee()
    await stage.forward(6 * MINUTE, await stage.enroll(session, user_id))
    (mail,) = await stage.provider.accepted(bodies=True)
    stop = mail["headers"]["List-Unsubscribe"].strip("<>")
    assert stop in mail["text"]
    assert stop.startswith("https://r.example/stop/")
    tokens = Tokens(["x" * 40])
    assert Enrollment(session.id, user_id) == tokens.read(Purpose.STOP, stop.rpartition("/")[2])


async def is_asleep(stage: Stage, session: Session, user_id: UUID) -> bool:
    """Whether the enrollment's workflow runs."""
    found = await stage.handle(session, user_id).describe()
    return found.status is not None and found.status.name == "RUNNING"


@pytest.mark.parametrize("told", ["by the platform", "by SQL, and found by a sweep"])
async def test_nobody_is_reminded_before_the_confirmation(stage: Stage, told: str) -> None:
    """Failure 26: a pending enrollment gets none; once confirmed, one of each that lies ahead."""
    session, user_id = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    pending = EnrollmentStatus.PENDING
    await stage.gateway.enroll(session.id, user_id, status=pending)
    stage.clock.set(session.starts_at - 20 * HOUR)  # past its 24 h reminder; nothing sleeps
    moved = replace(session, preparation_notes="Bring a pen")
    await stage.gateway.put_session(moved)
    assert set((await stage.statuses(session)).values()) == {"skipped: unconfirmed"}
    assert [] == await sent(stage)
    if told == "by the platform":
        enrolled = await stage.gateway.enroll(session.id, user_id)
        # The first call, repeated late, takes nothing back.
        await stage.gateway.enroll(session.id, user_id, status=pending)
        assert enrolled.created
    else:
        async with stage.database.transaction() as connection:
            confirm = text("UPDATE enrollments SET status = 'confirmed' WHERE user_id = :user")
            await connection.execute(confirm, {"user": user_id})
        assert 1 == (await stage.sweep()).processed
    # A run that starts now begins at the real time, whatever the clock has been set to.
    await stage.forward(24 * HOUR + 45 * MINUTE, stage.handle(session, user_id))
    assert ["2h", "30min"] == await sent(stage)
    assert "skipped: unconfirmed" == (await stage.statuses(session))["24h"]


async def test_a_stop_reaches_the_sleeper_and_so_does_its_undo(stage: Stage) -> None:
    """While stopped nothing goes out; taken back, what lies ahead does, once, and nothing else."""
    session, user_id = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    other = await stage.attendee()
    handle, theirs = await stage.enroll(session, user_id), await stage.enroll(session, other)
    wishes, link = preferences(stage), Enrollment(session.id, user_id)
    await wishes.stop(link, everything=False)
    await handle.result()  # nothing is left to wait for
    await stage.forward(2 * HOUR, theirs)
    assert ["24h"] == await sent(stage)
    await wishes.resume(link)
    assert await is_asleep(stage, session, user_id)
    # A run that starts now begins at the real time, as theirs did.
    await stage.forward(24 * HOUR + 45 * MINUTE, stage.handle(session, user_id))
    await stage.forward(22 * HOUR + 45 * MINUTE, theirs)
    assert ["2h", "30min"] == await sent(stage, [user_id])
    assert ["24h", "2h", "30min"] == await sent(stage, [other])


async def test_no_reminders_of_one_type(stage: Stage) -> None:
    """Who wants no 24-hour reminders gets the others, also after the session moved."""
    session, user_id = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    handle = await stage.enroll(session, user_id)
    await preferences(stage).put(user_id, [OptOut(reminder_type="24h")], by=By("test"))
    assert await is_asleep(stage, session, user_id)
    await stage.gateway.put_session(replace(session, starts_at=session.starts_at + HOUR))
    await stage.forward(25 * HOUR + 45 * MINUTE, handle)
    assert ["2h", "30min"] == await sent(stage)
    assert "skipped: opted_out" == (await stage.statuses(session))["24h"]


async def test_a_link_of_ones_own(stage: Stage) -> None:
    """Each mail has the one that is stored when it goes out; the calendar, too, and nobody else's."""
    session = await stage.session(starts_in=25 * HOUR, join_url="https://meet.example/all")
    user_id, other = await stage.attendee(), await stage.attendee()
    first, second = (f"https://join.hospital.example/{n}?tk=a" for n in (1, 2))
    await stage.gateway.enroll(session.id, user_id, join_url=first)
    await stage.gateway.enroll(session.id, other)
    handles = [stage.handle(session, user) for user in (user_id, other)]
    await stage.forward(90 * MINUTE, *handles)
    before = await calendar_entry(stage.database, session.id, user_id)
    again = await stage.gateway.enroll(session.id, user_id, join_url=second)
    assert not again.created
    await stage.gateway.enroll(session.id, user_id)  # a repetition that does not know of it
    await stage.forward(23 * HOUR, *handles)
    entry = await calendar_entry(stage.database, session.id, user_id)
    assert before is not None
    assert entry is not None
    assert (first, second) == (before.session.join_url, entry.session.join_url)
    assert before.sequence + 1 == entry.sequence
    rows = {str(r.id): r for r in (await stage.queries.list(limit=100)).reminders}
    links: dict[UUID, list[str]] = {user_id: [], other: []}
    for mail in await stage.provider.accepted(bodies=True):
        found = re.findall(r"https://(?:join|meet)\.\S+", mail["text"])
        links[rows[mail["tags"]["reminder_id"]].user_id].append(found[0])
    assert [first, second, second] == links[user_id]
    assert 3 * ["https://meet.example/all"] == links[other]
    await stage.gateway.enroll(session.id, user_id, join_url="")
    back = await calendar_entry(stage.database, session.id, user_id)
    assert back is not None
    assert "https://meet.example/all" == back.session.join_url


async def test_the_calendar_follows_a_move(stage: Stage) -> None:
    """Failure 4: from 10:00 to 14:00, the file has the same UID and a higher SEQUENCE."""
    session, user_id = await stage.session(starts_in=150 * MINUTE), await stage.attendee()
    await stage.enroll(session, user_id)
    events = []
    for starts_at in (session.starts_at, session.starts_at + 4 * HOUR, session.starts_at):
        await stage.gateway.put_session(replace(session, starts_at=starts_at))
        for _ in range(2):
            entry = await calendar_entry(stage.database, session.id, user_id)
            assert entry is not None
            (event,) = icalendar.Calendar.from_ical(calendar_file(entry, organizer=None)).events
            events.append((event["uid"], event["sequence"], event.start))
    times = [session.starts_at, session.starts_at + 4 * HOUR, session.starts_at]
    assert [(n, at) for n, at in enumerate(times) for _ in range(2)] == [e[1:] for e in events]
    assert 1 == len({uid for uid, _, _ in events})


async def test_who_is_erased_is_not_reminded_and_leaves_no_trace(stage: Stage) -> None:
    """Workflows end, what waits is cancelled, the ledger counts on, and no column has an address."""
    session = await stage.session(starts_in=25 * HOUR)
    user_id = await stage.attendee("maria.lopez@hospital.example", time_zone="Europe/Madrid")
    other = await stage.attendee()
    handle, theirs = await stage.enroll(session, user_id), await stage.enroll(session, other)
    await stage.forward(90 * MINUTE, handle, theirs)
    store = ErasureStore(stage.database, stage.clock)
    erasure = Erasure(store=store, workflows=stage.workflows)
    await preferences(stage).put(user_id, [OptOut(reminder_type="1h")], by=By("test"))
    test_mail = By("test").did(
        Action.TEST_SENT, user_id=user_id, details={"email_id": "re_of_a_test"}
    )
    await stage.parts.audit.record(test_mail)
    counted = await erasure.erase(user_id, by=By("test"), dry_run=True)
    assert await is_asleep(stage, session, user_id)
    receipt = await erasure.erase(user_id, by=By("test"))
    again = await erasure.erase(user_id, by=By("test"))
    assert counted == receipt
    done = receipt.erased
    assert (2, 0, 3, 1, 1) == (
        done.cancelled, done.in_flight, done.kept, done.enrollments, done.preferences,
    )  # fmt: skip
    assert (1, 0) == (receipt.workflows, again.erased.cancelled)
    assert not again.erased.is_first

    async def ended() -> bool:
        return not await is_asleep(stage, session, user_id)

    await eventually(ended)
    await stage.forward(23 * HOUR, theirs)
    assert ["24h"] == await sent(stage, [user_id])
    assert ["24h", "2h", "30min"] == await sent(stage, [other])
    assert [] == await mentions(
        stage, "maria.lopez", "Ana Ruiz", "Europe/Madrid", "re_of_a_test", besides=other
    )
    with pytest.raises(UserNotFoundError):
        await stage.gateway.enroll(session.id, user_id)
    with pytest.raises(UserNotFoundError):
        await preferences(stage).of(user_id)
    await stage.catalogue.put_user(Attendee(user_id=user_id, email="new@hospital.example"))
    later = await stage.session(starts_in=90 * MINUTE)
    assert (await stage.gateway.enroll(later.id, user_id)).created


async def mentions(stage: Stage, *words: str, besides: UUID) -> list[str]:
    """Tables with a row that has one of these words, but for those of another person."""
    found = []
    async with stage.database.transaction() as connection:
        tables = await connection.scalars(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        for table in tables.all():
            rows = await connection.scalars(text(f"SELECT to_jsonb(t)::text FROM {table} t"))
            found += [
                f"{table}: {row}"
                for row in rows
                if str(besides) not in row and any(word in row for word in words)
            ]
    return found
