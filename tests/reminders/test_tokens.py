"""Tokens of links: stable, bound to their purpose, and nobody else's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.errors import LinkNotFoundError
from reminders.domain.ports import Enrollment
from reminders.tokens import LENGTH, Purpose, Tokens
from tests.builders import SESSION, USER

OLD, NEW = "of-the-tests-only-0123456789-abcdefghij", "another-of-the-tests-0123456789-klmnopq"
TOKENS = Tokens([OLD])
STOP = TOKENS.make(Purpose.STOP, SESSION, USER)


def test_a_link_in_an_old_mail_still_works() -> None:
    """The token of an enrollment is this text for ever: it is in e-mails that were sent."""
    assert "AV5VEAAAAEAAgAAAAAAAAAGnfgAAAABAAIAAAAAAAAABakhHV0PXhhhkXggbaerhgg" == STOP
    assert LENGTH == len(STOP)
    assert Enrollment(SESSION, USER) == TOKENS.read(Purpose.STOP, STOP)


def test_a_secret_is_rotated() -> None:
    """The first of several secrets signs; all are accepted; one that was dropped is not."""
    both = Tokens([NEW, OLD])
    fresh = both.make(Purpose.STOP, SESSION, USER)
    assert fresh == Tokens([NEW]).make(Purpose.STOP, SESSION, USER)
    assert both.read(Purpose.STOP, STOP) == both.read(Purpose.STOP, fresh)
    assert is_refused(Tokens([NEW]), STOP)


@given(st.integers(0, LENGTH - 1), st.characters(max_codepoint=0x2FF))
def test_no_character_may_differ(index: int, character: str) -> None:
    """A token with any other character anywhere is none."""
    other = STOP[:index] + character + STOP[index + 1 :]
    assert other == STOP or is_refused(TOKENS, other)


@given(st.text(max_size=2 * LENGTH))
def test_whatever_else_is_refused(text: str) -> None:
    """Any text is refused, and with the same error."""
    assert is_refused(TOKENS, text)


def test_a_token_serves_its_purpose_only() -> None:
    """The calendar's token, which is given to calendar services, stops nothing."""
    assert is_refused(TOKENS, TOKENS.make(Purpose.CALENDAR, SESSION, USER))


def is_refused(tokens: Tokens, token: str) -> bool:
    """Whether it opens no stop page."""
    try:
        tokens.read(Purpose.STOP, token)
    except LinkNotFoundError:
        return True
    return False
