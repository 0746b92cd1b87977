"""E-mails to look at, and to send to oneself: made by the composer that sends.

For the API, the commands and the admin pages alike: what is meant (`Wanted`) is looked up (`scene`),
shown (`Mails.preview`) or sent to `VERIFIED_TEST_EMAIL` and nobody else (`send_test`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from reminders.clock import SystemClock
from reminders.db.audit import Action, By
from reminders.domain.decide import moved_from
from reminders.domain.delivery_errors import MailRejectedError
from reminders.domain.errors import (
    ConflictError,
    InvalidInputError,
    RuleNotFoundError,
    TooManyTestsError,
)
from reminders.domain.model import Attendee, Message, ReminderRule, Session
from reminders.domain.ports import Refused
from reminders.mail.addressing import DeliveryMode
from reminders.mail.branding import Branding
from reminders.mail.compose import MailComposer
from reminders.mail.links import AttendeeLinks, LinkMaker, SignedLinks
from reminders.mail.render import MailRenderer
from reminders.mail.resend import ResendMailer
from reminders.mail.samples import LINKS, SESSION, preview
from reminders.settings import Settings
from reminders.tokens import Tokens
from starter.assembly import Parts

AT_MOST = 5
"""Test e-mails a minute, of all processes: they share the pace of what people wait for."""
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which e-mail is meant; of the three instants one at the most."""

    session_id: UUID | None = None
    """Absent means a sample one."""
    user_id: UUID | None = None
    """Absent means a sample attendee."""
    reminder_type: str | None = None
    """Absent means the first rule that counts."""
    at: datetime | None = None
    """When it is sent; aware. Without any instant, the rule's own."""
    before: timedelta | None = None
    """So long before the session starts."""
    late: timedelta | None = None
    """So long after the rule's own instant."""
    locale: str | None = None
    """Of the sample attendee."""
    time_zone: str | None = None
    """Of the sample attendee."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What was meant, looked up."""

    session: Session
    attendee: Attendee | None
    rule: ReminderRule
    rules: tuple[ReminderRule, ...]
    """All that count for the session."""
    at: datetime
    locale: str | None = None
    time_zone: str | None = None
    moved_from: datetime | None = None
    """The start that this person was told before."""
    has_own_link: bool = False
    """Whether the attendee joins by a link of their own, which nobody else is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TestSent:
    """A test e-mail that the provider took."""

    email_id: str
    """The provider's."""
    event_id: int
    """Its entry in the audit log."""


async def scene(parts: Parts, wanted: Wanted) -> Scene:
    """Look up what is meant.

    Raises:
        InvalidInputError: If it contradicts itself.
        NotFoundError: If something does not exist.
    """
    if sum(instant is not None for instant in (wanted.at, wanted.before, wanted.late)) > 1:
        raise InvalidInputError(
            "say the instant in one way only: itself, how long before the start, or how late",
            field="at",
        )
    session_id = wanted.session_id
    session = await parts.catalogue.session(session_id) if session_id else SESSION
    rules = await parts.rules.of_session(session_id)
    rule = next((r for r in rules if wanted.reminder_type in (None, r.reminder_type)), None)
    if rule is None:
        raise RuleNotFoundError
    at = wanted.at or session.starts_at - _ahead(rule)
    try:
        if wanted.before is not None:
            at = session.starts_at - wanted.before
        if wanted.late is not None:
            at += wanted.late
    except OverflowError:
        raise InvalidInputError("there is no such year", field="at") from None
    told = None
    if session_id and wanted.user_id:
        told = await parts.queries.told_start(session_id, wanted.user_id)
    return Scene(
        session=session,
        attendee=await parts.catalogue.user(wanted.user_id) if wanted.user_id else None,
        has_own_link=wanted.user_id is not None
        and await parts.catalogue.has_own_link(session.id, wanted.user_id),
        rule=rule,
        rules=rules,
        at=at,
        locale=wanted.locale,
        time_zone=wanted.time_zone,
        moved_from=moved_from(told, session.starts_at, now=at),
    )


def _ahead(rule: ReminderRule) -> timedelta:
    """How long before the start an e-mail of this rule is usually sent."""
    return _DAY if rule.is_notice else rule.lead


class _SampleLinks:
    """Links that lead nowhere: nobody stops an attendee's reminders by looking at an e-mail."""

    def links(self, session: Session, user_id: UUID) -> AttendeeLinks:  # noqa: ARG002 - of nobody
        """See `LinkMaker.links`."""
        return LINKS


class Mails:
    """Previews and test e-mails; makes its composers at their first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._composers: dict[str, MailComposer] = {}
        self._tried: deque[datetime] = deque(maxlen=AT_MOST)

    def sample(self, rule: ReminderRule) -> Message:
        """The e-mail of a rule about a sample session, at the rule's own instant.

        Raises:
            ReminderError: As the sending would.
        """
        at = SESSION.starts_at - _ahead(rule)
        return self.preview(Scene(session=SESSION, attendee=None, rule=rule, rules=(rule,), at=at))

    def preview(self, scene: Scene) -> Message:
        """The e-mail as the attendee would get it; links in it lead nowhere.

        Raises:
            ReminderError: As the sending would.
        """
        return self._made("live", scene)

    @property
    def test_recipient(self) -> str | None:
        """Who gets test e-mails; nobody else ever does."""
        return self._settings.verified_test_email

    async def send_test(self, parts: Parts, scene: Scene, by: By) -> TestSent:
        """Send the e-mail to `VERIFIED_TEST_EMAIL`, marked as redirected; audited.

        Args:
            parts: Whose audit log counts how many there were.
            scene: What to send.
            by: Who, and why, for the audit log.

        Raises:
            ConflictError: If there is no test address.
            TooManyTestsError: If there were too many within a minute.
            ConfigurationError: If a setting is missing.
            DeliveryError: If it cannot be made, or the provider does not take it.
        """
        if self.test_recipient is None:
            raise ConflictError(
                "VERIFIED_TEST_EMAIL is not set; test e-mails go there, and nowhere else"
            )
        # Attempts of this process, and what others have sent: commands are processes of their own.
        now = self._clock.now()
        others = await parts.audit.instants(Action.TEST_SENT, since=now - _MINUTE, limit=AT_MOST)
        wait = max(self._wait(self._tried, now), self._wait(others, now))
        if wait > timedelta():
            raise TooManyTestsError(retry_after=timedelta(seconds=math.ceil(wait.total_seconds())))
        message = self._made("redirect", scene)
        self._tried.append(now)
        async with ResendMailer(
            api_key=self._settings.require_resend_api_key(),
            api_url=self._settings.resend_api_url,
            clock=self._clock,
        ) as mailer:
            (receipt,) = await mailer.post(mailer.encode([message]), idempotency_key=str(uuid4()))
        if isinstance(receipt, Refused):
            raise MailRejectedError(receipt.message)
        event_id = await parts.audit.record(
            by.did(
                Action.TEST_SENT,
                session_id=None if scene.session is SESSION else scene.session.id,
                user_id=scene.attendee.user_id if scene.attendee else None,
                details={
                    "reminder_type": scene.rule.reminder_type,
                    "email_id": receipt.resend_email_id,
                },
            )
        )
        return TestSent(email_id=receipt.resend_email_id, event_id=event_id)

    @staticmethod
    def _wait(instants: Sequence[datetime], now: datetime) -> timedelta:
        """How long until there were fewer than the most within a minute."""
        return instants[0] + _MINUTE - now if len(instants) >= AT_MOST else timedelta()

    def _made(self, mode: str, scene: Scene) -> Message:
        return preview(
            self._composer(mode),
            session=scene.session,
            rule=scene.rule,
            at=scene.at,
            attendee=scene.attendee,
            locale=scene.locale,
            time_zone=scene.time_zone,
            moved_from=scene.moved_from,
            has_own_link=scene.has_own_link,
        )

    def _composer(self, mode: str) -> MailComposer:
        """The composer of a mode, whichever one the workers have."""
        if mode not in self._composers:
            sender = self._settings.email_from or "Session Reminders <onboarding@resend.dev>"
            settings = self._settings.model_copy(
                update={"delivery_mode": mode, "email_from": sender}
            )
            links = _SampleLinks() if settings.public_base_url else None
            self._composers[mode] = mail_composer(settings, links=links)
        return self._composers[mode]


def mail_composer(
    settings: Settings, *, links: LinkMaker | None = None, stays_here: bool = False
) -> MailComposer:
    """The one composer of a process: compiles the templates, so it is made once.

    Args:
        settings: Of this process.
        links: Makes calendar and stop links; absent where there is no public address.
        stays_here: As `MailComposer` has it.

    Raises:
        ConfigurationError: If sender, brand, templates or translations cannot be used.
    """
    sender, test_recipient = settings.require_envelope()
    return MailComposer(
        sender=sender,
        reply_to=settings.email_reply_to,
        mode=DeliveryMode(settings.delivery_mode),
        test_recipient=test_recipient,
        renderer=MailRenderer(
            brand=branding(settings),
            default_locale=settings.email_locale,
            templates=settings.email_templates_dir,
            links=links,
        ),
        stays_here=stays_here,
    )


def branding(settings: Settings) -> Branding:
    """Whose e-mails and pages these are.

    Raises:
        ConfigurationError: If something of it could not be shown.
    """
    return Branding(
        product_name=settings.email_product_name or "",
        logo_url=settings.email_logo_url or "",
        postal_address=settings.email_postal_address or "",
        colour=settings.email_color,
    )


def attendee_links(settings: Settings) -> LinkMaker | None:
    """Makes the links of e-mails; `None` while `PUBLIC_BASE_URL` and `TOKEN_SECRET` are not set."""
    if settings.public_base_url is None:
        return None
    secrets = [secret.get_secret_value() for secret in settings.token_secret]
    return SignedLinks(settings.public_base_url, Tokens(secrets))
