"""Events of the provider in the ledger: once, forward only, and the same whatever their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, insert, select, text, update

from devstack.postgres import EmbeddedPostgres
from reminders.clock import SystemClock
from reminders.db.audit import By
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.erasure import ErasureStore
from reminders.db.planning import EnrollmentPlanner
from reminders.db.provider import ProviderEvents
from reminders.db.provider_tables import WebhookEventRow
from reminders.db.sessions import Catalogue
from reminders.db.tables import ReminderPreferenceRow, ReminderRow, SessionRow
from reminders.domain.addresses import same_address
from reminders.domain.model import Attendee, ProviderEvent, ReminderStatus, Session, StatusReason
from reminders.domain.pace import Pace
from reminders.domain.ports import Settlement

ANA = "Ana.Ruiz@hospital.example"
SENT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
"""When the provider took the e-mail."""

STOPS = {
    ReminderStatus.BOUNCED: StatusReason.ADDRESS_BOUNCED,
    ReminderStatus.COMPLAINED: StatusReason.SPAM_COMPLAINT,
}


class World:
    """A person, their reminders, and what the provider tells of them."""

    def __init__(self, database: Database) -> None:
        """Live in this database."""
        self.database = database
        self.catalogue = Catalogue(database)
        self.events = ProviderEvents(database)
        self.planner = EnrollmentPlanner(database, SystemClock())
        self.email_id = f"e-{uuid4()}"
        """The e-mail that all is about."""

    def event(self, told: str, reminder_id: UUID | None = None, **fields: Any) -> ProviderEvent:
        """An event about the e-mail, which went to Ana."""
        status = ReminderStatus(told)
        defaults: dict[str, Any] = {
            "svix_id": f"msg_{uuid4().hex}",
            "type": f"email.{told}",
            "occurred_at": SENT + timedelta(seconds=len(told)),
            "accepted_at": SENT,
            "email_id": self.email_id,
            "reminder_id": reminder_id,
            "recipients": (ANA.lower(),),
            "status": status,
            "stops": STOPS.get(status),
            "detail": "Permanent/General" if status is ReminderStatus.BOUNCED else None,
        }
        return ProviderEvent(**{**defaults, **fields})

    async def told(self, told: str, reminder_id: UUID | None = None, **fields: Any) -> bool:
        """Whether it was news that the e-mail became this."""
        return await self.events.record(self.event(told, reminder_id, **fields))

    async def person(self, email: str = ANA, user_id: UUID | None = None) -> UUID:
        """Somebody, or somebody's new address."""
        user_id = user_id or uuid4()
        await self.catalogue.put_user(Attendee(user_id=user_id, email=email))
        return user_id

    async def session(self) -> UUID:
        """A session in two days."""
        starts_at = datetime.now(UTC) + timedelta(days=2)
        session = Session(id=uuid4(), title="Cardiology", starts_at=starts_at)
        await self.catalogue.put_session(session)
        return session.id

    async def reminder(self, status: str, user_id: UUID | None = None, **columns: Any) -> UUID:
        """A row of the ledger; unless it is said otherwise, one whose e-mail the provider has."""
        row = {
            "id": uuid4(),
            "session_id": await self.session(),
            "user_id": user_id or await self.person(),
            "reminder_type": "24h",
            "due_at": SENT,
            "starts_at": SENT + timedelta(hours=24),
            "email_status": status,
            "attempts": 1,
            "workflow_id": "w",
            "resend_email_id": self.email_id,
            "sent_at": SENT,
            **columns,
        }
        async with self.database.transaction() as connection:
            await connection.execute(insert(ReminderRow).values(row))
        return UUID(str(row["id"]))

    async def in_doubt(self, status: str, reason: str | None = None, **columns: Any) -> UUID:
        """A row of which it is not known whether the provider has its e-mail."""
        nothing = {"resend_email_id": None, "sent_at": None, "last_error": "who knows"}
        return await self.reminder(status, status_reason=reason, **{**nothing, **columns})

    async def row(self, reminder_id: UUID) -> Any:
        """A row as it now is."""
        async with self.database.transaction() as connection:
            found = await connection.execute(
                select(ReminderRow.__table__).where(ReminderRow.id == reminder_id)
            )
            return found.one()

    async def state(self, reminder_id: UUID) -> tuple[Any, ...]:
        """All that events may change in a row; whether it has the e-mail's id comes last."""
        row = await self.row(reminder_id)
        is_it = row.resend_email_id == self.email_id
        return row.email_status, row.status_reason, row.last_error, row.sent_at, is_it

    async def status(self, reminder_id: UUID) -> str:
        """`status` or `status: reason`."""
        row = await self.row(reminder_id)
        return f"{row.email_status}: {row.status_reason}" if row.status_reason else row.email_status

    async def kept(self, event: ProviderEvent) -> dict[str, Any] | None:
        """What is stored of an event."""
        async with self.database.transaction() as connection:
            found = await connection.execute(
                select(WebhookEventRow.__table__).where(WebhookEventRow.svix_id == event.svix_id)
            )
            row = found.mappings().one_or_none()
        return None if row is None else {**row, "received_at": None}

    async def preferences(self, user_id: UUID) -> list[str]:
        """Why a person is not reminded."""
        async with self.database.transaction() as connection:
            preference = ReminderPreferenceRow
            found = await connection.scalars(
                select(preference.reason)
                .where(preference.user_id == user_id, preference.session_id.is_(None))
                .order_by(preference.reason)
            )
            return list(found)

    async def stopped(self, reminder_id: UUID) -> StatusReason | None:
        """What a delivery would read."""
        ledger = PostgresDeliveryLedger(self.database, SystemClock(), owner="me", pace=Pace.of(10))
        (facts,) = (await ledger.read([reminder_id])).facts
        return facts.stopped

    async def add_preference(self, user_id: UUID, reason: str, **scope: Any) -> None:
        """Stop somebody."""
        async with self.database.transaction() as connection:
            await connection.execute(
                insert(ReminderPreferenceRow).values(user_id=user_id, reason=reason, **scope)
            )


@pytest.fixture(scope="module")
async def shared(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A migrated database for all tests here: each looks at people of its own only."""
    name = f"test_{uuid4().hex}"
    postgres.create_database(name, template="template")
    database = Database(postgres.url(name))
    yield database
    await database.aclose()
    postgres.drop_database(name)


@pytest.fixture
def world(shared: Database) -> World:
    """Nobody yet."""
    return World(shared)


# ---------------------------------------------------------------- one row


async def test_an_event_counts_once(world: World) -> None:
    """The same `svix-id` again is no news and changes nothing, even at the same time."""
    reminder = await world.reminder("sent")
    event = world.event("delivered", reminder)
    news = await asyncio.gather(*(world.events.record(event) for _ in range(10)))
    assert sum(news) == 1
    assert not await world.events.record(event)
    assert await world.status(reminder) == "delivered"


@pytest.mark.parametrize("status", ["sending", "scheduled", "failed"])
async def test_what_a_copy_sends_is_not_taken_for_ours(world: World, status: str) -> None:
    """A copy of the database has the same rows, and its e-mails are told to all of a team's endpoints.

    Ours would never be sent; our own event counts, and so does one of a release that did not say.
    """
    ours = await world.database.scalar(text("SELECT id FROM reminder_installation"))
    waiting = await world.in_doubt(status, "expired" if status == "failed" else None)
    before = await world.state(waiting)
    event = world.event("delivered", waiting, installation=uuid4())
    assert await world.events.record(event)
    assert before == await world.state(waiting)
    assert (await world.kept(event) or {})["reminder_id"] is None
    assert await world.events.of([waiting]) == {}
    assert await world.told("delivered", waiting, installation=ours)
    assert await world.status(waiting) == "delivered"
    earlier = await world.in_doubt(status)
    assert await world.told("delivered", earlier, email_id="another")
    assert await world.status(earlier) == "delivered"


async def test_what_a_copy_sends_stops_nobody(world: World) -> None:
    """Whoever marks the copy's e-mail as spam is its tester, or somebody who is mailed by mistake."""
    waiting = await world.in_doubt("scheduled")
    await world.told("complained", waiting, installation=uuid4())
    assert await world.stopped(waiting) is None


async def test_an_installation_that_was_renewed_knows_its_accepted_mail(world: World) -> None:
    """By the provider's id, whichever installation it was when it was sent."""
    reminder = await world.reminder("sent")
    assert await world.told("delivered", reminder, installation=uuid4())
    assert await world.status(reminder) == "delivered"


async def test_what_is_kept_of_an_event(world: World) -> None:
    """Ids, type and instants: enough to know it again, and no address."""
    reminder = await world.reminder("sent")
    event = world.event("bounced", reminder)
    await world.events.record(event)
    assert await world.kept(event) == {
        "svix_id": event.svix_id,
        "type": "email.bounced",
        "email_id": world.email_id,
        "reminder_id": reminder,
        "occurred_at": event.occurred_at,
        "received_at": None,
    }


async def test_an_event_that_says_nothing_is_not_kept(world: World) -> None:
    """Whether somebody opened an e-mail is not stored."""
    event = world.event("sent", type="email.opened", status=None)
    assert not await world.events.record(event)
    assert await world.kept(event) is None


@pytest.mark.proof
@pytest.mark.parametrize(
    ("start", "reason"),
    [("sent", None), ("sending", None), ("failed", "outcome_unknown"), ("scheduled", None)],
)
async def test_any_order_ends_in_the_same_state(
    world: World, start: str, reason: str | None
) -> None:
    """All orders of four events, each told twice, also where our own row was in doubt."""
    ends = set()
    for order in permutations(["sent", "delivered", "bounced", "complained"]):
        if start == "sent":
            reminder = await world.reminder("sent")
        else:
            reminder = await world.in_doubt(start, reason)
        events = [world.event(status, reminder) for status in order]
        for event in (*events, *reversed(events)):
            await world.events.record(event)
        ends.add(await world.state(reminder))
    assert ends == {("complained", None, None, SENT, True)}


async def test_any_order_of_all_ends_in_the_same_state(world: World) -> None:
    """Whatever else an e-mail may be said to have become, however it arrives."""
    statuses = ["sent", "delivered", "failed", "suppressed", "bounced"]
    for shift in range(len(statuses)):
        reminder = await world.in_doubt("sending")
        order = statuses[shift:] + statuses[:shift]
        events = [world.event(status, reminder) for status in order]
        await asyncio.gather(*(world.events.record(event) for event in events))
        assert await world.state(reminder) == ("bounced", None, "Permanent/General", SENT, True)


async def test_a_settlement_and_events_in_any_order(world: World) -> None:
    """An event may overtake our own record of the provider's answer; neither undoes the other."""
    ledger = PostgresDeliveryLedger(world.database, SystemClock(), owner="me", pace=Pace.of(10))
    for first in ("event", "answer"):
        batch = uuid4()
        reminder = await world.in_doubt("sending", batch_id=batch)
        answer = Settlement(
            reminder_id=reminder, status=ReminderStatus.SENT, resend_email_id=world.email_id
        )
        if first == "answer":
            await ledger.settle(batch, [answer])
        await world.told("delivered", reminder)
        if first == "event":
            await ledger.settle(batch, [answer])
        row = await world.row(reminder)
        assert (row.email_status, row.resend_email_id) == ("delivered", world.email_id)


@pytest.mark.parametrize(
    ("start", "reason"), [("sending", None), ("failed", "outcome_unknown"), ("scheduled", None)]
)
@pytest.mark.parametrize("told", ["sent", "delivered", "bounced", "suppressed"])
async def test_an_event_proves_what_was_in_doubt(
    world: World, start: str, reason: str | None, told: str
) -> None:
    """The provider has the e-mail: status, its id and the instant are filled in, from the tag."""
    reminder = await world.in_doubt(start, reason)
    await world.told(told, reminder)
    detail = "Permanent/General" if told == "bounced" else None
    assert await world.state(reminder) == (told, None, detail, SENT, True)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [(StatusReason.QUOTA, "failed: quota"), (StatusReason.REJECTED, "failed: rejected")],
)
async def test_the_provider_may_fail_after_it_accepted(
    world: World, reason: StatusReason, expected: str
) -> None:
    """`email.failed` ends the reminder with the reason; a later bounce would still be told."""
    reminder = await world.reminder("sent")
    event = world.event("failed", reminder, reason=reason, detail="reached_daily_quota")
    await world.events.record(event)
    await world.told("sent", reminder)
    assert await world.status(reminder) == expected
    assert (await world.row(reminder)).last_error == "reached_daily_quota"


async def test_without_a_tag_the_provider_s_id_finds_the_row(world: World) -> None:
    """The tag is looked at first; a tag of no row of ours is as good as none."""
    for tag in (None, uuid4()):
        reminder = await world.reminder("sent", resend_email_id=f"e-{tag}")
        await world.told("delivered", tag, email_id=f"e-{tag}")
        assert await world.status(reminder) == "delivered"


@pytest.mark.parametrize(
    ("start", "reason", "columns"),
    [
        ("sent", None, {"resend_email_id": "e-2"}),
        ("scheduled", None, {"resend_email_id": None, "attempts": 0}),
        ("skipped", "past_due", {"resend_email_id": None}),
        ("cancelled", "unenrolled", {"resend_email_id": None}),
        ("failed", "expired", {"resend_email_id": None, "attempts": 0}),
        ("failed", "expired", {"resend_email_id": "e-2"}),
    ],
)
async def test_another_e_mail_s_event_leaves_the_row_alone(
    world: World, start: str, reason: str | None, columns: dict[str, Any]
) -> None:
    """A row with another id, or one that never was with the provider, is not about that e-mail."""
    reminder = await world.reminder(start, status_reason=reason, **columns)
    before = await world.row(reminder)
    assert await world.told("delivered", reminder)
    assert before == await world.row(reminder)


@pytest.mark.parametrize(
    ("reason", "columns"),
    [
        ("outcome_unknown", {"attempts": 0}),
        ("expired", {}),
        ("rejected", {}),
        ("misconfigured", {}),
    ],
)
async def test_an_acceptance_corrects_whatever_was_given_up(
    world: World, reason: str, columns: dict[str, Any]
) -> None:
    """A request has carried it, we called it failed, and its tag proves that it was accepted."""
    reminder = await world.in_doubt("failed", reason, **columns)
    await world.told("sent", reminder)
    assert await world.status(reminder) == "sent"
    await world.told("delivered", reminder)
    assert await world.status(reminder) == "delivered"


@pytest.mark.parametrize("reason", ["outcome_unknown", "expired"])
async def test_an_id_learned_late_does_not_hide_the_acceptance(world: World, reason: str) -> None:
    """The row has the provider's id and is called failed all the same: only by us, so it gives way."""
    reminder = await world.reminder("failed", status_reason=reason)
    await world.told("delivered", reminder)
    assert await world.status(reminder) == "delivered"


async def test_an_event_of_no_reminder_is_taken(world: World) -> None:
    """The team's other e-mails are told of as well."""
    assert await world.told("bounced")
    assert await world.told("delivered", uuid4(), email_id="e-9")


# ---------------------------------------------------------------- what stops a person


@pytest.mark.parametrize(
    ("told", "preference", "reason"),
    [
        ("bounced", "bounced", "skipped: address_bounced"),
        ("complained", "complained", "skipped: spam_complaint"),
    ],
)
async def test_a_final_bounce_or_complaint_stops_all_that_waits(
    world: World, told: str, preference: str, reason: str
) -> None:
    """In every session, and for good; others and what has ended are not touched."""
    ana, eva = await world.person(), await world.person("eva@hospital.example")
    reminder = await world.reminder("sent", ana)
    waiting = [await world.in_doubt("scheduled", user_id=ana, attempts=0) for _ in range(2)]
    sending = await world.in_doubt("sending", user_id=ana)
    ended = await world.in_doubt("skipped", "past_due", user_id=ana)
    of_eva = await world.in_doubt("scheduled", user_id=eva, attempts=0)
    for _ in range(2):
        await world.told(told, reminder)
    assert [reason, reason] == [await world.status(r) for r in waiting]
    assert ["sending", "skipped: past_due", "scheduled"] == [
        await world.status(r) for r in (sending, ended, of_eva)
    ]
    assert [preference] == await world.preferences(ana)
    assert [] == await world.preferences(eva)


async def test_whoever_is_stopped_is_planned_and_not_sent(world: World) -> None:
    """A later enrollment has its rows, which say why they are not sent; a delivery reads it too."""
    ana = await world.person()
    reminder = await world.reminder("sent", ana)
    await world.told("bounced", reminder)
    planned = await world.planner.enroll(await world.session(), ana)
    assert {(ReminderStatus.SKIPPED, StatusReason.ADDRESS_BOUNCED)} == {
        (r.status, r.reason) for r in planned.reminders
    }
    assert await world.stopped(planned.reminders[0].id) is StatusReason.ADDRESS_BOUNCED


async def test_bounce_and_complaint_in_any_order_stop_alike(world: World) -> None:
    """Both are kept; a delivery names the complaint."""
    for order in permutations(["bounced", "complained"]):
        ana = await world.person()
        reminder = await world.reminder("sent", ana)
        for told in order:
            await world.told(told, reminder)
        assert await world.preferences(ana) == ["bounced", "complained"]
        assert await world.stopped(reminder) is StatusReason.SPAM_COMPLAINT


@pytest.mark.parametrize(
    "event",
    [
        {"stops": None},
        {"status": ReminderStatus.SUPPRESSED, "stops": None},
        {"recipients": ("inbox@platform.example",)},
        {"recipients": (ANA, "eva@hospital.example")},
        {"recipients": ()},
    ],
    ids=["transient", "suppressed", "redirected", "several recipients", "no recipient"],
)
async def test_everything_else_stops_nobody(world: World, event: dict[str, Any]) -> None:
    """What may pass, what went to a test address, and what may have been somebody else's."""
    ana = await world.person()
    reminder = await world.reminder("sent", ana)
    waiting = await world.in_doubt("scheduled", user_id=ana, attempts=0)
    await world.told("bounced", reminder, **event)
    assert await world.status(waiting) == "scheduled"
    assert await world.preferences(ana) == []
    assert (await world.row(reminder)).email_status == event.get("status", "bounced")


async def test_an_address_that_was_left_stops_nobody(world: World) -> None:
    """The bounce of the old address comes when the person has a new one."""
    ana = await world.person()
    reminder = await world.reminder("sent", ana)
    await world.person("ana@clinic.example", ana)
    await world.told("bounced", reminder)
    assert await world.preferences(ana) == []
    assert await world.status(reminder) == "bounced"


async def test_an_event_of_an_older_e_mail_stops_all_the_same(world: World) -> None:
    """The row is another e-mail's by now, and still the address does not exist."""
    ana = await world.person()
    reminder = await world.reminder("sent", ana, resend_email_id="e-2")
    await world.told("bounced", reminder)
    assert await world.status(reminder) == "sent"
    assert await world.preferences(ana) == ["bounced"]


async def test_a_mailbox_with_two_accounts_is_stopped_as_one(world: World) -> None:
    """Whoever complains there does not know which account it was; others go on."""
    mailbox = f"Family-{uuid4().hex}@hospital.example"
    one, two = await world.person(mailbox), await world.person(mailbox.upper())
    eva = await world.person("eva@hospital.example")
    waiting = {
        user: await world.in_doubt("scheduled", user_id=user, attempts=0)
        for user in (one, two, eva)
    }
    reminder = await world.reminder("sent", one)
    await world.told("complained", reminder, recipients=(mailbox.lower(),))
    assert [["complained"], ["complained"], []] == [
        await world.preferences(user) for user in (one, two, eva)
    ]
    stopped = "skipped: spam_complaint"
    assert [stopped, stopped, "scheduled"] == [await world.status(r) for r in waiting.values()]


async def test_a_block_ends_with_the_address(world: World) -> None:
    """Nobody tells us of a new one; the old one, written otherwise, is blocked still; and back again."""
    ana = await world.person()
    reminder = await world.reminder("sent", ana)
    await world.told("bounced", reminder)
    for email, is_blocked in (
        (f" {ANA.upper()}", True),
        ("ana@clinic.example", False),
        (ANA, True),
    ):
        async with world.database.transaction() as connection:
            await connection.execute(
                text("UPDATE users SET email = :email WHERE id = :id"), {"email": email, "id": ana}
            )
        assert is_blocked == (await world.stopped(reminder) is StatusReason.ADDRESS_BOUNCED)
        planned = await world.planner.enroll(await world.session(), ana)
        reasons = {reminder.reason for reminder in planned.reminders}
        assert is_blocked == (reasons == {StatusReason.ADDRESS_BOUNCED})


async def test_a_new_address_is_a_new_chance(world: World) -> None:
    """What stopped the old address is forgotten with it; what the person asked for is not."""
    ana = await world.person()
    reminder = await world.reminder("sent", ana)
    await world.add_preference(ana, "opted_out")
    for told in ("bounced", "complained"):
        await world.told(told, reminder)
    await world.person(ANA.upper(), ana)
    assert await world.preferences(ana) == ["bounced", "complained", "opted_out"]
    await world.person("ana@clinic.example", ana)
    assert await world.preferences(ana) == ["opted_out"]


async def test_a_bounce_and_a_new_address_at_once(world: World) -> None:
    """Whichever comes first, nobody stays stopped for an address that is no longer theirs."""
    for n in range(20):
        ana = await world.person()
        reminder = await world.reminder("sent", ana, resend_email_id=f"e-{n}")
        event = world.event("bounced", reminder, email_id=f"e-{n}")
        both = [world.events.record(event), world.person(f"{n}@clinic.example", ana)]
        await asyncio.gather(*(both if n % 2 else reversed(both)))
        assert await world.preferences(ana) == []


@pytest.mark.proof
async def test_stops_plans_and_moves_at_once_never_wait_for_each_other(world: World) -> None:
    """Locks are taken in one order, so that PostgreSQL has no deadlock to break."""
    ana = await world.person()
    sessions = [await world.session() for _ in range(5)]
    planned = [await world.planner.enroll(s, ana) for s in sessions]
    for round_ in range(10):
        ids = [p.reminders[round_ % 3].id for p in planned]
        async with world.database.transaction() as connection:
            await connection.execute(
                update(ReminderRow)
                .where(ReminderRow.id.in_(ids))
                .values(email_status="sending", resend_email_id=None)
            )
        await asyncio.gather(
            *(world.told("bounced", i) for i in ids),
            *(world.planner.replan(s, ana) for s in sessions),
            world.person(user_id=ana),
        )
        assert {"bounced"} == {await world.status(i) for i in ids}


# ---------------------------------------------------------------- whom a preference stops


@pytest.mark.parametrize(
    ("scope", "stopped"),
    [
        ({}, True),
        ({"session_id": "mine"}, True),
        ({"session_id": "another"}, False),
        ({"reminder_type": "24h"}, True),
        ({"reminder_type": "2h"}, False),
        ({"session_id": "mine", "reminder_type": "24h"}, True),
        ({"session_id": "mine", "reminder_type": "2h"}, False),
        ({"session_id": "another", "reminder_type": "24h"}, False),
    ],
)
async def test_a_preference_holds_for_its_scope(
    world: World, scope: dict[str, Any], stopped: bool
) -> None:
    """For a person, one of their sessions, one kind of reminder, or one kind of one session."""
    ana = await world.person()
    reminder = await world.in_doubt("scheduled", user_id=ana, attempts=0)
    sessions = {"mine": (await world.row(reminder)).session_id, "another": await world.session()}
    session_id = sessions.get(scope.get("session_id", ""))
    await world.add_preference(ana, "opted_out", **{**scope, "session_id": session_id})
    await world.add_preference(await world.person(), "bounced")
    assert (StatusReason.OPTED_OUT if stopped else None) == await world.stopped(reminder)


async def test_what_a_person_asked_for_is_named_first(world: World) -> None:
    """Of several reasons, whatever their order, the opt-out."""
    ana = await world.person()
    reminder = await world.in_doubt("scheduled", user_id=ana, attempts=0)
    for reason in ("opted_out", "bounced", "complained"):
        await world.add_preference(ana, reason)
    assert await world.stopped(reminder) is StatusReason.OPTED_OUT


async def test_preferences_go_with_the_session(world: World) -> None:
    """Nothing is kept about a session that is gone."""
    ana, session = await world.person(), await world.session()
    await world.add_preference(ana, "opted_out", session_id=session)
    async with world.database.transaction() as connection:
        await connection.execute(delete(SessionRow).where(SessionRow.id == session))
        left = select(func.count()).where(ReminderPreferenceRow.user_id == ana)
        assert await connection.scalar(left) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ana@Hospital.example", " ana@hospital.EXAMPLE ", True),
        ("ana@hôpital.example", "ana@xn--hpital-ixa.example", True),
        ("ana@straße.example", "ana@xn--strae-oqa.example", True),
        ("ana@hospital.example", "ana+1@hospital.example", False),
        ("ana@hospital.example", "ana@hospital.test", False),
        ("ana@xn--\ufffd.example", "ana@hospital.example", False),
        ("ana@xn--99999999999.example", "ana@xn--99999999999.example", True),
        ("", "ana@hospital.example", False),
    ],
)
def test_addresses_are_compared_as_mail_servers_do(one: str, other: str, same: bool) -> None:
    """In any case, and with an international domain in either spelling."""
    assert same == same_address(one, other)


@pytest.mark.parametrize(("status", "becomes"), [("sent", "sent"), ("sending", "bounced")])
async def test_nothing_of_an_erased_person_comes_back(
    world: World, status: str, becomes: str
) -> None:
    """What is told after an erasure counts, and leads to nobody: no provider's id, no words."""
    ana = await world.person()
    own = {} if status == "sent" else {"resend_email_id": None, "sent_at": None}
    reminder = await world.reminder(status, ana, **own)
    await ErasureStore(world.database, SystemClock()).erase(ana, by=By("test"))
    event = world.event("bounced", reminder)
    assert await world.events.record(event)
    async with world.database.transaction() as connection:
        found = await connection.execute(
            select(ReminderRow.__table__).where(ReminderRow.id == reminder)
        )
        row = found.mappings().one()
    assert becomes == row["email_status"]
    assert (row["resend_email_id"], row["last_error"]) == (None, None)
    assert await kept(world, event) == (None, reminder)


async def test_what_is_of_nobody_is_kept_without_the_provider_s_id(world: World) -> None:
    """An event of an unknown e-mail could be of somebody who was erased."""
    event = world.event("delivered", None)
    assert await world.events.record(event)
    assert await kept(world, event) == (None, None)


async def kept(world: World, event: ProviderEvent) -> tuple[str | None, UUID | None]:
    """The provider's id and the reminder's, as they are kept of an event."""
    async with world.database.transaction() as connection:
        found = await connection.execute(
            select(WebhookEventRow.email_id, WebhookEventRow.reminder_id).where(
                WebhookEventRow.svix_id == event.svix_id
            )
        )
        return tuple(found.one())  # type: ignore[return-value]
