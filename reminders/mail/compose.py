"""From the facts of a reminder to the e-mail that is handed to the provider."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from reminders.domain.delivery_errors import InvalidAddressError, RenderError
from reminders.domain.errors import ConfigurationError
from reminders.domain.model import DeliveryFacts, Message
from reminders.mail.addressing import DeliveryMode, deliverable_address, is_local, is_mailbox
from reminders.mail.render import RenderedMail


class Renderer(Protocol):
    """Makes subject, HTML and text of a reminder."""

    def render(
        self, facts: DeliveryFacts, *, now: datetime, is_for_attendee: bool = True
    ) -> RenderedMail:
        """The e-mail without its envelope."""


class MailComposer:
    """Composes reminders; implements `reminders.domain.ports.Composer`."""

    def __init__(
        self,
        *,
        sender: str,
        reply_to: str | None,
        mode: DeliveryMode,
        test_recipient: str | None,
        renderer: Renderer,
        stays_here: bool = False,
    ) -> None:
        """Check the envelope once, rather than for every e-mail.

        Args:
            sender: `Name <address>`.
            reply_to: `Name <address>` or an address.
            mode: Whether attendees get their e-mails.
            test_recipient: Who gets them instead, in `redirect` mode; ignored in `live` mode.
            renderer: Makes the content.
            stays_here: Whether e-mails go no further than an inbox on this machine: then those that
                are redirected can be tried whole.

        Raises:
            ConfigurationError: If sender, reply-to or test recipient is no address.
        """
        if not is_mailbox(sender):
            raise ConfigurationError(
                "the sender is no mailbox; write: Reminders <reminders@example.org>"
            )
        if reply_to is not None and not is_mailbox(reply_to):
            raise ConfigurationError("the reply-to is no mailbox; write: help@example.org")
        self._sender = sender
        self._reply_to = reply_to
        self._renderer = renderer
        self._stays_here = stays_here
        self._test_recipient: str | None = None
        if mode is DeliveryMode.REDIRECT:
            try:
                self._test_recipient = deliverable_address(test_recipient or "")
            except InvalidAddressError:
                raise ConfigurationError(
                    "redirect mode needs a test recipient that is an e-mail address"
                ) from None

    def compose(self, facts: DeliveryFacts, *, now: datetime) -> Message:
        """The finished e-mail, to the one recipient that the delivery mode demands.

        The recipient is a bare address: a name beside it would be one more place for text that
        other people typed.

        A redirected e-mail has neither stop link nor one-click headers (RFC 8058). They would be
        the attendee's own, and a tester who tries them, or a scanner that posts to whatever it
        finds, would end the reminders of somebody who never saw the e-mail. Nobody but a developer
        reads what stays on this machine.

        Args:
            facts: The reminder with its session, attendee and rule.
            now: The instant by which "in 30 minutes" is judged; aware, not after the start.

        Raises:
            InvalidAddressError: If the attendee's address is none; in `redirect` mode as well, so
                that a rehearsal shows what the performance will. In `live` mode also if it is one
                of `localhost`.
            RenderError: If the e-mail cannot be rendered.
        """
        if facts.attendee is None:
            raise RenderError("there is no attendee to write to")
        address = deliverable_address(facts.attendee.email)
        if self._test_recipient is None and is_local(address):
            raise InvalidAddressError
        is_for_attendee = self._test_recipient is None or self._stays_here
        mail = self._renderer.render(facts, now=now, is_for_attendee=is_for_attendee)
        to, subject = address, mail.subject
        if self._test_recipient is not None:
            to, subject = self._test_recipient, f"[Originally for: {address}] {mail.subject}"
        # Keeps Gmail from folding the reminders of one session into a thread.
        headers = [("X-Entity-Ref-ID", str(facts.reminder.id))]
        if mail.links is not None and is_for_attendee:
            headers += [
                ("List-Unsubscribe", f"<{mail.links.one_click_url}>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ]
        return Message(
            reminder_id=facts.reminder.id,
            sender=self._sender,
            to=to,
            subject=subject,
            html=mail.html,
            text=mail.text,
            reply_to=self._reply_to,
            headers=tuple(headers),
            true_until=mail.true_until,
            installation=facts.installation,
        )
