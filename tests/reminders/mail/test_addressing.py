"""Addresses as people, platforms and libraries spoil them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.delivery_errors import InvalidAddressError
from reminders.mail import addressing
from reminders.mail.addressing import deliverable_address, is_mailbox

_PIECES = st.sampled_from(
    [
        *string.ascii_lowercase[:4],
        *'0.-_@+"\\()[]<>:;, \t\n\0',
        *("xn--", "xn--a-", "localhost", ".test", "IPv6:", "..", "Ana <"),
        *(
            "İ",
            "ß",
            "א",
            "\u0660",
            "\u0300",
            "\uff11",
            "。",
            "\u2488",
            "\u00ad",
            "\u200d",
            "\ufeff",
            "😀",
        ),
    ]
)
_SPOILT = st.lists(_PIECES, max_size=16).map("".join)


@given(_SPOILT | st.text(max_size=40))
def test_whatever_it_is_it_is_an_address_or_none(text: str) -> None:
    """No other error comes out, whatever comes in."""
    try:
        address = deliverable_address(text)
    except InvalidAddressError:
        return
    assert "@" in address
    assert address.isprintable()


@pytest.mark.parametrize(
    "text", ["(" * 20_000, '"' * 20_000, "a@" + "b." * 5000 + "com", "x" * 100_000 + "@y.com"]
)
def test_what_is_endless_is_no_address(text: str) -> None:
    """Neither length nor nesting leads to another answer."""
    assert not is_mailbox(text)
    with pytest.raises(InvalidAddressError):
        deliverable_address(text)


def test_an_error_that_no_library_should_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an address that is none, and its words are not passed on: they may quote it."""

    def stumble(*_: object, **__: object) -> object:
        raise IndexError("ana@hospital.example")

    monkeypatch.setattr(addressing, "validate_email", stumble)
    with pytest.raises(InvalidAddressError) as refused:
        deliverable_address("ana@hospital.example")
    assert "ana" not in str(refused.value)
    assert refused.value.__cause__ is None
