"""The pages that attendees see: rendered here, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import gettext
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from babel import Locale
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reminders.db.preference_store import Reader
from reminders.domain.languages import in_language
from reminders.domain.model import OptOut, SessionStatus
from reminders.mail.branding import Branding
from reminders.mail.catalogue import compiled, read, translations
from reminders.mail.locales import first_known_zone, locale_called
from reminders.mail.plain_text import one_line
from reminders.mail.wording import Appointment, Wording
from reminders.tokens import Purpose

_HERE = Path(__file__).parent
_ENGLISH = Locale("en")
_TITLE = 200
"""Code points."""
_LONGEST_HEADER = 200
"""Characters of `Accept-Language` that are looked at."""

Action = Literal["session", "everything", "resume"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StopPage:
    """What the stop page shows: plain text, not escaped."""

    state: Literal["", "session", "everything"]
    """What is stopped."""
    is_withheld: bool
    """Whether it is whatever they choose, since their mailbox refused our e-mails."""
    is_resumed: bool
    is_enrolled: bool
    is_past: bool
    """Whether the session has no more reminders anyway."""
    is_cancelled: bool = False
    """Whether it has none unless it takes place after all."""
    title: str = ""
    """Empty when the session is gone."""
    when: Appointment | None = None
    """As its e-mails say it; absent when the session is gone."""


class Pages:
    """Renders; stateless after it is built, safe to share."""

    def __init__(
        self,
        default_locale: str = "en",
        *,
        brand: Branding | None = None,
        templates: Path | None = None,
    ) -> None:
        """Compile templates and translations.

        Args:
            default_locale: For readers without a language of ours, as in their e-mails.
            brand: Whose pages these are, as in their e-mails.
            templates: An operator's folder: days and zones are named as its catalogues have them.

        Raises:
            ConfigurationError: If a catalogue of theirs cannot be used, by file and line.
        """
        self._product = (brand or Branding()).product_name
        self._words = translations(templates / "locale" if templates else None)
        self._catalogues = dict(_catalogues())
        self._languages = frozenset(self._catalogues)
        self._default = self._known(default_locale) or _ENGLISH
        css = (_HERE / "templates" / "page.css").read_text(encoding="utf-8")
        self._css = Markup(css)  # noqa: S704 - our own file
        digest = base64.b64encode(sha256(css.encode()).digest()).decode()
        self.policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;"
            " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        """Value of `Content-Security-Policy`: our one style sheet, our own forms, nothing else."""
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def stop(self, reader: Reader, *, now: datetime, resumed: bool = False) -> str:
        """The page that asks what is to stop, or tells what is stopped.

        Args:
            reader: Whose link was followed.
            now: Judges whether the session lies ahead.
            resumed: Whether they have just taken a stop back.
        """
        locale = self.locale(reader.attendee.locale)
        words = Wording(locale, self._words[locale.language])
        page = _stop_page(reader, words, now=now, resumed=resumed)
        return self._render("stop.html", locale, page=page)

    def unknown(self, locale: Locale, of: Purpose = Purpose.STOP) -> str:
        """The page of a link that names nobody; how else reminders stop is said of a stop link."""
        return self._render("unknown.html", locale, stops=of is Purpose.STOP)

    def unavailable(self, locale: Locale, action: Action | None) -> str:
        """The page of a moment at which nothing can be done; offers to do the same once more."""
        return self._render("unavailable.html", locale, action=action)

    def locale(self, name: str | None) -> Locale:
        """The locale of that name if there are texts in its language; else the default."""
        return self._known(name or "") or self._default

    def preferred(self, header: str) -> Locale:
        """The first language of `Accept-Language` that there are texts in; else the default.

        Browsers write the preferred one first, so their weights are passed over.
        """
        names = (part.partition(";")[0].strip() for part in header[:_LONGEST_HEADER].split(","))
        return next(filter(None, map(self._known, names)), self._default)

    def _known(self, name: str) -> Locale | None:
        return locale_called(name, self._languages)

    def _render(self, template: str, locale: Locale, **values: object) -> str:
        return self._environment.get_template(template).render(
            css=self._css,
            product=self._product,
            language=str(locale).replace("_", "-"),
            direction=locale.text_direction,
            _=self._catalogues[locale.language].gettext,
            **values,
        )


def _stop_page(reader: Reader, words: Wording, *, now: datetime, resumed: bool) -> StopPage:
    session = reader.session
    state: Literal["", "session", "everything"] = ""
    is_withheld = bool(reader.choices.withheld)
    if is_withheld or OptOut() in reader.choices.opt_outs:
        state = "everything"
    elif session is not None and OptOut(session_id=session.id) in reader.choices.opt_outs:
        state = "session"
    page = StopPage(
        state=state,
        is_withheld=is_withheld,
        is_resumed=resumed,
        is_enrolled=reader.is_enrolled,
        is_past=True,
    )
    if session is None:
        return page
    zone = first_known_zone(reader.attendee.time_zone, session.time_zone)
    starts = session.starts_at.astimezone(zone)
    return replace(
        page,
        is_past=session.starts_at <= now or not reader.is_enrolled,
        is_cancelled=session.status is SessionStatus.CANCELLED,
        title=one_line(in_language(session, reader.attendee.locale, words.language).title, _TITLE)
        or words.untitled,
        when=words.appointment(starts, None),
    )


def _catalogues() -> Iterator[tuple[str, gettext.NullTranslations]]:
    """The texts by language, from their sources; the ids are the English ones."""
    yield _ENGLISH.language, gettext.NullTranslations()
    for path in sorted((_HERE / "locale").glob("*/LC_MESSAGES/attendee.po")):
        language = path.parents[1].name
        yield language, compiled(read(path, language))
