"""What fields accept, and the words in which they refuse: no regular expression is an answer."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from reminders.settings import Settings
from starter.api.models import LocaleName, QueryInstant
from tests.starter.conftest import serving

INSTANT: TypeAdapter[datetime] = TypeAdapter(QueryInstant)
LOCALE: TypeAdapter[str] = TypeAdapter(LocaleName)


@pytest.mark.parametrize(
    "name", ["de", "de-AT", "de_AT", "de_AT.UTF-8", "de_AT.UTF-8@euro", "de-Latn-AT-u-hc-h23"]
)
def test_a_locale_is_taken_as_browsers_and_systems_write_it(name: str) -> None:
    """With the encoding and the variant that POSIX systems have behind it."""
    assert name == LOCALE.validate_python(name)


@pytest.mark.parametrize(
    "name", ["german!", "C.UTF-8", "POSIX", "de AT", "d", "de_AT.", "de-" * 30]
)
def test_what_is_no_locale_is_refused_with_an_example(name: str) -> None:
    """In words that a person can act on."""
    with pytest.raises(ValidationError) as refused:
        LOCALE.validate_python(name)
    message = refused.value.errors()[0]["msg"]
    assert re.search("write for example de-AT|at most 35 characters", message), message


@pytest.mark.parametrize("offset", ["+01:00", " 01:00", "-00:30", "Z"])
def test_an_instant_is_the_same_however_its_plus_came_through_a_query(offset: str) -> None:
    """Not escaped it is a space, which no instant has there otherwise."""
    instant = INSTANT.validate_python(f"2031-12-01T15:00:00{offset}")
    assert instant == datetime.fromisoformat(f"2031-12-01T15:00:00{offset.replace(' ', '+')}")


async def test_an_address_of_this_machine_is_refused_where_mail_is_live(settings: Settings) -> None:
    """Nobody can get an e-mail there; where everything is redirected, it may stand for somebody."""
    live = Settings.model_validate(
        {
            **dict(settings),
            "delivery_mode": "live",
            "email_from": "reminders@hospital.example",
            "resend_api_key": "re_of_this_test_alone",
        }
    )
    for mode, expected in ((live, 422), (settings, 201)):
        async with serving(mode) as api:
            answer = await api.put(f"/v1/users/{uuid4()}", json={"email": "ana@localhost"})
        assert expected == answer.status_code
        if expected == 422:
            assert "email" == answer.json()["errors"][0]["field"]
