"""What Resend's answers mean: each becomes exactly one error, which says what may be done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.delivery_errors import (
    DeliveryError,
    MailBlockedError,
    MailNotConfiguredError,
    MailOutcomeUnknownError,
    MailQuotaExceededError,
    MailRateLimitedError,
    MailRejectedError,
    MailUnavailableError,
)
from reminders.domain.ports import Accepted, Refused
from reminders.mail.resend import ResendMailer
from reminders.mail.resend_errors import (
    LONGEST_MESSAGE,
    retry_after,
    safe_message,
    speaks_of_sender,
)
from tests.reminders.mail.cases import FixedClock, message
from tests.reminders.mail.resend_stub import CLOCK, KEY, answer, error, failed, posted, stub

OPERATOR = MailNotConfiguredError
BAD = MailRejectedError
BLOCKED = MailBlockedError
AWAY = MailUnavailableError


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "invalid_idempotency_key", BAD),
        (400, "validation_error", BAD),
        (401, "missing_api_key", OPERATOR),
        (401, "restricted_api_key", OPERATOR),
        (403, "invalid_api_key", OPERATOR),
        (403, "restricted_api_key", OPERATOR),
        (403, "suspended_api_key", OPERATOR),
        (403, "invalid_permission", OPERATOR),
        (403, "validation_error", OPERATOR),
        (404, "not_found", OPERATOR),
        (405, "method_not_allowed", OPERATOR),
        (401, "something_new", OPERATOR),
        (402, "something_new", BLOCKED),
        (403, "something_new", BLOCKED),
        (403, "sender_not_allowed", OPERATOR),
        (404, "something_new", BLOCKED),
        (409, "concurrent_idempotent_requests", AWAY),
        (409, "invalid_idempotent_request", MailOutcomeUnknownError),
        (409, "resource_locked", AWAY),
        (409, "something_new", AWAY),
        (422, "missing_required_field", BAD),
        (422, "missing_required_parameter", BAD),
        (422, "invalid_parameter", BAD),
        (422, "invalid_attachment", BAD),
        (422, "validation_error", BAD),
        (422, "invalid_access", BAD),
        (422, "invalid_region", BAD),
        (422, "invalid_from_address", OPERATOR),
        (422, "domain_not_verified", OPERATOR),
        (413, "something_new", BAD),
        (451, "security_error", BLOCKED),
        (429, "rate_limit_exceeded", MailRateLimitedError),
        (429, "something_new", MailRateLimitedError),
        (429, "daily_quota_exceeded", MailQuotaExceededError),
        (429, "monthly_quota_exceeded", MailQuotaExceededError),
        (408, "something_new", AWAY),
        (500, "application_error", AWAY),
        (500, "internal_server_error", AWAY),
        (502, "bad_gateway", AWAY),
        (503, "service_unavailable", AWAY),
        (504, "gateway_timeout", AWAY),
        (599, "something_new", AWAY),
    ],
)
async def test_each_refusal_has_one_meaning(
    status: int, name: str, kind: type[DeliveryError]
) -> None:
    """Every row of Resend's error table becomes exactly one error, which quotes name and status."""
    failure = await failed(error(status, name, "Because."))
    assert type(failure) is kind
    assert str(failure).startswith(f"Resend answered {status} {name}: ")
    assert failure.retryable is (kind not in (BAD, MailOutcomeUnknownError))
    if isinstance(failure, MailUnavailableError):
        assert failure.outcome_unknown


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BLOCKED), (401, BLOCKED), (403, BLOCKED), (404, BLOCKED), (405, BLOCKED),
                         (413, BLOCKED), (451, BLOCKED), (408, AWAY), (429, MailRateLimitedError),
                         (502, AWAY), (503, AWAY)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"<html>1010</html>", "text/html"),
        (b"", "application/json"),
        ({"error": "invalid_api_key"}, "application/json"),
        ({"name": "", "message": ""}, "application/json"),
        (b'{"name": "invalid_api_key"', "application/json"),
    ],
    ids=["page", "nothing", "other-json", "no-name", "half"],
)
async def test_what_is_not_in_resends_words_is_nobody_elses_fault(
    status: int, kind: type[DeliveryError], body: object, media_type: str
) -> None:
    """A page of a proxy or firewall, or JSON of another's, says nothing about key, sender or mail."""
    assert type(await failed(answer(status, body, None, media_type))) is kind


@pytest.mark.parametrize("body", [{"data": [{"id": "1"}]}, b""])
@pytest.mark.parametrize("status", [301, 307, 308])
async def test_a_redirect_is_not_followed(status: int, body: object) -> None:
    """The key is not posted to wherever an answer points."""
    failure = await failed(answer(status, body, {"location": "http://127.0.0.1:9/emails"}))
    assert type(failure) is MailBlockedError


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Invalid `from` field. The email address needs to follow the format.", OPERATOR),
        ("Missing `from` field.", OPERATOR),
        ("Invalid from address.", OPERATOR),
        ("Invalid `to` field. Take the one of `from`.", BAD),
        ("""Invalid `to`: '"invalid from"@uni.edu'.""", BAD),
        ("The message is too long.", BAD),
    ],
)
async def test_words_about_the_sender_are_about_all_e_mails(
    text: str, kind: type[DeliveryError]
) -> None:
    """All of them have the same one. What is quoted from a request after a field of its own is not."""
    assert type(await failed(error(422, "validation_error", text))) is kind


@pytest.mark.parametrize(
    ("messages", "is_about_us"),
    [
        (["Invalid `from` field."] * 3, True),
        (["Invalid `to` field.", "Invalid `from` field.", "Invalid `from` field."], True),
        (["Invalid `to` field."] * 3, False),
    ],
)
async def test_e_mails_that_are_all_refused_for_their_sender_are_not_to_blame(
    messages: list[str], is_about_us: bool
) -> None:
    """Refused one by one and not as a whole, none of them may end as refused for good."""
    errors = [{"index": i, "message": m} for i, m in enumerate(messages)]
    reply = answer(200, {"data": [], "errors": errors})
    if is_about_us:
        assert type(await failed(reply, 3)) is MailNotConfiguredError
    else:
        assert [Refused(m) for m in messages] == list(await posted(reply, 3))


async def test_one_refused_for_its_sender_among_others_fails_alone() -> None:
    """The provider knows our sender, as it accepted the others."""
    errors = [{"index": 1, "message": "Invalid `from` field."}]
    receipts = await posted(answer(200, {"data": [{"id": "a"}], "errors": errors}), 2)
    assert (Accepted("a"), Refused("Invalid `from` field.")) == receipts


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, timedelta(seconds=1)),
        ({"retry_after": "3"}, timedelta(seconds=3)),
        ({"Retry_After": "2.5"}, timedelta(seconds=2.5)),
        ({"retry_after": "0"}, timedelta(seconds=1)),
        ({"retry_after": "-7"}, timedelta(seconds=1)),
        ({"retry_after": "86400"}, timedelta(minutes=1)),
        ({"retry_after": "1e300"}, timedelta(minutes=1)),
        ({"retry_after": "nan"}, timedelta(seconds=1)),
        ({"retry_after": "soon"}, timedelta(seconds=1)),
        ({"retry_after": "Mon, 23 Nov 2026 18:15:20 GMT"}, timedelta(seconds=20)),
        ({"retry_after": "Mon, 23 Nov 2026 18:14:00 GMT"}, timedelta(seconds=1)),
        ({"ratelimit_reset": "4"}, timedelta(seconds=4)),
        ({"retry_after": "2", "ratelimit_reset": "4"}, timedelta(seconds=2)),
    ],
)
async def test_the_rate_limit_says_when_to_come_back(
    headers: dict[str, str], wait: timedelta
) -> None:
    """Seconds or a date, in any spelling of the header; a second at least and a minute at most."""
    failure = await failed(error(429, "rate_limit_exceeded", **headers))
    assert isinstance(failure, MailRateLimitedError)
    assert failure.retry_after == wait


@pytest.mark.parametrize(
    ("status", "name", "headers", "wait"),
    [
        (409, "concurrent_idempotent_requests", {}, timedelta(seconds=1)),
        (409, "concurrent_idempotent_requests", {"retry_after": "5"}, timedelta(seconds=5)),
        (503, "service_unavailable", {"retry_after": "30"}, timedelta(seconds=30)),
        (500, "application_error", {}, None),
    ],
)
async def test_other_refusals_may_say_when_to_come_back(
    status: int, name: str, headers: dict[str, str], wait: timedelta | None
) -> None:
    """A request still running is asked for again after a second; an outage decides for itself."""
    failure = await failed(error(status, name, **headers))
    assert isinstance(failure, MailUnavailableError)
    assert failure.retry_after == wait


@pytest.mark.parametrize(
    ("name", "headers", "resets_at"),
    [
        ("daily_quota_exceeded", {}, datetime(2026, 11, 24, tzinfo=UTC)),
        ("monthly_quota_exceeded", {}, datetime(2026, 12, 1, tzinfo=UTC)),
        ("daily_quota_exceeded", {"retry_after": "7200"}, CLOCK.at + timedelta(hours=2)),
        ("daily_quota_exceeded", {"retry_after": "1"}, CLOCK.at + timedelta(minutes=1)),
        ("monthly_quota_exceeded", {"retry_after": "1e9"}, CLOCK.at + timedelta(days=31)),
        (
            "monthly_quota_exceeded",
            {"retry_after": "Tue, 01 Dec 2026 00:00:00 GMT"},
            datetime(2026, 12, 1, tzinfo=UTC),
        ),
    ],
)
async def test_a_quota_says_when_it_is_renewed(
    name: str, headers: dict[str, str], resets_at: datetime
) -> None:
    """As the header tells, else at the next midnight or on the first of the month, in UTC."""
    failure = await failed(error(429, name, **headers))
    assert isinstance(failure, MailQuotaExceededError)
    assert failure.resets_at == resets_at


async def test_a_month_ends_in_december_too() -> None:
    """The first of the next month may be in the next year."""
    async with stub(error(429, "monthly_quota_exceeded")) as server:
        clock = FixedClock(datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
        async with ResendMailer(api_key=KEY, clock=clock, api_url=server.url) as mail:
            with pytest.raises(MailQuotaExceededError) as caught:
                await mail.post(mail.encode([message()]), idempotency_key="k")
    assert caught.value.resets_at == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_date_without_a_zone_is_read_as_utc() -> None:
    """Some servers write "-0000", which is UTC as well."""
    headers = {"Retry-After": "Mon, 23 Nov 2026 18:15:09 -0000"}
    assert retry_after(headers, now=CLOCK.at) == timedelta(seconds=9)


async def test_neither_addresses_nor_keys_get_into_errors() -> None:
    """What the provider quotes is blanked, put on one line and bounded."""
    text = "Invalid `to`:\n'Ana <ana@uni.edu>', key re_abc_DEF " + "ana@uni.edu;" * 99 + "x" * 999
    failure = await failed(error(422, "validation_error", text))
    assert str(failure).startswith(
        "Resend answered 422 validation_error: Invalid `to`: 'Ana <***>', key *** ***;***;"
    )
    assert "uni.edu" not in str(failure)
    assert len(str(failure)) <= LONGEST_MESSAGE
    assert "\n" not in str(failure)


@given(st.text(max_size=2_000), st.emails())
def test_no_address_survives(text: str, address: str) -> None:
    """Whatever surrounds an address, it is not repeated."""
    assert address not in safe_message(f"{text} {address} {text}")


@pytest.mark.parametrize(
    ("message", "is_about_us"),
    [
        ("The acme.example domain is not verified. Please, add and verify your domain", True),
        ("You can only send testing emails to your own email address (me@acme.example).", True),
        ("Invalid `from` field.", True),
        ("Invalid `to` field: The acme.example domain is not verified", False),
        ('"The acme.example domain is not verified" is no address', False),
    ],
)
def test_a_refusal_of_our_domain_is_told_from_one_of_an_address(
    message: str, *, is_about_us: bool
) -> None:
    """By how it begins: what follows may quote the request."""
    assert speaks_of_sender(message) is is_about_us
