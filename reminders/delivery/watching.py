"""What a running pipeline keeps an eye on: the provider's quotas, and requests that nobody posts."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from reminders.delivery.policy import DeliveryPolicy
from reminders.domain.errors import ReminderError
from reminders.domain.pace import Usage
from reminders.domain.ports import DeliveryLedger, Mailer, Stranded

logger = logging.getLogger(__name__)

_LITTLE_QUOTA = 0.2
"""Fraction of a quota below which operators are warned."""
_STRANDED = (
    "batch %s with %d reminders is not posted: it was frozen in the delivery mode %r, or for another"
    " test address or installation; under the one of before it goes on, else it ends at %s"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watches:
    """Loops that log, and record, until they are cancelled."""

    ledger: DeliveryLedger
    mailer: Mailer
    policy: DeliveryPolicy

    async def quota(self) -> None:
        """Record the provider's quotas now and then, and warn before one ends."""
        while True:
            try:
                wait = await self.ledger.pace(at_least=timedelta())
                await asyncio.sleep(wait.total_seconds())
                if (usage := await self.mailer.usage()) is not None:
                    await self.ledger.record_usage(usage)
                    _warn(usage)
            except ReminderError as error:
                logger.warning("the provider's quota is not known at present: %s", error)
            except Exception:
                logger.exception("watching the quota failed unexpectedly")
            await asyncio.sleep(self.policy.watch_quota_every.total_seconds())

    async def stranded(self) -> None:
        """Name what is frozen and not posted from here, once."""
        named: set[UUID] = set()
        # The first moments of a worker are for what is due.
        await asyncio.sleep(self.policy.recover_every.total_seconds())
        while True:
            try:
                stranded = await self.ledger.stranded()
                for batch in stranded:
                    if batch.batch_id not in named:
                        logger.warning(_STRANDED, *_told(batch))
                named = {batch.batch_id for batch in stranded}
            except ReminderError as error:
                logger.warning("whether requests are stranded is not known at present: %s", error)
            except Exception:
                logger.exception("watching what is stranded failed unexpectedly")
            await asyncio.sleep(self.policy.watch_stranded_every.total_seconds())


def _told(batch: Stranded) -> tuple[object, ...]:
    return batch.batch_id, batch.reminders, batch.mode, batch.ends_at.isoformat()


def _warn(usage: Usage) -> None:
    """Log a quota of which less than a fifth is left."""
    quota = usage.tightest
    if quota.limit is None or quota.remaining is None:
        return
    if quota.remaining < quota.limit * _LITTLE_QUOTA:
        until = quota.resets_at.isoformat()
        logger.warning("%d of %d e-mails are left until %s", quota.remaining, quota.limit, until)
