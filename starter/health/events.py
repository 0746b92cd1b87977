"""Whether the provider tells us what becomes of e-mails, and whether they arrive."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from reminders.db.arrivals import Arrivals, WebhookRefusals
from reminders.db.engine import Database
from reminders.db.provider import ProviderEvents
from reminders.domain.model import WebhookRefusal
from reminders.domain.ports import Clock
from reminders.domain.upkeep import LedgerState
from reminders.settings import Settings
from starter.health.diagnosis import FoundError, Level

DAY = timedelta(days=1)
SILENCE = timedelta(hours=3)
"""The provider tells of an e-mail within seconds, and repeats what was not taken for hours."""

_SET_IT = (
    "set RESEND_WEBHOOK_SECRET of the API to the signing secret that https://resend.com/webhooks"
    " shows for this endpoint"
)
_REFUSED = {
    WebhookRefusal.SIGNATURE: ("their signature does not fit RESEND_WEBHOOK_SECRET", _SET_IT),
    WebhookRefusal.NO_SECRET: ("the API has no RESEND_WEBHOOK_SECRET", _SET_IT),
    WebhookRefusal.TIMESTAMP: (
        "their signature is minutes away from PostgreSQL's clock",
        "synchronise the clock of PostgreSQL's machine (chrony, systemd-timesyncd)",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EventChecks:
    """What `doctor` asks about the provider's events."""

    database: Database
    events: ProviderEvents
    refusals: WebhookRefusals
    settings: Settings
    clock: Clock

    async def webhooks(self) -> str:
        """Whether webhooks come, and are taken in."""
        now = self.clock.now()
        if (why := await self.refusals.last(since=now - DAY)) is not None:
            what, remedy = _REFUSED[why]
            raise FoundError(f"webhooks are refused: {what}", remedy, Level.WARNING)
        if not self.settings.resend_webhook_secret:
            return "not expected: RESEND_WEBHOOK_SECRET is not set"
        count = await self.events.unheard_of(since=now - DAY, until=now - SILENCE)
        if count:
            some = "1 e-mail was" if count == 1 else f"{count} e-mails were"
            raise FoundError(
                f"{some} accepted, and no webhook came for a day: bounces are not seen",
                "see https://resend.com/webhooks: is the endpoint there, enabled, and reachable?",
                Level.WARNING,
            )
        return "the provider tells us what becomes of e-mails"

    async def arrival(self, state: asyncio.Task[LedgerState]) -> str:
        """Whether what was accepted arrives."""
        found = await asyncio.shield(state)
        if found.undelivered:
            some = "1 e-mail is" if found.undelivered == 1 else f"{found.undelivered} e-mails are"
            raise FoundError(
                f"{some} accepted, and not delivered after 15 minutes{await self._where()}",
                "the receiving server asks for patience, or events are lost; Resend's dashboard"
                " tells, and so does the enrollment's page",
                Level.WARNING,
            )
        return "what was accepted has been delivered, or ended, as far as the provider tells"

    async def _where(self) -> str:
        """The domains that several people have; in redirect mode nothing goes there."""
        if self.settings.delivery_mode != "live":
            return ""
        domains = await Arrivals(self.database).late_domains(self.clock.now())
        told = ", ".join(f"{count} at {domain}" for domain, count in domains.items())
        return f" ({told})" if told else ""
