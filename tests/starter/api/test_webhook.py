"""POST /webhooks/resend: who may tell us something, and what becomes of it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import event as listen_to
from sqlalchemy import select, update

from devstack.ports import free_ports
from devstack.provider.server import EmbeddedProvider
from devstack.provider.webhooks import sign
from reminders import settings as environment
from reminders.clock import SystemClock
from reminders.db import arrivals
from reminders.db.engine import Database
from reminders.db.planning import EnrollmentPlanner
from reminders.db.provider import ProviderEvents
from reminders.db.sessions import Catalogue
from reminders.db.tables import ReminderRow
from reminders.domain.errors import ConfigurationError
from reminders.domain.model import Session
from reminders.settings import Settings
from starter.api.webhook import PATH
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders
from tests.reminders.observability.running import Metrics
from tests.stage import eventually
from tests.starter.conftest import Api, Json, listening, serving

SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBvbmx5ISEh"
NEXT_SECRET = "whsec_dGhlIHNlY3JldCB0aGF0IGNvbWVzIG5leHQ="


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of the other tests here, with two secrets, as while rotating."""
    secrets = (SecretStr(SECRET), SecretStr(NEXT_SECRET))
    return settings.model_copy(update={"resend_webhook_secret": secrets})


async def post(
    api: Api,
    body: bytes,
    *,
    secret: str = SECRET,
    svix_id: str = "",
    at: datetime | None = None,
    **headers: str,
) -> httpx2.Response:
    """The answer to a webhook as the provider would post it: signed, and without an API key."""
    timestamp = int((at or datetime.now(UTC)).timestamp())
    svix_id = svix_id or f"msg_{uuid4().hex}"
    signed = {
        "content-type": "application/json",
        "svix-id": svix_id,
        "svix-timestamp": str(timestamp),
        "svix-signature": sign(secret, svix_id, timestamp, body),
        **headers,
    }
    api.headers.pop("authorization", None)
    return await api.post(PATH, content=body, headers=signed)


def event(type_: str, reminder_id: UUID | None = None, **data: Any) -> bytes:
    """The body of a webhook."""
    content = {
        "type": type_,
        "created_at": "2026-11-23T09:00:00.000Z",
        "data": {
            "email_id": "e-1",
            "to": ["ana@hospital.example"],
            "tags": {"reminder_id": str(reminder_id)},
            **data,
        },
    }
    return json.dumps(content).encode()


async def status(database: Database, reminder_id: UUID) -> str:
    """`status` or `status: reason` of a row."""
    async with database.transaction() as connection:
        row = (
            await connection.execute(
                select(ReminderRow.email_status, ReminderRow.status_reason).where(
                    ReminderRow.id == reminder_id
                )
            )
        ).one()
    return ": ".join(filter(None, row))


async def found_of_webhooks(api: Api) -> str:
    """What `/readyz` says of webhooks: level, and what was found."""
    checks = (await api.get("/readyz")).json()["checks"]
    return next(f"{c['level']}: {c['detail']}" for c in checks if c["name"] == "webhooks")


@pytest.fixture
async def reminder(database: Database) -> UUID:
    """A reminder whose request is in doubt."""
    (due,) = await due_reminders(database, 1)
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.id == due.reminder_id)
            .values(email_status="sending", attempts=1)
        )
    return due.reminder_id


class TestTaken:
    """What is taken in."""

    @pytest.mark.parametrize("secret", [SECRET, NEXT_SECRET])
    async def test_an_event_reaches_the_ledger(
        self, api: Api, database: Database, reminder: UUID, secret: str
    ) -> None:
        """Signed with any of the secrets, without an API key; the answer has nothing to say."""
        answer = await post(api, event("email.delivered", reminder), secret=secret)
        assert (answer.status_code, answer.json()) == (200, {})
        assert await status(database, reminder) == "delivered"

    async def test_a_repeated_event_is_taken_again(
        self, api: Api, database: Database, reminder: UUID
    ) -> None:
        """The provider tells at least once: each time 200, and nothing goes backwards."""
        body = event("email.sent", reminder)
        answers = [await post(api, body, svix_id=f"msg_{reminder}") for _ in range(2)]
        assert [a.status_code for a in answers] == [200, 200]
        await post(api, event("email.delivered", reminder))
        assert (await post(api, body, svix_id=f"msg_{reminder}")).status_code == 200
        assert await status(database, reminder) == "delivered"

    async def test_how_long_deliveries_take(
        self, api: Api, database: Database, reminder: UUID
    ) -> None:
        """From accepted to delivered by the provider's own instants: in metrics, once, and overview."""
        accepted = datetime.now(UTC) - timedelta(seconds=4)
        body = json.loads(event("email.delivered", reminder, created_at=accepted.isoformat()))
        body["created_at"] = (accepted + timedelta(seconds=4)).isoformat()
        delayed = event("email.delivery_delayed", reminder, created_at=accepted.isoformat())
        key = api.headers["authorization"]
        for content in (delayed, json.dumps(body).encode()):
            for _ in range(2):
                await post(api, content, svix_id=f"msg_{len(content)}")
        metrics = Metrics((await api.get("/metrics")).text)
        assert metrics.value("reminders_delivery_seconds_count") == 1
        assert metrics.value("reminders_delivery_seconds_sum") == pytest.approx(4)
        notes = await ProviderEvents(database).of([reminder])
        assert {"email.delivery_delayed", "email.delivered"} == {n.type for n in notes[reminder]}
        times = await arrivals.times(database, datetime.now(UTC))
        assert times is not None
        overview = (await api.get("/v1/overview", headers={"authorization": key})).json()
        assert overview["delivered_within_p50_seconds"] == times.median.total_seconds()

    async def test_unknown_types_are_taken_and_logged_by_type(
        self, api: Api, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither an address nor an id is in the log."""
        caplog.set_level(logging.INFO, logger="starter.api.webhook")
        assert (await post(api, event("email.teleported", uuid4()))).status_code == 200
        assert [r.getMessage() for r in caplog.records if r.name == "starter.api.webhook"] == [
            "a webhook of type email.teleported is of no interest"
        ]

    async def test_bodies_may_be_larger_than_elsewhere(
        self, api: Api, database: Database, reminder: UUID
    ) -> None:
        """Some 250 KiB of subject and recipients are no reason to miss an event."""
        body = event("email.delivered", reminder, subject="x" * 255_000)
        assert (await post(api, body)).status_code == 200
        assert await status(database, reminder) == "delivered"


class TestRefused:
    """What is not."""

    @pytest.mark.parametrize(
        "wrong",
        [
            {"secret": "whsec_bm90IG91cnM="},
            {"at": datetime.now(UTC) - timedelta(minutes=6)},
            {"svix-signature": ""},
            {"svix-timestamp": "soon"},
            {"authorization": "Bearer test-key", "svix-signature": "v1,"},
        ],
        ids=["secret", "old", "unsigned", "malformed", "api key"],
    )
    async def test_what_the_provider_did_not_sign(
        self,
        api: Api,
        database: Database,
        reminder: UUID,
        wrong: Json,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A 401 that tells nobody what was wrong; the log does, and an API key changes nothing."""
        answer = await post(api, event("email.delivered", reminder), **wrong)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Svix"
        assert answer.json() == {
            "type": "urn:session-reminders:problem:signature-invalid",
            "title": "The signature is not valid",
            "status": 401,
            "detail": "The request is not signed with a webhook secret that is known here.",
            "instance": PATH,
        }
        assert "a webhook was refused" in caplog.text
        assert await status(database, reminder) == "sending"

    @pytest.mark.parametrize(
        ("wrong", "secrets", "found"),
        [
            ({"secret": "whsec_bm90IG91cnM="}, (SECRET,), "does not fit RESEND_WEBHOOK_SECRET"),
            ({"at": datetime.now(UTC) - timedelta(hours=6)}, (SECRET,), "minutes away"),
            ({}, (), "has no RESEND_WEBHOOK_SECRET"),
            ({"svix-signature": "v2,x"}, (SECRET,), None),
        ],
        ids=["secret", "old", "none is set", "unsigned"],
    )
    async def test_who_operates_hears_of_it(
        self,
        settings: Settings,
        database_url: str,
        wrong: Json,
        secrets: tuple[str, ...],
        found: str | None,
    ) -> None:
        """Noted once a minute, named by `/readyz`, and over once one is taken in."""
        own = settings.model_copy(update={"database_url": SecretStr(database_url)})
        known = tuple(map(SecretStr, secrets))
        refusing = own.model_copy(update={"resend_webhook_secret": known})
        noted: list[str] = []
        async with serving(refusing) as api:
            engine = api.app.state.parts.database.engine.sync_engine
            listen_to.listen(engine, "before_cursor_execute", lambda *a: noted.append(a[2]))
            assert "refused" not in await found_of_webhooks(api)
            for _ in range(5):
                await post(api, event("email.delivered", uuid4()), **wrong)
            assert (found or "") in (refused := await found_of_webhooks(api))
            assert (found is not None) == refused.startswith("warning: webhooks are refused")
            metrics = Metrics((await api.get("/metrics")).text)
        assert metrics.value("reminders_webhooks_refused_total") == 5
        assert len([s for s in noted if "SET webhook_refused_at" in s]) == (1 if found else 0)
        async with serving(own) as api:
            assert (await post(api, event("email.delivered", uuid4()))).status_code == 200
            assert "refused" not in await found_of_webhooks(api)

    async def test_without_a_secret_there_are_no_webhooks(self, settings: Settings) -> None:
        """A 404 that says what to set."""
        bare = settings.model_copy(update={"resend_webhook_secret": ()})
        async with serving(bare) as api:
            answer = await post(api, event("email.delivered"))
        assert answer.status_code == 404
        assert answer.json()["type"].endswith(":webhooks-not-configured")
        assert "RESEND_WEBHOOK_SECRET" in answer.json()["detail"]

    async def test_bodies_that_are_too_large(self, api: Api) -> None:
        """More than 256 KiB are not read, announced or not."""

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield b" " * 10_000

        announced = await post(api, b" " * (256 * 1024 + 1))
        streamed = await api.post(PATH, content=endless())
        assert [a.status_code for a in (announced, streamed)] == [413, 413]
        assert "262144" in announced.json()["detail"]

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"{}"])
    async def test_signed_nonsense(self, api: Api, body: bytes) -> None:
        """A good signature over what is no event is a 422."""
        answer = await post(api, body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] in ("body", "type")

    async def test_the_database_is_away(self, settings: Settings) -> None:
        """A 503 with `Retry-After`: the provider tells it again, and nothing is half-done."""
        (port,) = free_ports(1)
        url = SecretStr(f"postgresql://nobody@127.0.0.1:{port}/none")
        async with serving(settings.model_copy(update={"database_url": url})) as api:
            answers = [await post(api, event(t)) for t in ("email.delivered", "email.complained")]
        for answer in answers:
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0

    async def test_other_methods(self, api: Api) -> None:
        """Only POST."""
        assert (await api.get(PATH)).status_code == 405


class TestSecrets:
    """RESEND_WEBHOOK_SECRET."""

    def test_several_with_commas_between(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """While rotating; none is shown."""
        monkeypatch.setenv("RESEND_WEBHOOK_SECRET", f"{SECRET}, {NEXT_SECRET}")
        settings = environment.load()
        assert [SECRET, NEXT_SECRET] == [
            s.get_secret_value() for s in settings.resend_webhook_secret
        ]
        assert SECRET not in repr(settings)

    @pytest.mark.parametrize(
        "value",
        [
            "whsec_...",
            "whsec_",
            "whsec",
            "c2VjcmV0",
            "whsec_c2Vj cmV0",
            "whsec_ü",
            f"{SECRET},re_x",
        ],
    )
    def test_what_is_no_secret_is_refused_by_the_variable_s_name(
        self, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        """At the start, and without repeating it."""
        monkeypatch.setenv("RESEND_WEBHOOK_SECRET", value)
        with pytest.raises(ConfigurationError, match="RESEND_WEBHOOK_SECRET") as refused:
            environment.load()
        assert SECRET not in str(refused.value)


class TestEndToEnd:
    """From the accepted e-mail to the ledger."""

    @pytest.fixture
    def settings(self, database_url: str, provider_server: EmbeddedProvider) -> Settings:
        """Everything real but Temporal, which has no part in this."""
        return Settings(
            database_url=database_url,
            resend_api_url=provider_server.url,
            resend_api_key=provider_server.api_key,
            resend_webhook_secret=(SecretStr(SECRET),),
            delivery_mode="live",
            email_from="Reminders <reminders@platform.example>",
            email_requests_per_second=1000,
        )

    async def test_what_became_of_the_e_mails(
        self, settings: Settings, database: Database, provider: ProviderClient
    ) -> None:
        """One is delivered; the other bounces, and that person's other reminders are skipped.

        The stand-in posts to the API over HTTP, some events twice and some out of order.
        """
        addresses = ["delivered+ana@resend.dev", "bounced+eva@resend.dev"]
        due = await due_reminders(database, 2, address=addresses.__getitem__)
        ids = [reminder.reminder_id for reminder in due]
        others = await enrolled_once_more(database, ids)
        async with listening(settings) as url:
            await provider.webhook(f"{url}{PATH}", SECRET)
            await provider.faults(
                {"kind": "webhook_twice", "count": 2},
                {"kind": "webhook_out_of_order", "latency_ms": 50, "count": 1},
            )
            async with a_pipeline(settings) as pipeline:
                await deliver(pipeline, due)

            async def all_told() -> bool:
                webhooks = (await provider.stats())["webhooks"]
                return (webhooks["pending"], webhooks["delivered"] >= 4) == (0, True)

            await eventually(all_told)
        assert ["delivered", "bounced"] == [await status(database, i) for i in ids]
        assert [{"scheduled"}, {"skipped: address_bounced"}] == [
            {await status(database, i) for i in person} for person in others
        ]
        assert (await provider.stats())["webhooks"]["failed_attempts"] == 0


async def enrolled_once_more(database: Database, reminders: list[UUID]) -> list[list[UUID]]:
    """The reminders of another session, in two days, for the person of each of these."""
    starts_at = datetime.now(UTC) + timedelta(days=2)
    session = Session(id=uuid4(), title="Cardiology, part 2", starts_at=starts_at)
    await Catalogue(database).put_session(session)
    planner = EnrollmentPlanner(database, SystemClock())
    async with database.transaction() as connection:
        found = await connection.execute(
            select(ReminderRow.id, ReminderRow.user_id).where(ReminderRow.id.in_(reminders))
        )
        users = {row.id: row.user_id for row in found}
    planned = [await planner.enroll(session.id, users[i]) for i in reminders]
    return [[reminder.id for reminder in p.reminders] for p in planned]
