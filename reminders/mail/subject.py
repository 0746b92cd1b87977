"""Subjects as operators write them: text with a handful of `{names}`, in one language.

They are parsed, never formatted: `str.format` would follow attributes and indexes of whatever it is
given, and fail on the first stray brace at three in the morning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from string import Formatter

from reminders.domain.errors import InvalidInputError
from reminders.mail.plain_text import is_one_line

SUBJECT_NAMES = (
    "session_title",
    "speaker_name",
    "time_left",
    "start_date",
    "start_time",
    "time_zone",
    "location",
    "attendee_name",
)
"""What a subject template may name."""

LONGEST_TEMPLATE = 200
"""Code points; mail programs show about 60 of a subject."""

_KNOWN = ", ".join(f"{{{name}}}" for name in SUBJECT_NAMES)
_FIELD = "email_subject_template"
N_ = str
"""Marks a text for the catalogues without translating it here (gettext's own name for that)."""
_SHOWN = 40
"""How much of a wrong name an error quotes, in code points."""
_DOUBLED = re.compile(r"(?<!\{)\{\{\s*([^\W\d][\w.]*)\s*\}\}(?!\})")
"""A name as Handlebars and others have it; here that would be braces around a word, sent as it stands."""
_MEANT = {
    "title": "session_title",
    "name": "attendee_name",
    "firstname": "attendee_name",
    "fullname": "attendee_name",
    "username": "attendee_name",
    "speaker": "speaker_name",
    "host": "speaker_name",
    "date": "start_date",
    "time": "start_time",
    "when": "time_left",
    "timeuntil": "time_left",
    "timeremaining": "time_left",
    "place": "location",
    "room": "location",
} | {name.replace("_", ""): name for name in SUBJECT_NAMES}
"""What other systems call our names, in lower case and without punctuation."""
_DAYS = {
    "today": 0,
    "tomorrow": 1,
    "heute": 0,
    "morgen": 1,
    "hoy": 0,
    "mañana": 1,
    "aujourd'hui": 0,
    "aujourd’hui": 0,
    "demain": 1,
}
"""Days ahead, by the words of our languages. Some also mean "morning", and then it is wrong: a
subject of ours in place of the operator's own is the lesser evil."""
_DAY_WORDS = re.compile(rf"\b({'|'.join(_DAYS)})\b", re.IGNORECASE)
_NOW_WORDS = re.compile(
    r"\b(start(s|ing)|begin(s|ning)) (right )?now\b|\bbeginnt jetzt\b|\bempieza ahora\b"
    r"|\bc['’]est maintenant\b|\bcommence maintenant\b",
    re.IGNORECASE,
)

DEFAULT_SUBJECTS = (
    N_("Reminder: {session_title} starts tomorrow"),
    N_("Starting Soon: {session_title} in 2 hours"),
    N_("Starting Soon: {session_title} in 1 hour"),
    N_("Cancelled: {session_title} on {start_date}, {start_time}"),
    N_("New time for {session_title}: {start_date}, {start_time}"),
    N_("Confirmed: {session_title} on {start_date}, {start_time}"),
)
"""Of the rules that every installation is seeded with; the catalogues translate them. That of the
last one, half an hour before, says "now", and so is never said as it stands."""


def validate_subject_template(template: str) -> None:
    """Refuse a subject template that could not be filled in.

    Raises:
        InvalidInputError: If it is empty, too long, not one line, has a stray brace, has anything
            but one of `SUBJECT_NAMES` between braces, or a word between doubled ones.
    """
    if not template.strip():
        raise _wrong("is empty; write for example: Reminder: {session_title}")
    if len(template) > LONGEST_TEMPLATE:
        raise _wrong(f"is longer than {LONGEST_TEMPLATE} characters")
    if not is_one_line(template):
        raise _wrong("has a line break or another invisible character")
    subject_parts(template)


@lru_cache(maxsize=256)
def subject_parts(template: str) -> tuple[tuple[str, str | None], ...]:
    """The template as pairs of literal text and the name that follows it, if one does.

    Raises:
        InvalidInputError: As `validate_subject_template`.
    """
    if doubled := _DOUBLED.search(template):
        raise _wrong(
            f"has {doubled[0][:_SHOWN]}, which would be sent as it stands;"
            f" names have single braces: {_instead(doubled[1]) or f'one of {_KNOWN}'}"
        )
    parts: list[tuple[str, str | None]] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(template):
            if name is not None and (spec or conversion or name not in SUBJECT_NAMES):
                found = (
                    name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                )
                meant = _instead(name)
                instead = f"; {meant} seems to be meant" if meant else ""
                raise _wrong(f"has {{{found[:_SHOWN]}}}, which is none of {_KNOWN}{instead}")
            parts.append((literal, name))
    except ValueError:
        raise _wrong("has a brace without its partner; write {{ or }} for a brace itself") from None
    return tuple(parts)


def filled_subject(template: str, values: Mapping[str, str | None]) -> str | None:
    """The subject with its names filled in.

    Args:
        template: One that passes `validate_subject_template`.
        values: A value for each of `SUBJECT_NAMES`.

    Returns:
        `None` if it names something that is absent: "with " and nothing behind it is no subject.
    """
    filled: list[str] = []
    for literal, name in subject_parts(template):
        filled.append(literal)
        if name is not None:
            value = values[name]
            if not value:
                return None
            filled.append(value)
    return "".join(filled)


def names_another_day(template: str, *, days_ahead: int) -> bool:
    """Whether the template's own words say "today" or "tomorrow" of a session on another day.

    In any of our languages, for it may be written in another one than the attendee's.
    """
    words = " ".join(literal for literal, _ in subject_parts(template))
    return any(_DAYS[word.lower()] != days_ahead for word in _DAY_WORDS.findall(words))


def says_now(template: str) -> bool:
    """Whether the template's own words say that it starts now, in any of our languages."""
    return any(_NOW_WORDS.search(literal) for literal, _ in subject_parts(template))


def says_when(template: str) -> bool:
    """Whether the template's own words count the time left, as in "in 2 hours"; by their digits."""
    return any(c.isdigit() for literal, _ in subject_parts(template) for c in literal)


def says_which_day(template: str) -> bool:
    """Whether the template's own words say "today" or "tomorrow", in any of our languages."""
    return any(_DAY_WORDS.search(literal) for literal, _ in subject_parts(template))


def _instead(name: str) -> str | None:
    """The name that is meant by one of another system's, in braces: `sessionTitle`, `user.name`."""
    words = re.findall(r"[A-Za-z]+", name)
    whole = "".join(words).lower()
    meant = _MEANT.get(whole) or (_MEANT.get(words[-1].lower()) if words and "." in name else None)
    return f"{{{meant}}}" if meant else None


def _wrong(what: str) -> InvalidInputError:
    """The error for the template's field."""
    return InvalidInputError(f"the subject template {what}", field=_FIELD)
