"""What becomes a link in notes that other people typed, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.mail.markup import Piece, added_by, is_web_address, pieces
from tests.reminders.mail.cases import BARE, mail
from tests.reminders.mail.outline import Outline


@pytest.mark.parametrize(
    ("line", "links"),
    [
        ("Read https://uni.example/a?b=1&c=2.", ["https://uni.example/a?b=1&c=2"]),
        ("(see https://uni.example/a)", ["https://uni.example/a"]),
        ("https://en.wiki.example/Heart_(organ), chapter 2", ["https://en.wiki.example/Heart_(organ)"]),
        ("HTTP://UNI.example/A and https://b.example!", ["HTTP://UNI.example/A", "https://b.example"]),
        ("write to mailto:help@uni.example;", ["mailto:help@uni.example"]),
        ("https://bücher.example/ä", ["https://bücher.example/ä"]),
        ("javascript:alert(1) data:text/html,x ftp://uni.example file:///etc/passwd", []),
        ("jhttps://uni.example", []),
        ("https://bank.example@evil.example/", []),
        ("mailto:a@b.example?bcc=everyone@uni.example", []),
        ("https:// https://[::1 http:/x", []),
        ("https://uni.example/" + "x" * 3_000, []),
        ("no link at all", []),
        ("", []),
    ],
)  # fmt: skip
def test_web_addresses_and_mailboxes_become_links(line: str, links: list[str]) -> None:
    """Nothing else does; and the sentence around a link is not part of it."""
    cut = pieces(line, room=10_000)
    assert [piece.url for piece in cut if piece.url] == links
    assert "".join(piece.text for piece in cut) == line


def test_there_is_an_end_to_links() -> None:
    """Those for which there is no room in the e-mail stay text."""
    room = added_by("https://a.example") + 1
    assert pieces("https://a.example https://b.example", room=room) == (
        Piece("https://a.example", "https://a.example"),
        Piece(" https://b.example"),
    )


@given(st.text(st.sampled_from("https:/.mailto@aé(<>\"'&)[]»“”\u202e\u200d 🩺")))
def test_any_line_is_kept_and_only_safe_links_are_made(line: str) -> None:
    """Whatever is written, the pieces are the line, and lead nowhere but to web and mail."""
    cut = pieces(line, room=10_000)
    assert "".join(piece.text for piece in cut) == line
    for piece in cut:
        assert not piece.url or piece.url == piece.text
        assert not piece.url or piece.url.lower().startswith(("http://", "https://", "mailto:"))
        assert piece.url.isprintable()


def test_links_in_notes_can_be_clicked_and_read() -> None:
    """The link is where it stands in the notes, escaped, and the text part has it as written."""
    session = replace(BARE, preparation_notes='See <b> https://uni.example/?a=1&b="2".')
    rendered = mail(session=session)
    assert Outline(rendered.html).links == {"https://uni.example/?a=1&b="}
    assert 'See &lt;b&gt; <a class="accent"' in rendered.html
    assert '  See <b> https://uni.example/?a=1&b="2".\n' in rendered.text


@pytest.mark.parametrize("text", ["https://uni.example/\u202egnp.exe", "https://uni.example/a b"])
def test_an_address_that_shows_another_than_it_opens_is_none(text: str) -> None:
    """Direction overrides and spaces hide where a link leads."""
    assert not is_web_address(text)
