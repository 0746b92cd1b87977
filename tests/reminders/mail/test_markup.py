"""Notes that a rich text editor has written: formatted in HTML, words in text, and harmless in both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reminders.mail import markup
from reminders.mail.calendar import calendar_event
from reminders.mail.view import NOTES_BYTES
from tests.reminders.mail.cases import FULL, mail

NOTES = (
    "<p>Please <strong>read</strong> the <a href='https://example.org/case?a=1&amp;b=2'>case</a>.</p>"
    "<ul><li>a pen</li><li>paper &amp; ink</li></ul><p>See you<br>soon</p>"
)
TEXT = """\
Please read the case (https://example.org/case?a=1&b=2).

- a pen
- paper & ink

See you
soon"""


def with_notes(notes: str) -> tuple[str, str]:
    """HTML and text of an e-mail."""
    message = mail(session=replace(FULL, preparation_notes=notes))
    return message.html, message.text


def test_formatted_in_html_and_words_in_text() -> None:
    """Lists, emphasis and links as they were written; nobody sees a tag."""
    html, text = with_notes(NOTES)
    assert "<strong>read</strong>" in html
    assert "<li>a pen</li>" in html
    assert 'href="https://example.org/case?a=1&amp;b=2"' in html
    for line in filter(None, TEXT.splitlines()):
        assert line in text
    assert "<" not in text
    assert TEXT == markup.plain(NOTES)
    assert TEXT in calendar_event(replace(FULL, preparation_notes=NOTES), notes=1000).details


def test_lines_headings_and_cells_do_not_run_together() -> None:
    """An editor may put every line into a `div`; a table loses its cells, not the gaps between them."""
    notes = (
        "<h3>Before</h3><div>Bring a pen</div><div>and paper</div>"
        "<table><tr><th>Room</th><th>Floor</th></tr><tr><td>B</td><td>2</td></tr></table>"
    )
    assert "Before\n\nBring a pen\nand paper\nRoom Floor\nB 2" == markup.plain(notes)
    assert "<div>Bring a pen</div><div>and paper</div>" in with_notes(notes)[0]


@pytest.mark.parametrize(
    "notes",
    [
        "<p onclick='x()'>Hi<script>alert(1)</script><style>p{}</style></p>",
        "<p><a href='javascript:alert(1)'>Hi</a></p>",
        "<p><img src='https://tracker.example/1.gif'>Hi<iframe src=x></iframe></p>",
        "<p style='position:fixed'>Hi</p></td></tr></table><form><input></form>",
        "<p>Hi\u202e\ud800\x00",
        "<div>Hi" + "<div>" * 3000,
    ],
    ids=range(6),
)
def test_nothing_but_the_words_of_it_acts(notes: str) -> None:
    """No script, style, form, picture or foreign scheme; no table is closed; nothing is hidden."""
    html, text = with_notes(notes)
    shown = html.partition("notes-text")[2].partition("</td>")[0]
    assert "Hi" in shown
    for evil in ("script", "onclick", "javascript", "<img", "iframe", "fixed", "<form", "\u202e"):
        assert evil not in shown
    assert "Hi" in text
    assert "<" not in text


@pytest.mark.parametrize(
    "notes", ["x < y and <b>", "<script>alert(1)</script>", "1 <p", "a <paper> b", "Plain"]
)
def test_what_people_type_is_text(notes: str) -> None:
    """Angle brackets make no markup, and are shown."""
    assert not markup.is_markup(notes)
    assert notes in with_notes(notes)[1]


@pytest.mark.parametrize(
    "notes",
    [
        'Please read <a target="_blank" href="https://x.example/c">the case</a>',
        "<h3>Before</h3><blockquote>Read chapter 2</blockquote>",
    ],
)
def test_what_an_editor_wrote_without_paragraphs_is_markup(notes: str) -> None:
    """A link with other attributes before its address, and quotes."""
    assert markup.is_markup(notes)
    assert "<" not in with_notes(notes)[1]


def test_what_is_too_long_is_shown_as_text() -> None:
    """An e-mail beyond 102 KB would be clipped."""
    html, _ = with_notes("<p>word</p>" * (NOTES_BYTES // 5))
    assert "<p>word</p>" not in html
    assert len(html.encode()) < 102 * 1024
