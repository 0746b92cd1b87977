"""Texts in several languages, as pretix and Indico store them: everybody gets their own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from reminders.domain.languages import in_language, text_in
from tests.reminders.mail.cases import ANA, FULL, mail

TITLE = {
    "en": "Cardiology",
    "de-informal": "Herzkunde",
    "de": "Kardiologie",
    "pt-br": "Cardiologia",
}


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (("de",), "Kardiologie"),
        (("de-AT",), "Kardiologie"),
        (("de_CH.UTF-8",), "Kardiologie"),
        (("de-informal",), "Herzkunde"),
        (("pt",), "Cardiologia"),
        (("PT-BR",), "Cardiologia"),
        (("fr", "de"), "Kardiologie"),
        (("fr",), "Cardiology"),
        ((None, ""), "Cardiology"),
        ((), "Cardiology"),
    ],
)
def test_the_first_language_that_there_is(names: tuple[str | None, ...], title: str) -> None:
    """The person's, the platform's, English, whichever comes first."""
    assert title == in_language(replace(FULL, title=json.dumps(TITLE)), *names).title


@pytest.mark.parametrize(
    "text",
    ["{title}", '{"a": 1}', "{", '{"a": {"b": "c"}}', "[1]", "{" * 5000, '{"a":' * 5000, "Plain"],
    ids=lambda text: text[:12],
)
def test_what_is_no_such_object_stays(text: str) -> None:
    """Somebody's title may begin with a brace."""
    session = replace(FULL, title=text)
    assert session == in_language(session, "de")


def test_empty_texts_are_none() -> None:
    """A language that was never filled in is passed over; without any there is no text."""
    session = replace(
        FULL, title='{"de": "", "en": "Cardiology"}', location='{"de": " ", "en": null}'
    )
    found = in_language(session, "de")
    assert ("Cardiology", "") == (found.title, found.location)


def test_the_e_mail_is_in_one_language() -> None:
    """Title, subject, place, speaker and notes."""
    texts = {
        "title": {"en": "Cardiology", "de": "Kardiologie"},
        "location": {"en": "Room 1", "de": "Raum 1"},
        "speaker_name": {"en": "Prof. One", "de": "Prof. Eins"},
        "preparation_notes": {"en": "Bring a pen", "de": "Stift mitbringen"},
    }
    stored: dict[str, Any] = {name: json.dumps(by) for name, by in texts.items()}
    session = replace(FULL, **stored)
    for language in ("de", "en"):
        message = mail(session=session, attendee=replace(ANA, locale=language))
        for by in texts.values():
            assert by[language] in message.text
        assert texts["title"][language] in message.subject
        assert '{"' not in message.text + message.html + message.subject


@pytest.mark.parametrize("escape", ["\\ud800", "\\u0000", "\\u001b[2K", "\\u0085"])
def test_what_json_can_say_and_nobody_can_read(escape: str) -> None:
    """An escape within a text in several languages is no way past what is refused elsewhere."""
    text = text_in(f'{{"en": "Cardiology {escape}update"}}', "en")
    assert text.encode()
    assert text.isprintable()
    assert "fin" == text_in(f'{{"en": "{escape[:6]}", "es": "fin"}}', "en")
