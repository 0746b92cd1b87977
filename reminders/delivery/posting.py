"""Posts a frozen batch until the provider's answer is certain, or somebody else must go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic

from reminders.delivery.policy import DeliveryPolicy, Step
from reminders.errors import (
    BatchBusyError,
    DatabaseUnavailableError,
    DeliveryError,
    MailNotConfiguredError,
    MailOutcomeUnknownError,
    MailQuotaExceededError,
    MailRateLimitedError,
    MailUnavailableError,
    RetryDeliveryError,
    ServiceUnavailableError,
)
from reminders.model import ReminderStatus, StatusReason
from reminders.ports import (
    Accepted,
    Clock,
    DeliveryLedger,
    DeliveryObserver,
    FrozenBatch,
    Mailer,
    Receipt,
    Settlement,
)

logger = logging.getLogger(__name__)

_QUOTA_PROBE = timedelta(minutes=5)
"""How often a used up quota is tried again, in case it was raised."""
_DECIDED_ANEW = timedelta(seconds=1)
_OUTDATED = "its words are outdated or a later reminder is due, and it may have been accepted"
_SHORTEST_HOLD = timedelta(seconds=1)
"""Of a quota that should have been renewed by this worker's clock, and was not by the provider's."""
_OPERATOR_PROBE = timedelta(seconds=60)
"""How often a refused key or sender is tried again, in case an operator has mended it."""


class Poster:
    """Takes frozen batches to their end: settled, released, or left in doubt for the next owner."""

    def __init__(
        self,
        ledger: DeliveryLedger,
        mailer: Mailer,
        clock: Clock,
        policy: DeliveryPolicy,
        *,
        on_step: Callable[[Step], None],
        observer: DeliveryObserver,
    ) -> None:
        """Post with these parts."""
        self._ledger = ledger
        self._mailer = mailer
        self._clock = clock
        self._policy = policy
        self._on_step = on_step
        self._observer = observer

    async def post(
        self, batch: FrozenBatch, wait: timedelta, *, in_doubt: bool
    ) -> Sequence[Settlement]:
        """Post a batch, at the provider's pace and with a few retries, and settle it.

        Args:
            batch: Ours by lease.
            wait: Until its place in the pace.
            in_doubt: Whether an earlier attempt may have been accepted.

        Returns:
            How each of its reminders ended; already recorded.

        Raises:
            MailRejectedError: The provider refuses the request as a whole; it was released.
            DeliveryError: Not now. It was released if the provider provably never accepted it,
                and is left in doubt otherwise.
            DatabaseUnavailableError: The answer could not be recorded; the batch is in doubt.
        """
        # All the while, waiting included: whoever waits for their turn is alive, and a second
        # owner would only post the same once more, and take it for being in doubt.
        async with self._lease_kept(batch):
            return await self._post(batch, wait, in_doubt=in_doubt)

    async def _post(
        self, batch: FrozenBatch, wait: timedelta, *, in_doubt: bool
    ) -> Sequence[Settlement]:
        give_up_at = monotonic() + self._policy.patience.total_seconds()
        failures = 0
        while True:
            await asyncio.sleep(wait.total_seconds())
            self._on_step(Step.PACED)
            if (ended := self._too_late(batch, in_doubt=in_doubt)) is not None:
                return await self._settle(batch, ended, give_up_at)
            if not in_doubt and self._is_stale(batch):
                await self._ledger.release(batch)
                raise BatchBusyError("it waited too long; decided anew", retry_after=_DECIDED_ANEW)
            try:
                with self._observer.requesting():
                    receipts = await self._mailer.post(batch.body, idempotency_key=str(batch.id))
            except RetryDeliveryError as error:
                # Whoever is told to slow down tells everybody; it is no failure of this batch.
                slow_down = isinstance(error, MailRateLimitedError)
                failures += not slow_down
                if isinstance(error, MailUnavailableError):
                    in_doubt = in_doubt or error.outcome_unknown
                delay = error.retry_after or self._policy.backoff(max(failures, 1))
                out_of_time = monotonic() + delay.total_seconds() > give_up_at
                if out_of_time or failures > self._policy.retries:
                    await self._let_go(batch, in_doubt=in_doubt, retry_in=delay)
                    raise
            except DeliveryError as error:
                ended = await self._refused(batch, error, in_doubt=in_doubt)
                return await self._settle(batch, ended, give_up_at)
            else:
                self._on_step(Step.POSTED)
                return await self._settle(batch, _settlements(batch, receipts), give_up_at)
            if not slow_down:
                await asyncio.sleep(delay.total_seconds())
            batch, wait = await self._ledger.again(
                batch, at_least=delay if slow_down else timedelta()
            )

    async def _refused(
        self, batch: FrozenBatch, error: DeliveryError, *, in_doubt: bool
    ) -> Sequence[Settlement]:
        """How a batch ended that the provider refuses; raises the error if it goes on elsewhere."""
        if isinstance(error, MailOutcomeUnknownError):
            return _all(batch, StatusReason.OUTCOME_UNKNOWN, str(error))
        if isinstance(error, MailQuotaExceededError):
            raise await self._out_of_quota(batch, error, in_doubt=in_doubt) from None
        if isinstance(error, MailNotConfiguredError):
            logger.error("the provider refuses us, delivery is on hold: %s", error)
            await self._ledger.hold(StatusReason.MISCONFIGURED, lasts=_OPERATOR_PROBE)
            await self._let_go(batch, in_doubt=in_doubt, retry_in=timedelta())
            raise error
        # The same bytes under the same key would have been replayed, had they ever been accepted:
        # a refusal of the request itself proves that they were not.
        if len(batch.reminder_ids) > 1:
            await self._ledger.release(batch)
            raise error
        return _all(batch, StatusReason.REJECTED, str(error))

    def _too_late(self, batch: FrozenBatch, *, in_doubt: bool) -> Sequence[Settlement] | None:
        """How a batch ended that must not be posted any more; `None` while it may.

        What is stale was not accepted if no attempt is in doubt: it is decided anew, and not ended.
        """
        now = self._clock.now()
        if now >= batch.useful_until and batch.unrepeatable is None:
            reason = StatusReason.OUTCOME_UNKNOWN if in_doubt else StatusReason.EXPIRED
            return _all(batch, reason, "the session began before the provider answered")
        if now >= batch.frozen_at + self._policy.key_lifetime:
            # The provider forgets the key: posting again could be a second e-mail.
            return _all(batch, StatusReason.OUTCOME_UNKNOWN, "the idempotency key has expired")
        if in_doubt and self._is_stale(batch):
            return _all(batch, StatusReason.OUTCOME_UNKNOWN, batch.unrepeatable or _OUTDATED)
        return None

    def _is_stale(self, batch: FrozenBatch) -> bool:
        """Whether a batch says what is not true any more, or is not ours to say."""
        until = batch.repeatable_until or batch.useful_until
        return batch.unrepeatable is not None or self._clock.now() >= until

    async def _out_of_quota(
        self, batch: FrozenBatch, error: MailQuotaExceededError, *, in_doubt: bool
    ) -> MailQuotaExceededError:
        """Let the batch go, and hold everything unless a smaller batch would still fit."""
        usage = await self._mailer.usage()
        resets_at, remaining = error.resets_at, 0
        if usage is not None:
            await self._ledger.record_usage(usage)
            tightest = usage.tightest
            resets_at, remaining = tightest.resets_at, tightest.remaining or 0
        await self._let_go(batch, in_doubt=in_doubt, retry_in=timedelta())
        if in_doubt or not 0 < remaining < len(batch.reminder_ids):
            remaining = 0
            left = max(resets_at - self._clock.now(), _SHORTEST_HOLD)
            logger.warning("the provider's quota is used up until %s", resets_at.isoformat())
            await self._ledger.hold(StatusReason.QUOTA, lasts=min(left, _QUOTA_PROBE))
        return MailQuotaExceededError(str(error), resets_at=resets_at, remaining=remaining)

    async def _let_go(self, batch: FrozenBatch, *, in_doubt: bool, retry_in: timedelta) -> None:
        if in_doubt:
            await self._ledger.yield_lease(batch, retry_in=retry_in)
        else:
            await self._ledger.release(batch)

    async def _settle(
        self, batch: FrozenBatch, settlements: Sequence[Settlement], give_up_at: float
    ) -> Sequence[Settlement]:
        """Record the end; insists while PostgreSQL is away, because the answer is precious."""
        attempt = 0
        while True:
            try:
                await self._ledger.settle(batch.id, settlements)
            except DatabaseUnavailableError:
                attempt += 1
                delay = self._policy.backoff(attempt).total_seconds()
                if monotonic() + delay > give_up_at:
                    raise
                await asyncio.sleep(delay)
            else:
                self._on_step(Step.SETTLED)
                for settlement in settlements:
                    self._observer.ended(settlement.status, settlement.reason)
                return settlements

    @asynccontextmanager
    async def _lease_kept(self, batch: FrozenBatch) -> AsyncIterator[None]:
        """Renew the lease while a batch takes long; a fast one costs nothing."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(self._policy.renew_every.total_seconds())
                with suppress(ServiceUnavailableError):  # a lost lease costs a request, no more
                    await self._ledger.renew(batch)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()


def _settlements(batch: FrozenBatch, receipts: Sequence[Receipt]) -> Sequence[Settlement]:
    """What the receipts say, reminder by reminder."""
    settlements = []
    for reminder_id, receipt in zip(batch.reminder_ids, receipts, strict=True):
        if isinstance(receipt, Accepted):
            settlement = Settlement(
                reminder_id=reminder_id,
                status=ReminderStatus.SENT,
                resend_email_id=receipt.resend_email_id,
            )
        else:
            settlement = Settlement(
                reminder_id=reminder_id,
                status=ReminderStatus.FAILED,
                reason=StatusReason.REJECTED,
                error=receipt.message,
            )
        settlements.append(settlement)
    return settlements


def _all(batch: FrozenBatch, reason: StatusReason, error: str) -> Sequence[Settlement]:
    """The same failure for every reminder of a batch."""
    return [
        Settlement(reminder_id=i, status=ReminderStatus.FAILED, reason=reason, error=error)
        for i in batch.reminder_ids
    ]
