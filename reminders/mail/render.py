"""Turns a reminder into a subject, an HTML part and a text part.

The preview and the sending use this one function. Templates are compiled once, when the renderer is
built, and strict: a name that does not exist is an error, never an empty spot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from babel import Locale
from jinja2 import Template

from reminders.domain.delivery_errors import RenderError
from reminders.domain.errors import ConfigurationError
from reminders.domain.languages import ENGLISH, in_language
from reminders.domain.model import Attendee, DeliveryFacts, ReminderRule, Session
from reminders.mail import wording
from reminders.mail.branding import Branding
from reminders.mail.catalogue import translations
from reminders.mail.links import AttendeeLinks, LinkMaker
from reminders.mail.locales import first_known_zone, locale_called
from reminders.mail.notice_wording import News, news_of
from reminders.mail.plain_text import one_line, shortened
from reminders.mail.samples import LINKS, OWN_JOIN_URL, sample_facts
from reminders.mail.subject import (
    filled_subject,
    names_another_day,
    says_now,
    says_when,
    says_which_day,
    subject_parts,
)
from reminders.mail.templating import HTML, NOTICE, REMINDER, SUBJECT, TEXT, Templates
from reminders.mail.view import (
    SUBJECT_TITLE,
    MailView,
    NoticeView,
    after_all,
    mail_view,
    notice_view,
)
from reminders.mail.wording import Urgency, Wording

_SUBJECT = 300
"""Code points, at the most."""
_LOCALES = 256
"""How many are kept ready; our languages have fewer territories between them."""


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """An e-mail without its envelope."""

    subject: str
    html: str
    text: str
    links: AttendeeLinks | None = None
    """Those that its parts show."""
    true_until: datetime | None = None
    """Until when what it says of the time left holds; absent means until the session starts."""


class MailRenderer:
    """Renders session reminders; stateless after it is built, safe to share."""

    def __init__(
        self,
        *,
        brand: Branding | None = None,
        default_locale: str = ENGLISH,
        templates: Path | None = None,
        links: LinkMaker | None = None,
    ) -> None:
        """Compile the templates and read the translations.

        Args:
            brand: Whose e-mails these are; absent means nobody's in particular.
            default_locale: For attendees without one of ours: BCP 47, such as `en-GB`.
            templates: An operator's folder. Its templates go before ours by name, and its
                `locale/<language>/LC_MESSAGES/reminders.po` before our translations.
            links: Makes calendar and stop links; absent where there is no public address.

        Raises:
            ConfigurationError: If the locale is in none of our languages; or a template or a
                translation of theirs cannot be used, by file and line.
        """
        self._brand = brand or Branding()
        self._links = links
        self._translations = translations(templates / "locale" if templates else None)
        self._languages = frozenset(self._translations)
        default = locale_called(default_locale, self._languages)
        if default is None:
            raise ConfigurationError(
                f"EMAIL_LOCALE is {default_locale[:40]!r}, which is in none of the"
                f" languages {', '.join(sorted(self._languages))}"
            )
        self._default = default
        self._wording = lru_cache(maxsize=_LOCALES)(self._new_wording)
        palettes = {urgency: self._brand.palette(urgency) for urgency in Urgency}
        self._reminder = Templates(REMINDER, palettes, theirs=templates)
        self._notice = Templates(NOTICE, palettes, theirs=templates)
        if templates is not None:  # our own are tried by tests, not by every process that starts
            self._check_templates()

    def render(
        self, facts: DeliveryFacts, *, now: datetime, is_for_attendee: bool = True
    ) -> RenderedMail:
        """The e-mail as the attendee is to read it.

        The subject is the rule's own template as long as that is true; translated, if it is one of
        those that the catalogues know. Such templates carry fixed words ("in 2 hours", "tomorrow")
        which their author chose for the rule's lead, so the e-mail gets a subject of ours, which
        says the real time left, when

        - the session was moved since the attendee was last told, or takes place after all, or
        - the time left differs from the rule's lead by more than five minutes, or
        - the template says "today" or "tomorrow" and the attendee's calendar says otherwise, or
        - it says "starting now" and more than ten minutes are left, or
        - it names something that this session does not have, such as a location.

        A notice says what has changed, and not how much time is left, so only the last two count.

        Args:
            facts: With session, attendee and rule.
            now: The instant by which the time left is judged; aware, not after the start.
            is_for_attendee: Whether nobody else gets it; others get no link that stops reminders, and
                none that lets somebody in who has one of their own.

        Raises:
            RenderError: If a template fails or there is nothing to render; names template and
                cause, and no data.
        """
        session, attendee, rule = facts.session, facts.attendee, facts.rule
        templates = self._reminder if facts.reminder.notice is None else self._notice
        if session is None or attendee is None or rule is None:
            raise RenderError(
                f"{templates.mail}: the session, the attendee or the rule does not exist"
            )
        part = "view"
        try:
            words = self._wording(self._locale_of(attendee))
            session = in_language(session, attendee.locale, str(self._default))
            if facts.own_join_url:
                url = facts.own_join_url if is_for_attendee else OWN_JOIN_URL
                session = replace(session, join_url=url)
            links = self._links.links(session, attendee.user_id) if self._links else None
            if links and facts.own_join_url and not is_for_attendee:  # the file has it as well
                links = replace(links, ics_url=LINKS.ics_url, webcal_url=LINKS.webcal_url)
            view = self._view(
                facts,
                session,
                attendee,
                now=now,
                words=words,
                links=links,
                is_for_attendee=is_for_attendee,
            )
            part = SUBJECT
            subject, true_until = self._subject_for(rule, session, attendee, view, words, now=now)
            subject = one_line(subject or templates.subject.render(mail=view), _SUBJECT)
            part = HTML
            html = templates.html[view.urgency].render(mail=view)
            part = TEXT
            text = templates.text.render(mail=view)
        except Exception as error:  # noqa: BLE001 -- whatever it is, only this e-mail fails
            # Nothing is chained: messages and locals of the cause may quote the attendee.
            raise RenderError(f"{templates.mail}/{part}: {type(error).__name__}") from None
        return RenderedMail(
            subject=subject, html=html, text=text, links=links, true_until=true_until
        )

    def _view(
        self,
        facts: DeliveryFacts,
        session: Session,
        attendee: Attendee,
        *,
        now: datetime,
        words: Wording,
        links: AttendeeLinks | None,
        is_for_attendee: bool,
    ) -> MailView:
        """What the templates show: of a reminder, or of a notice."""
        view = mail_view(
            session,
            attendee,
            now=now,
            moved_from=facts.moved_from,
            words=words,
            brand=self._brand,
            links=links,
            is_for_attendee=is_for_attendee,
        )
        if facts.reminder.notice is None:
            return after_all(view, words) if facts.was_called_off else view
        return notice_view(
            view,
            news_of(facts.reminder.notice, was_called_off=facts.was_called_off),
            session=session,
            attendee=attendee,
            moved_from=facts.moved_from,
            words=words,
            links=links,
        )

    def _locale_of(self, attendee: Attendee) -> Locale:
        """The attendee's own locale if it is in a language of ours, else the default."""
        return locale_called(attendee.locale, self._languages) or self._default

    def _new_wording(self, locale: Locale) -> Wording:
        words = self._translations[locale.language]
        return Wording(locale, words, product=self._brand.product_name)

    def _subject_for(
        self,
        rule: ReminderRule,
        session: Session,
        attendee: Attendee,
        view: MailView,
        words: Wording,
        *,
        now: datetime,
    ) -> tuple[str | None, datetime | None]:
        """The rule's subject if it is true at `now`, and until when all words are true."""
        zone = first_known_zone(attendee.time_zone, session.time_zone)
        days_ahead = wording.days_ahead(session.starts_at, now=now, zone=zone)
        left = session.starts_at.astimezone(UTC) - now.astimezone(UTC)
        template = words.translated_subject(rule.subject_template)
        subject = None
        true_until: datetime | None = wording.true_until(session.starts_at, now=now, zone=zone)
        is_apt = not names_another_day(template, days_ahead=days_ahead)
        if isinstance(view, NoticeView):
            is_apt &= view.news is not News.AFTER_ALL
            counts = any(name == "time_left" for _, name in subject_parts(template))
            true_until = true_until if counts else None
        else:
            is_apt &= view.moved_from is None and not view.is_after_all
            is_apt &= abs(left - rule.lead) <= wording.PUNCTUAL
            is_apt &= view.urgency is Urgency.NOW or not says_now(template)
        if is_apt:
            values = {
                "session_title": shortened(view.title, SUBJECT_TITLE),
                "speaker_name": view.speaker,
                "time_left": view.time_left,
                "start_date": view.start_date,
                "start_time": view.start_time,
                "time_zone": view.when.zone,
                "location": view.location,
                "attendee_name": view.attendee_name,
            }
            subject = filled_subject(template, values)
        untrue_from = [true_until] if true_until else []
        if subject and says_when(template) and not rule.is_notice:
            untrue_from.append(session.starts_at - rule.lead + wording.PUNCTUAL)
        if subject and says_which_day(template):
            untrue_from.append(wording.midnight_after(now, zone=zone))
        return subject, min(untrue_from, default=None)

    def _check_templates(self) -> None:
        """Try every template with everything an e-mail may have, and with nothing."""
        for facts, links, now in sample_facts():
            if facts.session is None or facts.attendee is None:  # no sample is without
                continue
            view = self._view(
                facts,
                facts.session,
                facts.attendee,
                now=now,
                words=self._wording(self._default),
                links=links,
                is_for_attendee=links is None or facts.moved_from is None,
            )

            def render(template: Template, view: MailView = view) -> object:
                return template.render(mail=view)

            (self._reminder if facts.reminder.notice is None else self._notice).check(render)
