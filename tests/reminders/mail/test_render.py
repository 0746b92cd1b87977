"""The e-mails themselves: golden copies, truthful subjects, and what they are made of."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import html5lib
import pytest

from reminders.domain.delivery_errors import RenderError
from reminders.mail.wording import Urgency
from tests.reminders.mail.cases import (
    ANA,
    BARE,
    FULL,
    LINKED,
    LINKS,
    RENDERER,
    facts,
    mail,
    rule,
    short_id,
)
from tests.reminders.mail.outline import Outline
from tests.reminders.mail.regenerate import CASES, GOLDEN, composed, rendered


@pytest.mark.parametrize("case", CASES)
def test_an_email_is_as_its_golden_copy(case: str) -> None:
    """Every change to an e-mail shows in a diff; `python -m tests.reminders.mail.regenerate`."""
    for name, content in rendered(case).items():
        assert content == (GOLDEN / name).read_text(encoding="utf-8"), name


def test_every_golden_copy_belongs_to_a_case() -> None:
    """No golden copy is left behind by a case that is gone."""
    assert {path.name for path in GOLDEN.iterdir()} == {n for case in CASES for n in rendered(case)}


@pytest.mark.parametrize("case", CASES)
def test_an_email_is_valid_html(case: str) -> None:
    """A strict HTML5 parser finds no error in any of them, whatever parts it is made of."""
    html5lib.HTMLParser(strict=True).parse(composed(CASES[case]).html)


@pytest.mark.parametrize("case", CASES)
def test_both_parts_say_the_same(case: str) -> None:
    """Whatever the text part says, the HTML part says, links included."""
    mail = composed(CASES[case])
    outline = Outline(mail.html)
    only_labels = {"when", "wann", "cuándo", "quand", "join", "teilnahme", "acceso", "accès", "--"}
    said = _words(mail.text) - only_labels
    assert said - _words(" ".join(outline.texts)) == set()
    assert {word.rstrip(".") for word in mail.text.split() if "://" in word} == outline.links


def test_one_session_in_three_places_on_the_sunday_when_clocks_go_back() -> None:
    """Los Angeles, Kolkata and Auckland each get their own date, clock, zone and language."""
    texts = {
        place: composed(CASES[f"dst_sunday_{place}"]).text
        for place in ("los_angeles", "kolkata", "auckland")
    }
    assert "Domingo, 1 de noviembre de 2026, 1:30\N{EN DASH}2:30\u00a0a.m." in texts["los_angeles"]
    assert "hora de Los Ángeles (UTC-8)" in texts["los_angeles"]  # the second 01:30, not the first
    assert "Sunday, 1 November 2026, 3:00\N{EN DASH}4:00\u00a0pm" in texts["kolkata"]
    assert "Kolkata time (UTC+5:30)" in texts["kolkata"]
    assert "Sunday, 1 November 2026, 10:30\N{EN DASH}11:30\u00a0pm" in texts["auckland"]
    assert "Auckland time (UTC+13)" in texts["auckland"]


def _words(text: str) -> set[str]:
    """Every word but web addresses, without the signs around it."""
    return {
        word.strip(":,.").casefold() for word in text.split() if "://" not in word and word != ":"
    } - {""}


DEFAULT_RULES = {
    "24h": rule(timedelta(hours=24), "Reminder: {session_title} starts tomorrow"),
    "2h": rule(timedelta(hours=2), "Starting Soon: {session_title} in 2 hours"),
    "1h": rule(timedelta(hours=1), "Starting Soon: {session_title} in 1 hour"),
    "30min": rule(timedelta(minutes=30), "Starting Now: {session_title} begins in 30 minutes"),
}
CLUB = replace(BARE, title="Club")


@pytest.mark.parametrize(
    ("name", "left", "subject"),
    [
        ("24h", timedelta(hours=24), "Reminder: Club starts tomorrow"),
        ("24h", timedelta(hours=23, minutes=55), "Reminder: Club starts tomorrow"),
        ("24h", timedelta(hours=23, minutes=54), "Reminder: Club starts tomorrow at 15:00"),
        ("24h", timedelta(hours=5), "Reminder: Club starts in 5 hours"),
        ("2h", timedelta(hours=2), "Starting Soon: Club in 2 hours"),
        ("2h", timedelta(minutes=115), "Starting Soon: Club in 2 hours"),
        ("2h", timedelta(minutes=114), "Starting Soon: Club starts in 1 hour 54 minutes"),
        ("2h", timedelta(minutes=20), "Starting Soon: Club starts in 20 minutes"),
        ("2h", timedelta(days=3), "Reminder: Club starts in 3 days"),
        ("1h", timedelta(hours=1), "Starting Soon: Club in 1 hour"),
        ("30min", timedelta(minutes=29, seconds=59), "Starting Soon: Club starts in 30 minutes"),
        ("30min", timedelta(minutes=12), "Starting Soon: Club starts in 12 minutes"),
        ("30min", timedelta(seconds=5), "Starting Now: Club begins in less than a minute"),
    ],
)
def test_a_subject_is_the_rules_own_as_long_as_it_is_true(
    name: str, left: timedelta, subject: str
) -> None:
    """Fixed words of a rule are said within five minutes of its lead; then the truth is."""
    assert mail(left, session=CLUB, reminder_rule=DEFAULT_RULES[name]).subject == subject


def test_tomorrow_is_only_said_when_it_is_tomorrow_for_the_attendee() -> None:
    """24 hours before 23:30 on a day of 25 hours is today, and the subject knows."""
    session = replace(CLUB, starts_at=datetime(2026, 11, 2, 4, 30, tzinfo=UTC))
    in_new_york = replace(ANA, time_zone="America/New_York")
    there = mail(
        timedelta(hours=24),
        session=session,
        attendee=in_new_york,
        reminder_rule=DEFAULT_RULES["24h"],
    )
    assert there.subject == "Reminder: Club starts in 24 hours"
    assert "tomorrow" not in there.text
    here = mail(timedelta(hours=24), session=session, reminder_rule=DEFAULT_RULES["24h"])
    assert here.subject == "Reminder: Club starts tomorrow"


def test_half_an_hour_before_is_not_now() -> None:
    """Neither header nor subject says so, whatever the rule's own words are; ten minutes are."""
    early, late = (
        mail(timedelta(minutes=m), reminder_rule=DEFAULT_RULES["30min"]) for m in (30, 10)
    )
    assert "now" not in (early.subject + early.text.partition("Hello")[0]).casefold()
    assert "STARTING NOW" in late.text


def test_a_reminder_says_first_that_a_cancelled_session_takes_place() -> None:
    """Restored shortly before it is due: the notice of that may come too late to be sent."""
    told = replace(facts(session=CLUB, reminder_rule=DEFAULT_RULES["2h"]), was_called_off=True)
    mail = RENDERER.render(told, now=CLUB.starts_at - timedelta(hours=2))
    assert mail.subject.startswith("Going ahead after all: Club on ")
    assert (
        "We told you that this session was cancelled. It will take place after all."
        " Your session starts in 2 hours." in " ".join(mail.text.split())
    )


def test_the_way_in_comes_before_the_calendars() -> None:
    """Who opens the text part as it starts looks for the link to join."""
    text = mail(timedelta(minutes=30), renderer=LINKED).text
    assert 0 < text.index(str(FULL.join_url)) < text.index(LINKS.google_url)


@pytest.mark.parametrize(
    ("template", "subject"),
    [
        (
            "{session_title} {time_left}",
            "Managing Atrial Fibrillation: what's new & why in 2 hours",
        ),
        ("{start_date}, {start_time}", "Wednesday, 2 December 2026, 00:00"),
        ("{time_zone}", "Tokyo time (UTC+9)"),
        ("{speaker_name} at {location}", "Dr. Inês Carvalho at Lecture Hall B"),
        ("For {attendee_name}", "For Ana Sousa"),
    ],
)
def test_a_subject_may_name_what_the_email_knows(template: str, subject: str) -> None:
    """Every documented name is filled in, in the attendee's zone."""
    in_tokyo = replace(ANA, time_zone="Asia/Tokyo")
    rendered_mail = mail(attendee=in_tokyo, reminder_rule=rule(timedelta(hours=2), template))
    assert rendered_mail.subject == subject


def test_a_subject_about_something_absent_is_replaced() -> None:
    """A session without a speaker gets the subject that every session can have."""
    with_speaker = rule(timedelta(hours=2), "{session_title} with {speaker_name}")
    assert mail(session=CLUB, reminder_rule=with_speaker).subject == (
        "Starting Soon: Club starts in 2 hours"
    )


@pytest.mark.parametrize("template", ["{title}", "{session_title.__class__}", "{", ""])
def test_a_bad_template_in_the_database_fails_this_email_only(template: str) -> None:
    """What somebody wrote past our checks is a rendering error, or the subject of ours."""
    broken = rule(timedelta(hours=2), template)
    if template:
        with pytest.raises(
            RenderError, match=r"^session_reminder/subject\.txt: InvalidInputError$"
        ):
            mail(reminder_rule=broken)
    else:
        assert mail(session=CLUB, reminder_rule=broken).subject == (
            "Starting Soon: Club starts in 2 hours"
        )


def test_a_rendering_error_names_template_and_cause_and_nobody() -> None:
    """The error rides in histories: no title, no name, no chained cause."""
    with pytest.raises(RenderError) as failed:
        mail(-timedelta(minutes=1))
    assert str(failed.value) == "session_reminder/view: ValueError"
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


@pytest.mark.parametrize("missing", ["session", "attendee", "rule"])
def test_missing_facts_are_a_rendering_error(missing: str) -> None:
    """Rows deleted in the meantime do not crash the batch."""
    with pytest.raises(RenderError, match="does not exist"):
        RENDERER.render(replace(facts(), **{missing: None}), now=FULL.starts_at)  # type: ignore[arg-type]


def test_a_session_without_a_title_is_your_session() -> None:
    """A title of nothing but invisible characters leaves no hole."""
    untitled = mail(session=replace(FULL, title="\u202e \r\n"))
    assert untitled.subject == "Reminder: Your session"
    assert "<h1" in untitled.html
    assert "\n\nYour session\n\n" in untitled.text


@pytest.mark.parametrize(
    ("attendee_zone", "session_zone", "shown"),
    [
        ("Asia/Tokyo", "Europe/Lisbon", ["Tokyo time (UTC+9)", "Lisbon time (UTC+0)"]),
        ("Europe/London", "Europe/Lisbon", ["London time (UTC+0)"]),
        (None, "Europe/Lisbon", ["Lisbon time (UTC+0)"]),
        ("Mars/Olympus", "Europe/Lisbon", ["Lisbon time (UTC+0)"]),
        ("Mars/Olympus", "Mars/Olympus", ["UTC"]),
        ("Asia/Tokyo", "Mars/Olympus", ["Tokyo time (UTC+9)", "UTC"]),
    ],
)
def test_the_attendees_zone_comes_first_and_the_sessions_second(
    attendee_zone: str | None, session_zone: str, shown: list[str]
) -> None:
    """The session's own zone is added only when its clocks show another time."""
    text = mail(
        session=replace(BARE, time_zone=session_zone),
        attendee=replace(ANA, time_zone=attendee_zone),
    ).text
    assert re.findall(r"^  (.*time \(UTC.*\)|UTC)$", text, re.MULTILINE) == shown


@pytest.mark.parametrize(
    "join_url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://uni.example/x",
        "https://",
        "https://[::1",
        "https://uni.example/a b",
        "https://uni.example/\r\nx",
        "//uni.example",
        "uni.example/room",
        "https://uni.example/" + "x" * 3_000,
    ],
    ids=short_id,
)
def test_only_web_addresses_become_links(join_url: str) -> None:
    """Anything else is shown as the platform wrote it, and cannot be clicked."""
    rendered_mail = mail(session=replace(BARE, join_url=join_url))
    assert "href" not in rendered_mail.html
    assert "Join:\n" in rendered_mail.text


def test_a_web_address_becomes_the_button() -> None:
    """The link is on the button and below it in full, escaped, and plain in the text part."""
    rendered_mail = mail(timedelta(minutes=10))
    assert (
        rendered_mail.html.count('href="https://meet.uni.example/j/82719?pwd=Zk1a&amp;lang=en"')
        == 2
    )
    assert ">Join the session</a>" in rendered_mail.html
    assert "\n  https://meet.uni.example/j/82719?pwd=Zk1a&lang=en\n" in rendered_mail.text


def test_preparation_notes_keep_their_lines() -> None:
    """Line breaks of any system are kept; runs of empty lines shrink to one."""
    rendered_mail = mail(
        session=replace(BARE, preparation_notes=" a\r\nb\n\n\n\nc <d>\u2028\n\u202e")
    )
    assert "  a\n  b\n\n  c <d>\n" in rendered_mail.text
    assert re.search(r"a<br>\s+b<br>\s+<br>\s+c &lt;d&gt;\s+</p>", rendered_mail.html)


@pytest.mark.parametrize("left", [timedelta(hours=24), timedelta(hours=2), timedelta(minutes=30)])
def test_the_html_is_accessible(left: timedelta) -> None:
    """Language and direction are declared, tables are presentational, there is one heading."""
    html = mail(left, attendee=replace(ANA, time_zone="Asia/Tokyo")).html
    assert html.startswith("<!DOCTYPE html>")
    assert (
        len(re.findall(r'lang="en-GB" dir="ltr"|dir="ltr" lang="en-GB"', html)) == 3
    )  # html, and what clients keep of body
    assert html.count("<h1") == 1
    assert len(re.findall("<table", html)) == len(
        re.findall(r'<table [^>]*role="presentation"', html)
    )
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert "<title>" in html
    assert "http" not in re.sub(r"https://meet\.uni\.example", "", html)  # nothing is loaded


def test_the_preheader_is_the_first_text() -> None:
    """The inbox shows the time left and the absolute time beside the subject."""
    texts = [text.strip() for text in Outline(mail().html.split("<body", 1)[1]).texts]
    assert next(filter(None, texts[1:])).startswith(
        "Your session starts in 2 hours. Tuesday, 1 December 2026, 15:00"
    )


def test_each_urgency_is_recognised_at_a_glance() -> None:
    """Colour, header and call to action change with the real time left."""
    looks = set()
    for left in (timedelta(hours=24), timedelta(hours=2), timedelta(minutes=10)):
        html = mail(left).html
        found = re.search(
            r"color: (#\w{6});[^>]*>([A-Z]\w+ \w+)</p>.*button-link[^>]*>([\w ]+)</a>",
            html,
            re.DOTALL,
        )
        assert found is not None
        looks.add(found.groups())
    assert len(looks) == len(Urgency)
    assert all(len(set(part)) == len(Urgency) for part in zip(*looks, strict=True))
