"""Translations: gettext catalogues, read from their sources when the process starts.

`locale/<language>/LC_MESSAGES/reminders.po` is all there is: no compiled files, no build step. The
message ids are the English texts. An operator's folder may have catalogues as well; what they say
goes before what ours say, and they may add a language.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from string import Formatter

from babel import UnknownLocaleError, localedata
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po

from reminders.domain.errors import ConfigurationError
from reminders.domain.languages import ENGLISH

OURS = Path(__file__).parent / "locale"
_LANGUAGE = re.compile("[a-z]{2,3}")
_FILE = Path("LC_MESSAGES", "reminders.po")


def translations(theirs: Path | None = None) -> Mapping[str, gettext.NullTranslations]:
    """What every text is called, by language; English needs no catalogue.

    Args:
        theirs: A folder with catalogues beside ours, as `<language>/LC_MESSAGES/reminders.po`.

    Raises:
        ConfigurationError: If one of theirs cannot be read, adds a language without all of its
            texts, or has other names in braces than the English text; names file and line.
    """
    found = {language: read(path, language) for language, path in _catalogues(OURS)}
    texts = {
        texts_of(message.id) for catalogue in found.values() for message in _messages(catalogue)
    }
    for language, path in _catalogues(theirs):
        if not (_LANGUAGE.fullmatch(language) and localedata.exists(language)):
            raise ConfigurationError(
                f"{path}: {language} is no language that is known here; write for example it"
            )
        added = read(path, language)
        for message in _messages(added):
            if problem := wrong_names(message):
                raise ConfigurationError(f"{path}, line {message.lineno}: {problem}")
        if language not in found and language != ENGLISH:
            missing = texts - {texts_of(message.id) for message in _messages(added)}
            if missing:
                raise ConfigurationError(f"{path}: {min(missing)[0]!r} is not translated")
        known = found.setdefault(language, added)
        for message in list(_messages(added)) if known is not added else ():
            known.delete(message.id, message.context)
            known[message.id] = message
    return {ENGLISH: gettext.NullTranslations()} | {
        language: compiled(catalogue) for language, catalogue in found.items()
    }


def wrong_names(message: Message) -> str | None:
    """What is wrong with the names in braces of a translation; none may be lost or invented."""
    ids, strings = texts_of(message.id), texts_of(message.string)
    allowed = {name for text in ids for name in names_in(text)}
    try:
        if all(set(names_in(text)) == allowed for text in strings):
            return None
    except ValueError:
        pass
    expected = ", ".join(f"{{{name}}}" for name in sorted(allowed)) or "no name"
    return f"the translation of {ids[0]!r} must have {expected} in braces, and nothing else"


def texts_of(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """A text, or all its plural forms."""
    return (text,) if isinstance(text, str) else tuple(text or ())


def names_in(text: str) -> tuple[str, ...]:
    """The names in braces, with whatever format or attribute they carry.

    Raises:
        ValueError: If a brace has no partner.
    """
    return tuple(
        name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
        for _, name, spec, conversion in Formatter().parse(text)
        if name is not None
    )


def languages(theirs: Path | None = None) -> frozenset[str]:
    """Those of `translations`, without reading any."""
    found = (language for folder in (OURS, theirs) for language, _ in _catalogues(folder))
    return frozenset({ENGLISH, *found})


def _catalogues(folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Language and file of every catalogue below a folder."""
    if folder is not None:
        for path in sorted(folder.glob(f"*/{_FILE}")):
            yield path.parents[1].name, path


def read(path: Path, language: str) -> Catalog:
    """A catalogue from its source.

    Raises:
        ConfigurationError: If it cannot be read; names file and line.
    """
    try:
        with path.open("rb") as file:
            return read_po(file, locale=language, abort_invalid=True)
    except (PoFileError, ValueError, OSError, UnknownLocaleError) as error:
        line = f", line {error.lineno + 1}" if isinstance(error, PoFileError) else ""
        raise ConfigurationError(f"{path}{line}: {error}") from None


def _messages(catalogue: Catalog) -> Iterator[Message]:
    """What is translated: not the header, nothing empty, nothing that is only a guess."""
    return (m for m in catalogue if m.id and m.string and all(texts_of(m.string)) and not m.fuzzy)


def compiled(catalogue: Catalog) -> gettext.GNUTranslations:
    """A catalogue as `gettext` asks it."""
    binary = BytesIO()
    write_mo(binary, catalogue)
    binary.seek(0)
    return gettext.GNUTranslations(binary)
