"""Webhooks: only the provider's are believed, and every one of them can be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import resend
from hypothesis import given
from hypothesis import strategies as st

from devstack.provider.webhooks import sign
from reminders.domain.errors import InvalidInputError, WebhookSignatureError
from reminders.domain.model import ProviderEvent, ReminderStatus, StatusReason
from reminders.mail.webhooks import verify

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBvbmx5ISEh"
OTHER = "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3Rz"
REMINDER = UUID("4e31d000-0000-4000-8000-000000000001")
EMAIL = "56761188-7520-42d8-8898-ff6fc54ce618"
BODY = json.dumps({"type": "email.sent", "data": {"email_id": EMAIL, "subject": "Größe"}}).encode()

FIELDS = (
    *("created_at", "email_id", "to", "tags", "bounce", "failed", "suppressed"),
    *("type", "subType", "reason", "reminder_id", "name", "value"),
)

Json = dict[str, Any]


def headers(body: bytes = BODY, *, secret: str = SECRET, at: datetime = NOW) -> dict[str, str]:
    """What the provider sends along with a body."""
    timestamp = int(at.timestamp())
    return {
        "svix-id": "msg_1",
        "svix-timestamp": str(timestamp),
        "svix-signature": sign(secret, "msg_1", timestamp, body),
    }


def read(content: object) -> ProviderEvent:
    """The event in a signed body."""
    body = json.dumps(content).encode()
    return verify(body, headers(body), [SECRET], NOW)


def told(type_: str, **data: object) -> ProviderEvent:
    """An event about an e-mail of ours."""
    data = {
        "email_id": EMAIL,
        "created_at": "2026-11-23 08:59:01.5+00",
        "from": "Reminders <r@platform.example>",
        "to": ["Ana Ruiz <Ana@Hospital.example>"],
        "subject": "Soon",
        "tags": {"reminder_id": str(REMINDER)},
        **data,
    }
    return read({"type": type_, "created_at": "2026-11-23T08:59:30.126Z", "data": data})


class TestSignature:
    """Who is believed."""

    def test_the_provider_is_believed(self) -> None:
        """A signature by our secret over the raw body, just now."""
        event = verify(BODY, headers(), [SECRET], NOW)
        assert ("msg_1", "email.sent") == (event.svix_id, event.type)

    def test_it_is_the_signature_of_the_sdk(self) -> None:
        """What we believe, the provider's own helper believes as well, and the other way round."""
        given_headers = headers(at=datetime.now(UTC))
        options: Any = {
            "payload": BODY.decode(),
            "headers": {k.removeprefix("svix-"): v for k, v in given_headers.items()},
            "webhook_secret": SECRET,
        }
        assert json.loads(BODY) == resend.Webhooks.verify(options)
        assert verify(BODY, given_headers, [SECRET], datetime.now(UTC)).email_id == EMAIL

    @pytest.mark.parametrize("secrets", [[SECRET, OTHER], [OTHER, SECRET]])
    @pytest.mark.parametrize("signed_with", [SECRET, OTHER])
    def test_several_secrets_hold_while_rotating(
        self, secrets: list[str], signed_with: str
    ) -> None:
        """Old and new are both good, whichever comes first."""
        assert verify(BODY, headers(secret=signed_with), secrets, NOW)

    def test_one_good_signature_of_many_is_enough(self) -> None:
        """The provider signs with old and new secret at once, and in versions we do not know."""
        old = sign(OTHER, "msg_1", int(NOW.timestamp()), BODY)
        new = headers()["svix-signature"]
        several = f"v1a,QUJD  {old} v1,ÿ nonsense v1, {new}"
        assert verify(BODY, {**headers(), "svix-signature": several}, [SECRET], NOW)

    @pytest.mark.parametrize("off", [timedelta(minutes=-5), timedelta(), timedelta(minutes=5)])
    def test_five_minutes_are_tolerated(self, off: timedelta) -> None:
        """Clocks differ."""
        assert verify(BODY, headers(at=NOW + off), [SECRET], NOW)

    @pytest.mark.parametrize("off", [timedelta(seconds=-301), timedelta(seconds=301)])
    def test_old_and_future_ones_are_refused(self, off: timedelta) -> None:
        """A copy cannot be replayed for long; the log says how far off it is, the answer not."""
        with pytest.raises(WebhookSignatureError) as refused:
            verify(BODY, headers(at=NOW + off), [SECRET], NOW)
        assert f"{off.total_seconds():+.0f} s" in refused.value.reason
        assert "301" not in str(refused.value)

    @pytest.mark.parametrize(
        ("changed", "body"),
        [
            ({}, BODY.replace(b"sent", b"Sent")),
            ({}, json.dumps(json.loads(BODY), indent=1).encode()),
            ({}, b""),
            ({"svix-id": "msg_2"}, BODY),
            ({"svix-timestamp": str(int(NOW.timestamp()) + 1)}, BODY),
            ({"svix-signature": headers(secret=OTHER)["svix-signature"]}, BODY),
            ({"svix-signature": headers()["svix-signature"].replace("v1,", "v0,")}, BODY),
            ({"svix-signature": headers()["svix-signature"].removeprefix("v1,")}, BODY),
            ({"svix-signature": headers()["svix-signature"][:-1]}, BODY),
            ({"svix-signature": "v1,"}, BODY),
            ({"svix-signature": ""}, BODY),
            ({"svix-timestamp": "soon"}, BODY),
            ({"svix-timestamp": "\u0661\u0667"}, BODY),
            ({"svix-timestamp": "9" * 5000}, BODY),
            ({"svix-timestamp": ""}, BODY),
            ({"svix-id": ""}, BODY),
            ({"svix-id": "m" * 256}, BODY),
        ],
    )
    def test_everybody_else_is_refused(self, changed: dict[str, str], body: bytes) -> None:
        """A changed body, id, time or signature, another secret, another version."""
        with pytest.raises(WebhookSignatureError):
            verify(body, {**headers(), **changed}, [SECRET], NOW)

    @pytest.mark.parametrize("missing", ["svix-id", "svix-timestamp", "svix-signature"])
    def test_every_header_is_needed(self, missing: str) -> None:
        """Without one of the three nothing is believed."""
        incomplete = {name: value for name, value in headers().items() if name != missing}
        with pytest.raises(WebhookSignatureError):
            verify(BODY, incomplete, [SECRET], NOW)

    def test_without_secrets_nobody_is_believed(self) -> None:
        """No secret is no permission."""
        with pytest.raises(WebhookSignatureError):
            verify(BODY, headers(), [], NOW)

    def test_a_refusal_tells_the_caller_nothing(self) -> None:
        """The message is the same whatever was wrong."""
        messages = set()
        for wrong in ({"svix-id": ""}, {"svix-signature": "v1,x"}, {"svix-timestamp": "1"}):
            with pytest.raises(WebhookSignatureError) as refused:
                verify(BODY, {**headers(), **wrong}, [SECRET], NOW)
            messages.add(str(refused.value))
        assert len(messages) == 1


class TestEvents:
    """What is read."""

    @pytest.mark.parametrize(
        ("type_", "data", "expected"),
        [
            ("email.sent", {}, (ReminderStatus.SENT, None, None, None)),
            ("email.delivery_delayed", {}, (ReminderStatus.SENT, None, None, None)),
            ("email.delivered", {}, (ReminderStatus.DELIVERED, None, None, None)),
            (
                "email.complained",
                {},
                (ReminderStatus.COMPLAINED, None, StatusReason.SPAM_COMPLAINT, None),
            ),
            (
                "email.bounced",
                {
                    "bounce": {
                        "type": "Permanent",
                        "subType": "General",
                        "message": "ana@hospital.example is unknown",
                        "diagnosticCode": ["smtp; 550 5.1.1 <ana@hospital.example>"],
                    }
                },
                (ReminderStatus.BOUNCED, None, StatusReason.ADDRESS_BOUNCED, "Permanent/General"),
            ),
            (
                "email.bounced",
                {"bounce": {"type": "Transient", "subType": "MailboxFull"}},
                (ReminderStatus.BOUNCED, None, None, "Transient/MailboxFull"),
            ),
            (
                "email.bounced",
                {"bounce": {"type": "Undetermined", "diagnosticCode": "one string"}},
                (ReminderStatus.BOUNCED, None, None, "Undetermined"),
            ),
            (
                "email.bounced",
                {"bounce": {"type": "Permanent", "subType": "Suppressed"}},
                (ReminderStatus.SUPPRESSED, None, None, "Permanent/Suppressed"),
            ),
            (
                "email.suppressed",
                {"suppressed": {"type": "OnAccountSuppressionList", "message": "a@b.example"}},
                (ReminderStatus.SUPPRESSED, None, None, "OnAccountSuppressionList"),
            ),
            (
                "email.failed",
                {"failed": {"reason": "reached_daily_quota"}},
                (ReminderStatus.FAILED, StatusReason.QUOTA, None, "reached_daily_quota"),
            ),
            (
                "email.failed",
                {"failed": {"reason": "reached_monthly_quota"}},
                (ReminderStatus.FAILED, StatusReason.QUOTA, None, "reached_monthly_quota"),
            ),
            (
                "email.failed",
                {"failed": {"reason": "no such recipient: ana@hospital.example\n" + "x" * 200}},
                (
                    ReminderStatus.FAILED,
                    StatusReason.REJECTED,
                    None,
                    "no such recipient: *** " + "x" * 76 + "…",
                ),
            ),
        ],
    )
    def test_what_it_makes_of_a_reminder(
        self, type_: str, data: Json, expected: tuple[object, ...]
    ) -> None:
        """Each type has one status; only final bounces and complaints stop the recipient."""
        event = told(type_, **data)
        assert expected == (event.status, event.reason, event.stops, event.detail)

    def test_what_every_event_tells(self) -> None:
        """Ids, instants in UTC and bare recipients; no address in what a log could show."""
        event = told("email.delivered")
        assert (EMAIL, REMINDER) == (event.email_id, event.reminder_id)
        assert datetime(2026, 11, 23, 8, 59, 30, 126000, UTC) == event.occurred_at
        assert datetime(2026, 11, 23, 8, 59, 1, 500000, UTC) == event.accepted_at
        assert event.recipients == ("Ana@Hospital.example",)
        assert "ospital" not in repr(event)

    @pytest.mark.parametrize(
        ("tags", "expected"),
        [
            ([{"name": "kind", "value": "x"}, {"name": "reminder_id", "value": REMINDER}], True),
            ({"reminder_id": str(REMINDER).upper()}, True),
            ({"reminder_id": "24h"}, False),
            ({"reminder_id": 7}, False),
            ({"reminder_id": None}, False),
            ({}, False),
            ([], False),
            (["reminder_id", {"value": 1}, {"name": []}], False),
            ("reminder_id", False),
            (None, False),
        ],
    )
    def test_tags_in_any_form(self, tags: object, expected: bool) -> None:
        """An object in webhooks, a list elsewhere; what names no reminder of ours is no error."""
        event = told("email.sent", tags=json.loads(json.dumps(tags, default=str)))
        assert (REMINDER if expected else None) == event.reminder_id

    @pytest.mark.parametrize(
        ("tag", "expected"), [(str(REMINDER), REMINDER), ("production", None), (None, None)]
    )
    def test_whose_it_is(self, tag: str | None, expected: UUID | None) -> None:
        """The installation that sent it; earlier releases did not say so."""
        assert expected == told("email.sent", tags={"installation_id": tag}).installation

    @pytest.mark.parametrize(
        ("to", "expected"),
        [
            ("ana@hospital.example", ("ana@hospital.example",)),
            (["a@b.example", "Eva <e@b.example>"], ("a@b.example", "e@b.example")),
            ([None, 3, ""], ()),
            (None, ()),
        ],
    )
    def test_recipients_in_any_form(self, to: object, expected: tuple[str, ...]) -> None:
        """One or a list, with or without names."""
        assert expected == told("email.sent", to=to).recipients

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ("2026-11-23T10:59:30+02:00", datetime(2026, 11, 23, 8, 59, 30, tzinfo=UTC)),
            ("2026-11-23T08:59:30", datetime(2026, 11, 23, 8, 59, 30, tzinfo=UTC)),
            ("0001-01-01T00:00:00+14:00", NOW),
            ("yesterday", NOW),
            (None, NOW),
            (1, NOW),
        ],
    )
    def test_instants_in_any_form(self, said: object, expected: datetime) -> None:
        """One that cannot be read is the instant of the signature."""
        event = read({"type": "email.sent", "created_at": said, "data": {"email_id": EMAIL}})
        assert expected == event.occurred_at == event.accepted_at
        assert event.occurred_at.utcoffset() == timedelta()

    @pytest.mark.parametrize(
        "type_",
        ["email.opened", "email.clicked", "email.received", "contact.created", "email.teleported"],
    )
    def test_other_types_say_nothing_of_a_reminder(self, type_: str) -> None:
        """They are read like the rest, and make nothing of it; behaviour is not ours to keep."""
        event = told(type_)
        assert (type_, None, None) == (event.type, event.status, event.stops)

    def test_an_event_without_an_email_says_nothing(self) -> None:
        """Without the provider's id it cannot be told which e-mail it is about."""
        for email_id in (None, 7, "", "a b", "x" * 256, "\ud800"):
            assert told("email.bounced", email_id=email_id).status is None
        assert read({"type": "email.sent"}).status is None
        assert read({"type": "email.sent", "data": []}).status is None

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff",
            b"[" * 200_000,
            b"[]",
            b"null",
            b"{}",
            b'{"type": 1}',
            b'{"type":" "}',
        ],
    )
    def test_signed_nonsense_is_the_caller_s_mistake(self, body: bytes) -> None:
        """A good signature over what is no event is refused as unacceptable input."""
        with pytest.raises(InvalidInputError):
            verify(body, headers(body), [SECRET], NOW)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(FIELDS),
                    inner,
                )
            ),
        )
    )
    def test_whatever_an_event_holds_it_is_read(self, data: object) -> None:
        """No content of a signed event is a mistake of ours, nor anything that cannot be stored."""
        for type_ in ("email.bounced", "email.failed"):
            event = read({"type": type_, "created_at": data, "data": data})
            assert event.occurred_at.tzinfo is UTC
            assert len(event.detail or "") <= 100
            (event.detail or "").encode()
