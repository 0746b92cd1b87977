"""E-mails to look at, and to send to oneself: made by the composer that sends."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from reminders.clock import SystemClock
from reminders.errors import MailRejectedError
from reminders.mail.compose import MailComposer
from reminders.mail.links import AttendeeLinks
from reminders.mail.preview import preview
from reminders.mail.resend import ResendMailer
from reminders.mail.samples import LINKS, SESSION
from reminders.model import Attendee, Message, ReminderRule, Session
from reminders.ports import Refused
from reminders.settings import Settings
from starter.composing import mail_composer

AT_MOST = 5
"""Test e-mails a minute, of one process: they share the pace of what people wait for."""
_MINUTE = timedelta(minutes=1)


class _SampleLinks:
    """Links that lead nowhere: nobody stops an attendee's reminders by looking at an e-mail."""

    def links(self, session: Session, user_id: UUID) -> AttendeeLinks:  # noqa: ARG002 - of nobody
        """See `LinkMaker.links`."""
        return LINKS


class Mails:
    """Previews and test e-mails; makes its composers at their first use."""

    def __init__(self, settings: Settings) -> None:
        """Preview by these settings."""
        self._settings = settings
        self._clock = SystemClock()
        self._composers: dict[str, MailComposer] = {}
        self._sent: deque[datetime] = deque(maxlen=AT_MOST)

    def sample(self, rule: ReminderRule) -> Message:
        """The e-mail of a rule about a sample session, at the rule's own instant.

        Raises:
            ReminderError: As the sending would.
        """
        return self.preview(session=SESSION, rule=rule, at=SESSION.starts_at - rule.lead)

    def preview(
        self,
        *,
        session: Session,
        rule: ReminderRule,
        at: datetime,
        attendee: Attendee | None = None,
        locale: str | None = None,
        time_zone: str | None = None,
    ) -> Message:
        """The e-mail as the attendee would get it.

        Args:
            session: What it is about.
            rule: Whose subject it has.
            at: When it is sent; aware.
            attendee: Who gets it; absent means a sample one.
            locale: Of the sample one.
            time_zone: Of the sample one.

        Raises:
            ReminderError: As the sending would.
        """
        return preview(
            self._composer("live"),
            session=session,
            rule=rule,
            at=at,
            attendee=attendee,
            locale=locale,
            time_zone=time_zone,
        )

    @property
    def test_recipient(self) -> str | None:
        """Who gets test e-mails; nobody else ever does."""
        return self._settings.verified_test_email

    def wait(self) -> timedelta:
        """How long until the next test e-mail may go out; zero if it may now."""
        if len(self._sent) < AT_MOST:
            return timedelta()
        return max(self._sent[0] + _MINUTE - self._clock.now(), timedelta())

    async def test(
        self,
        *,
        session: Session,
        rule: ReminderRule,
        at: datetime,
        attendee: Attendee | None = None,
        locale: str | None = None,
        time_zone: str | None = None,
    ) -> str:
        """Send the e-mail to `VERIFIED_TEST_EMAIL`, marked as redirected; its id at the provider.

        Args:
            session: As in `preview`, with all that follow.
            rule: Whose subject it has.
            at: The instant by which it is worded; aware.
            attendee: For whom it is worded.
            locale: Of the sample one.
            time_zone: Of the sample one.

        Raises:
            ConfigurationError: If a setting is missing.
            DeliveryError: If the provider does not take it.
        """
        message = preview(
            self._composer("redirect"),
            session=session,
            rule=rule,
            at=at,
            attendee=attendee,
            locale=locale,
            time_zone=time_zone,
        )
        self._sent.append(self._clock.now())
        async with ResendMailer(
            api_key=self._settings.require_resend_api_key(),
            api_url=self._settings.resend_api_url,
            clock=self._clock,
        ) as mailer:
            (receipt,) = await mailer.post(mailer.encode([message]), idempotency_key=str(uuid4()))
        if isinstance(receipt, Refused):
            raise MailRejectedError(receipt.message)
        return receipt.resend_email_id

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
