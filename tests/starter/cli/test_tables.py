"""What is printed for people is whole, however narrow their terminal is."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import pytest
from rich.console import Console

from starter.cli import tables

WORDS = "not sent: its instant had passed when it was planned, and nobody is told too late"


def printed(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> str:
    """What a terminal of so many columns shows."""
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        tables.print_rows(console, columns, rows)
    return capture.get()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_id_and_no_instant_is_ever_cut_or_broken(width: int) -> None:
    """An id can be copied from a terminal of any width."""
    rows = [[str(uuid4()), "2026-12-01 15:00:00", WORDS, str(uuid4())] for _ in range(3)]
    text = printed(("session", "due (UTC)", "decision", "user"), rows, width=width)
    for session, due, _, user in rows:
        assert session in text
        assert due in text
        assert user in text
    assert "…" not in text


def test_a_table_that_fits_is_a_table() -> None:
    """And is as wide as what is in it."""
    text = printed(("status", "reminders"), [["scheduled", "3"]], width=80)
    assert "│ scheduled │ 3         │" in text


def test_sentences_are_wrapped_before_a_table_is_given_up() -> None:
    """Eighty columns suffice for an id and a sentence."""
    user = str(uuid4())
    lines = printed(("user", "decision"), [[user, WORDS]], width=80).splitlines()
    assert 80 == max(map(len, lines))
    words = " ".join(line.split("│")[2].strip() for line in lines if line.startswith("│"))
    assert WORDS == words


def test_a_column_without_content_goes_first() -> None:
    """So that the others have its place."""
    user = str(uuid4())
    text = printed(("user", "only for session", "reminder"), [[user, "", "24h"]], width=60)
    assert f"│ {user} │ 24h      │" in text
    assert "only for" not in text


def test_what_does_not_fit_is_a_block_of_lines() -> None:
    """A line for each cell that has something, and an empty one between rows."""
    first, second = str(uuid4()), str(uuid4())
    text = printed(
        ("session", "user", "error"), [[first, second, ""], [second, first, "x"]], width=80
    )
    assert text.splitlines() == [
        "",
        f"session  {first}",
        f"user     {second}",
        "",
        f"session  {second}",
        f"user     {first}",
        "error    x",
        "",
    ]


def test_an_empty_table_says_so() -> None:
    """Rather than being a head without a body."""
    assert "nothing to show\n" == printed(("cause", "reminders"), [], width=80)
