"""Subject templates: what operators may write, and what is refused when they save it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.errors import InvalidInputError
from reminders.mail.subject import (
    SUBJECT_NAMES,
    filled_subject,
    names_another_day,
    says_now,
    validate_subject_template,
)

VALUES: dict[str, str | None] = {name: f"<{name}>" for name in SUBJECT_NAMES}


@pytest.mark.parametrize(
    ("template", "subject"),
    [
        ("Reminder: {session_title} starts tomorrow", "Reminder: <session_title> starts tomorrow"),
        ("{time_left}: {session_title}", "<time_left>: <session_title>"),
        ("No names at all", "No names at all"),
        ("{{{session_title}}} 100%", "{<session_title>} 100%"),
        ("👩\u200d⚕️ {speaker_name}", "👩\u200d⚕️ <speaker_name>"),
    ],
)
def test_names_are_filled_in(template: str, subject: str) -> None:
    """Known names are replaced and everything else stands as written."""
    validate_subject_template(template)
    assert filled_subject(template, VALUES) == subject


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("x" * 201, "longer than 200"),
        ("a\r\nBcc: b", "line break"),
        ("a\u2028b", "line break"),
        ("a\u202eb", "invisible"),
        ("{session_title", "brace"),
        ("session_title}", "brace"),
        ("{}", "none of"),
        ("{0}", "none of"),
        ("{title}", "{title}, which is none of {session_title}, {speaker_name}"),
        ("{session_title.__class__}", "none of"),
        ("{session_title[0]}", "none of"),
        ("{session_title!r}", "{session_title!r}"),
        ("{session_title:>99999}", "{session_title:>99999}"),
        ("{session_title:{time_left}}", "none of"),
        ("{ session_title }", "none of"),
        ("{" + "x" * 150 + "}", "none of"),
        ("{{sessionTitle}} soon", "has {{sessionTitle}}, which would be sent as it stands"),
        ("{{sessionTitle}} soon", "single braces: {session_title}"),
        ("{{ session.title }}", "single braces: {session_title}"),
        ("{{session_title}}", "single braces: {session_title}"),
        ("{{unsubscribe}}", "single braces: one of {session_title}, {speaker_name}"),
        ("{{{sessionTitle}}}", "{session_title} seems to be meant"),
        ("${sessionTitle} soon", "{session_title} seems to be meant"),
        ("Hi {firstName}", "{attendee_name} seems to be meant"),
        ("{user.name}", "{attendee_name} seems to be meant"),
        ("{.}", "{.}, which is none of {session_title}"),
        ("{timeUntil}", "{time_left} seems to be meant"),
        ("{" + "{" + "x" * 150 + "}" + "}", "single braces"),
    ],
)
def test_anything_but_bare_names_is_refused(template: str, problem: str) -> None:
    """The error names the field and says what is wrong."""
    with pytest.raises(InvalidInputError) as refused:
        validate_subject_template(template)
    assert refused.value.field == "email_subject_template"
    assert problem in str(refused.value)
    assert len(str(refused.value)) < 300


@given(st.text(st.sampled_from("{}[].!:session_title ")))
def test_a_template_that_passes_can_be_filled_in(template: str) -> None:
    """Checking when saved means no surprise when sent."""
    try:
        validate_subject_template(template)
    except InvalidInputError:
        return
    assert filled_subject(template, VALUES) is not None


@given(st.text())
def test_values_are_never_read_as_templates(value: str) -> None:
    """Braces in a title stay braces."""
    filled = filled_subject("{session_title}", {**VALUES, "session_title": value})
    assert filled == (value or None)


@pytest.mark.parametrize("absent", [None, ""])
def test_a_subject_about_something_absent_is_no_subject(absent: str | None) -> None:
    """A "with " and nothing behind it is not sent."""
    assert filled_subject("with {speaker_name}", {**VALUES, "speaker_name": absent}) is None


@pytest.mark.parametrize(
    ("template", "days_ahead", "lies"),
    [
        ("{session_title} starts tomorrow", 1, False),
        ("{session_title} starts Tomorrow!", 0, True),
        ("{session_title} starts tomorrow", 2, True),
        ("TODAY: {session_title}", 0, False),
        ("Today: {session_title}", 1, True),
        ("{session_title} in 2 hours", 5, False),
        ("tomorrowland: {session_title}", 5, False),
        ("{session_title} beginnt morgen", 0, True),
        ("{session_title} beginnt morgen", 1, False),
        ("{session_title} empieza mañana", 2, True),
        ("{session_title} commence demain", 1, False),
        ("Aujourd'hui : {session_title}", 1, True),
        ("Aujourd’hui : {session_title}", 0, False),
        ("Hoy: {session_title}", 1, True),
    ],
)
def test_words_for_days_are_recognised(template: str, days_ahead: int, lies: bool) -> None:
    """A template's own "today" and "tomorrow", in any language, are compared with the calendar."""
    assert names_another_day(template, days_ahead=days_ahead) is lies


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("Starting Now: {session_title} begins in 30 minutes", True),
        ("{session_title} starts right now", True),
        ("Beginnt jetzt: {session_title}", True),
        ("Empieza ahora: {session_title}", True),
        ("C’est maintenant : {session_title}", True),
        ("Now with slides: {session_title}", False),
        ("{session_title} now starts {time_left}", False),
    ],
)
def test_words_for_now_are_recognised(template: str, says: bool) -> None:
    """That it starts now, in any language; other uses of "now" are the operator's own business."""
    assert says_now(template) is says
