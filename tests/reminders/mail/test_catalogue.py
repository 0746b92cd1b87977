"""Four languages, complete; profiles that name theirs oddly; and an operator's own words."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from gettext import c2py
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from reminders.domain.errors import ConfigurationError
from reminders.mail import catalogue
from reminders.mail.locales import Formats, locale_called
from reminders.mail.render import MailRenderer
from reminders.mail.subject import DEFAULT_SUBJECTS, validate_subject_template
from reminders.mail.wording import Wording
from tests.reminders.mail.cases import ANA, BARE, FULL, mail, rule, short_id

LANGUAGES = frozenset({"de", "en", "es", "fr"})
SOURCES = Path(catalogue.__file__).parent
TRANSLATIONS = catalogue.translations()


def wording_in(name: str) -> Wording:
    """The phrases of a locale."""
    locale = Locale.parse(name)
    return Wording(locale, TRANSLATIONS[locale.language])


def catalogue_of(language: str) -> Catalog:
    """The catalogue as it is written."""
    path = catalogue.OURS / language / "LC_MESSAGES" / "reminders.po"
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


# ---------------------------------------------------------------- complete


def test_we_speak_four_languages() -> None:
    """English is the source; the others have a catalogue each."""
    assert set(TRANSLATIONS) == LANGUAGES


@pytest.mark.parametrize("language", sorted(LANGUAGES - {"en"}))
def test_a_catalogue_is_complete(language: str) -> None:
    """Every text of the sources is translated, none is a guess, none is left over."""
    texts = {
        (catalogue.texts_of(found)[0], context)
        for _, _, found, _, context in extract_from_dir(SOURCES, [("**.py", "python")])
    }
    written = [message for message in catalogue_of(language) if message.id]
    ids = {(catalogue.texts_of(m.id)[0], m.context) for m in written}
    assert ids == texts
    for message in written:
        assert all(catalogue.texts_of(message.string)), message.id
        assert not message.fuzzy, message.id
        assert catalogue.wrong_names(message) is None
        assert isinstance(message.id, tuple) == isinstance(message.string, tuple)


@pytest.mark.parametrize("language", sorted(LANGUAGES - {"en"}))
def test_plurals_are_those_of_the_language(language: str) -> None:
    """The catalogue's rule for plurals agrees with the CLDR's for every number we say."""
    ours = c2py(catalogue_of(language).plural_expr)
    theirs = Locale(language).plural_form
    for number in range(1, 1000):
        assert (ours(number) == 0) == (theirs(number) == "one"), number


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_the_default_subjects_are_good_in_every_language(language: str) -> None:
    """What the catalogues make of them could be saved as a rule's subject."""
    for subject in DEFAULT_SUBJECTS:
        translated = wording_in(language).translated_subject(subject)
        validate_subject_template(translated)
        assert "{session_title}" in translated
        assert (translated == subject) == (language == "en")


# ---------------------------------------------------------------- wording


@pytest.mark.parametrize(
    ("locale", "line", "sentence"),
    [
        ("fr", "Mardi 1er décembre 2026", "mardi 1er décembre 2026"),
        ("es", "Martes, 1 de diciembre de 2026", "martes, 1 de diciembre de 2026"),
    ],
)
def test_a_date_has_a_capital_where_it_begins_a_line(locale: str, line: str, sentence: str) -> None:
    """And none within a subject, in languages that write their weekdays small."""
    found = mail(
        attendee=replace(ANA, locale=locale),
        reminder_rule=rule(timedelta(hours=2), "{session_title}, {start_date}"),
    )
    assert f"  {line}, 15:00" in found.text
    assert found.subject.endswith(f", {sentence}")


def test_a_german_sentence_after_the_greeting_needs_no_small_letter() -> None:
    """After "Guten Tag ...," German goes on in lower case; polite words keep their capital."""
    words = wording_in("de")
    said = [words.moved_tone.announcement]
    said += [tone.announcement for tone in words.tones.values()]
    said += [news.announcement for news in words.news.values()]
    assert {"Ihre"} == {announcement.split()[0] for announcement in said}


@pytest.mark.parametrize(
    ("locale", "left", "phrase"),
    [
        ("de", timedelta(minutes=1), "in 1 Minute"),
        ("de", timedelta(hours=1, minutes=5), "in 1 Stunde und 5 Minuten"),
        ("de", timedelta(days=3, hours=1), "in 3 Tagen und 1 Stunde"),
        ("de", timedelta(hours=24), "morgen um 15:00 Uhr"),
        ("es", timedelta(hours=2, minutes=1), "en 2 horas y 1 minuto"),
        ("es", timedelta(hours=24), "mañana a las 15:00"),
        ("es_MX", timedelta(hours=24), "mañana a las 3:00 p.m."),
        ("fr", timedelta(seconds=5), "dans moins d’une minute"),
        ("fr", timedelta(hours=2), "dans 2 heures"),
        ("fr_CA", timedelta(hours=24), "demain à 15 h 00"),
        ("en", timedelta(hours=24), "tomorrow at 3:00 PM"),
        ("en_GB", timedelta(hours=24), "tomorrow at 15:00"),
    ],
)
def test_time_left_follows_grammar_and_clock(locale: str, left: timedelta, phrase: str) -> None:
    """Plurals are the language's, and whether a clock has 12 or 24 hours is the territory's."""
    start = datetime(2026, 12, 1, 15, tzinfo=UTC)
    said = wording_in(locale).time_left(start, now=start - left, zone=ZoneInfo("UTC"))
    assert said.replace("\u00a0", " ") == phrase


@pytest.mark.parametrize(
    ("locale", "hour", "phrase"),
    [
        ("es", 1, "mañana a la 1:00"),
        ("es", 13, "mañana a las 13:00"),
        ("es_US", 13, "mañana a la 1:00 p.m."),
        ("es_US", 0, "mañana a las 12:00 a.m."),
    ],
)
def test_one_oclock_is_singular_in_spanish(locale: str, hour: int, phrase: str) -> None:
    """It is the hour on the clock that decides, which has 12 hours in America."""
    start = datetime(2026, 12, 1, hour, tzinfo=UTC)
    said = wording_in(locale).time_left(
        start, now=start - timedelta(hours=24), zone=ZoneInfo("UTC")
    )
    assert said.replace("\u00a0", " ") == phrase


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_zone_has_a_name_in_every_language(language: str) -> None:
    """No zone of the database is unknown, invisible, or a path with underscores."""
    formats = Formats(Locale(language))
    unknown = re.compile("unknown|unbekannt|desconocida|inconnue", re.IGNORECASE)
    for key in available_timezones():
        place = formats.place(ZoneInfo(key))
        assert place is None or place.isprintable(), key
        assert place is None or not re.search(r"[/_]", place), key
        assert place is None or not unknown.search(place), key


# ---------------------------------------------------------------- whose language


@pytest.mark.parametrize(
    ("stored", "locale"),
    [
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de_AT"),
        ("de_CH.UTF-8", "de_CH"),
        ("de_DE@euro", "de_DE"),
        ("de-Latn-AT-u-hc-h23", "de_AT"),
        ("es-419", "es_419"),
        (" fr_ca ", "fr_CA"),
        ("en-ZZ", "en"),
        ("de-1996", "de"),
        ("pt-BR", None),
        ("zh-Hant-TW", None),
        ("C", None),
        ("POSIX", None),
        ("english", None),
        ("germany", None),
        ("", None),
        (None, None),
        ("../../etc", None),
        ("d\x00e", None),
        ("x" * 5_000, None),
    ],
    ids=short_id,
)
def test_a_profiles_language_is_understood_or_passed_over(
    stored: str | None, locale: str | None
) -> None:
    """BCP 47, POSIX and carelessness are read; what we do not speak is nothing."""
    found = locale_called(stored, LANGUAGES)
    assert (str(found) if found else None) == locale


@pytest.mark.parametrize(
    ("stored", "default", "header"),
    [
        ("fr", "de", "BIENTÔT"),
        ("pt-BR", "de", "BEGINNT BALD"),
        (None, "es-MX", "EMPIEZA PRONTO"),
        (None, "en", "STARTING SOON"),
    ],
)
def test_without_a_language_of_ours_the_default_is_spoken(
    stored: str | None, default: str, header: str
) -> None:
    """First the attendee's, then the operator's default, which is English unless set."""
    renderer = MailRenderer(default_locale=default)
    rendered = mail(attendee=replace(ANA, locale=stored), renderer=renderer)
    assert rendered.text.startswith(f"{header}\n")


def test_a_default_that_we_do_not_speak_is_refused() -> None:
    """The remedy is in the error."""
    with pytest.raises(ConfigurationError, match=r"'pt-BR'.*none of the languages de, en, es, fr"):
        MailRenderer(default_locale="pt-BR")


def test_a_subject_in_the_operators_own_words_stays_as_written() -> None:
    """A template is in one language; only those that every installation has are translated."""
    german = replace(ANA, locale="de")
    own = rule(timedelta(hours=2), "See you in {location}")
    assert mail(attendee=german, reminder_rule=own).subject == "See you in Lecture Hall B"
    default = rule(timedelta(hours=2), "Starting Soon: {session_title} in 2 hours")
    club = replace(BARE, title="Club")
    assert mail(session=club, attendee=german, reminder_rule=default).subject == (
        "Beginnt bald: Club in 2 Stunden"
    )


def test_a_translated_subject_is_held_to_the_calendar_as_well() -> None:
    """The day before is "morgen"; the same subject on another day gives way to the truth."""
    german = replace(ANA, locale="de", time_zone="Pacific/Kiritimati")
    default = rule(timedelta(hours=24), "Reminder: {session_title} starts tomorrow")
    club = replace(BARE, title="Club")
    there = mail(timedelta(hours=24), session=club, attendee=german, reminder_rule=default)
    assert there.subject == "Erinnerung: Club beginnt morgen"
    longer = rule(timedelta(hours=60), "Reminder: {session_title} starts tomorrow")
    later = mail(timedelta(hours=60), session=club, attendee=german, reminder_rule=longer)
    assert later.subject == "Erinnerung: Club beginnt in 2 Tagen und 12 Stunden"


# ---------------------------------------------------------------- an operator's words


def write_catalogue(folder: Path, language: str, *messages: tuple[str, str]) -> Path:
    """A catalogue in an operator's folder of templates."""
    path = folder / "locale" / language / "LC_MESSAGES" / "reminders.po"
    path.parent.mkdir(parents=True)
    head = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n'
    entries = (f'\nmsgid "{text}"\nmsgstr "{translation}"\n' for text, translation in messages)
    path.write_text(head + "".join(entries), encoding="utf-8")
    return path


def test_an_operator_may_say_it_in_other_words(tmp_path: Path) -> None:
    """Their catalogue goes before ours, text by text, and has room for their own subjects."""
    write_catalogue(
        tmp_path, "de", ("Hello {name},", "Moin {name},"), ("See you, {session_title}", "Bis dann, {session_title}")
    )  # fmt: skip
    write_catalogue(tmp_path, "en", ("Hello {name},", "Dear {name},"))
    renderer = MailRenderer(templates=tmp_path)
    own = rule(timedelta(hours=2), "See you, {session_title}")
    german = mail(attendee=replace(ANA, locale="de"), reminder_rule=own, renderer=renderer)
    assert "Moin Ana Sousa," in german.text
    assert "Mit:\n" in german.text
    assert german.subject == f"Bis dann, {FULL.title}"
    assert "Dear Ana Sousa," in mail(renderer=renderer).text


@pytest.mark.parametrize(
    ("language", "message", "problem"),
    [
        ("de", ("Hello {name},", "Hallo,"), r"line 4: .* must have \{name\} in braces"),
        ("de", ("Hello {name},", "{name.__class__}"), r"line 4: .* must have \{name\}"),
        ("de", ("Hello {name},", "{name"), r"line 4: .* must have \{name\}"),
        ("de", ("See {session_title}", "Da"), r"line 4: .* must have \{session_title\}"),
        ("pt", ("Hello,", "Olá,"), "is not translated"),
        ("tlh", ("Hello,", "nuqneH"), "tlh is no language"),
    ],
)
def test_a_translation_that_would_fail_is_refused_at_the_start(
    tmp_path: Path, language: str, message: tuple[str, str], problem: str
) -> None:
    """The file is named, and the line."""
    path = write_catalogue(tmp_path, language, message)
    with pytest.raises(ConfigurationError, match=problem) as refused:
        MailRenderer(templates=tmp_path)
    assert str(path) in str(refused.value)


def test_a_catalogue_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    """So is one that a text editor has damaged."""
    path = write_catalogue(tmp_path, "de", ("Hello,", "Hallo,"))
    path.write_text(path.read_text(encoding="utf-8") + "damaged\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"reminders\.po, line 6"):
        MailRenderer(templates=tmp_path)
