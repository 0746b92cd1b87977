"""Posts a frozen batch until the provider's answer is certain, or somebody else must go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from reminders.clock import ticks
from reminders.delivery.policy import DeliveryPolicy, Step
from reminders.domain.delivery_errors import (
    BatchBusyError,
    DeliveryError,
    MailBlockedError,
    MailNotConfiguredError,
    MailOutcomeUnknownError,
    MailQuotaExceededError,
    MailRateLimitedError,
    MailUnavailableError,
    RetryDeliveryError,
)
from reminders.domain.errors import DatabaseUnavailableError, ServiceUnavailableError
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.domain.pace import Usage
from reminders.domain.ports import (
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

_QUOTA_PROBES = (timedelta(seconds=10), timedelta(minutes=1))
"""Bounds of how often a used up quota is tried again: it may have been raised, or never been used
up, and it may be renewed later than the provider has said."""
_DECIDED_ANEW = timedelta(seconds=1)
_OUTDATED = "its words are outdated or a later reminder is due, and it may have been accepted"
_OPERATOR_PROBE = timedelta(seconds=60)
"""How often a refused key or sender is tried again, in case an operator has mended it."""
_SLOW_DOWN = timedelta(seconds=10)
"""Everybody slows down for so long at the most: the provider counts in windows of a second. Who is
asked to wait longer waits alone."""
_STOOD_STILL = timedelta(seconds=10)
"""Whoever wakes so late has been stopped; what was true when it was frozen may no longer be."""
_LONG = timedelta(seconds=3)
"""What was true before such a wait need not be now; at the usual pace nobody waits so long."""
_PART = 0.1
"""Of the time that a reminder has left, it is never put off by more than this."""
_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Turn:
    """When a request may be posted, and the last moment of which the ledger has said that it is true."""

    wait: timedelta
    looked_at: float
    """By `ticks`, before the ledger was asked: its answer may have been long under way."""

    @classmethod
    def now(cls) -> Turn:
        """At once: for whoever is about to ask."""
        return cls(timedelta(), ticks())


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
        self._ledger = ledger
        self._mailer = mailer
        self._clock = clock
        self._policy = policy
        self._on_step = on_step
        self._observer = observer
        self._is_refused = False
        """Whether the provider last refused the key or sender of this worker."""

    async def post(self, batch: FrozenBatch, turn: Turn, *, in_doubt: bool) -> Sequence[Settlement]:
        """Post a batch, at the provider's pace and with a few retries, and settle it.

        Args:
            batch: Ours by lease.
            turn: Its place in the pace.
            in_doubt: Whether an earlier attempt may have been accepted. Then it may also have been
                frozen under another key or sender, so that a refusal of those is its own.

        Returns:
            How each of its reminders ended; already recorded.

        Raises:
            MailRejectedError: The provider refuses the request as a whole; it was released.
            MailBlockedError: So does something before the provider.
            DeliveryError: Not now. It was released if the provider provably never accepted it,
                and is left in doubt otherwise.
            DatabaseUnavailableError: The answer could not be recorded; the batch is in doubt.
        """
        # All the while, waiting included: whoever waits for their turn is alive, and a second
        # owner would only post the same once more, and take it for being in doubt.
        async with self._lease_kept(batch):
            return await self._post(batch, turn, in_doubt=in_doubt)

    async def _post(
        self, batch: FrozenBatch, turn: Turn, *, in_doubt: bool
    ) -> Sequence[Settlement]:
        give_up_at = ticks() + self._policy.patience.total_seconds()
        resumed = in_doubt
        failures = 0
        while True:
            batch = await self._at_its_turn(batch, turn)
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
                asked = error.retry_after
                delay = self._affordable(batch, asked or self._policy.backoff(max(failures, 1)))
                out_of_time = ticks() + delay.total_seconds() > give_up_at
                alone = slow_down and delay > _SLOW_DOWN
                if out_of_time or alone or failures > self._policy.retries:
                    error.retry_after = asked and delay
                    await self._let_go(batch, error, in_doubt=in_doubt, retry_in=delay)
                    raise
            except DeliveryError as error:
                ended = await self._refused(batch, error, in_doubt=in_doubt, resumed=resumed)
                return await self._settle(batch, ended, give_up_at)
            else:
                self._on_step(Step.POSTED)
                self._is_refused = False
                return await self._settle(batch, _settlements(batch, receipts), give_up_at)
            if not slow_down:
                await asyncio.sleep(delay.total_seconds())
            batch, turn = await self._again(batch, at_least=delay if slow_down else timedelta())

    async def _at_its_turn(self, batch: FrozenBatch, turn: Turn) -> FrozenBatch:
        """Wait for a batch's turn; it is looked at once more after a long wait, or a standstill."""
        await asyncio.sleep(turn.wait.total_seconds())
        if ticks() > turn.looked_at + (turn.wait + _STOOD_STILL).total_seconds():
            batch, turn = await self._again(batch, at_least=timedelta())
            await asyncio.sleep(turn.wait.total_seconds())
        return await self._ledger.recheck(batch) if turn.wait > _LONG else batch

    async def _again(self, batch: FrozenBatch, *, at_least: timedelta) -> tuple[FrozenBatch, Turn]:
        turn = Turn.now()
        batch, wait = await self._ledger.again(batch, at_least=at_least)
        return batch, replace(turn, wait=wait)

    async def _refused(
        self, batch: FrozenBatch, error: DeliveryError, *, in_doubt: bool, resumed: bool
    ) -> Sequence[Settlement]:
        """How a batch ended that the provider refuses; raises the error if it goes on elsewhere."""
        if isinstance(error, MailOutcomeUnknownError):
            return _all(batch, StatusReason.OUTCOME_UNKNOWN, str(error))
        if isinstance(error, MailQuotaExceededError):
            raise await self._out_of_quota(batch, error, in_doubt=in_doubt) from None
        if isinstance(error, (MailNotConfiguredError, MailBlockedError)):
            # What was frozen by somebody else may bear a key or sender of before: it waits alone.
            if isinstance(error, MailNotConfiguredError) and not resumed:
                await self._hold_for_operator(error)
            retry_in = self._affordable(batch, _OPERATOR_PROBE)
            await self._let_go(batch, error, in_doubt=in_doubt, retry_in=retry_in)
            raise error
        # The same bytes under the same key would have been replayed, had they ever been accepted:
        # a refusal of the request itself proves that they were not.
        if len(batch.reminder_ids) > 1:
            await self._ledger.release(batch)
            raise error
        return _all(batch, StatusReason.REJECTED, str(error))

    async def _hold_for_operator(self, error: MailNotConfiguredError) -> None:
        """Keep all that post as this worker does from posting; say so, but not each time."""
        if not self._is_refused:
            logger.error("the provider refuses this worker's key or sender: %s", error)
        self._is_refused = True
        await self._ledger.hold(
            StatusReason.MISCONFIGURED, lasts=_OPERATOR_PROBE, detail=str(error)
        )

    def _affordable(self, batch: FrozenBatch, wait: timedelta) -> timedelta:
        """A wait, as far as the batch's reminders have the time for it."""
        left = batch.useful_until - self._clock.now()
        return min(wait, self._policy.longest_asked, max(left * _PART, _SHORTEST))

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
        shortest, longest = _QUOTA_PROBES
        retry_in = self._affordable(batch, longest)
        await self._let_go(batch, error, in_doubt=in_doubt, retry_in=retry_in)
        usage = await self._usage_at_its_turn()
        resets_at, remaining = error.resets_at, 0
        if usage is not None:
            with suppress(DatabaseUnavailableError):  # only for warnings
                await self._ledger.record_usage(usage)
            tightest = usage.tightest
            resets_at, remaining = tightest.resets_at, tightest.remaining or 0
        if in_doubt or not 0 < remaining < len(batch.reminder_ids):
            remaining = 0
            now = self._clock.now()
            resets_at = max(resets_at, now + shortest)
            logger.warning("the provider's quota is used up until %s", resets_at.isoformat())
            lasts = min(resets_at - now, longest)
            await self._ledger.hold(StatusReason.QUOTA, lasts=lasts, detail=str(error))
        exceeded = MailQuotaExceededError(str(error), resets_at=resets_at, remaining=remaining)
        exceeded.in_doubt = in_doubt
        return exceeded

    async def _usage_at_its_turn(self) -> Usage | None:
        """How much of the quotas is left: to ask is a request as well, and others post."""
        turn = timedelta()
        with suppress(DatabaseUnavailableError):
            turn = await self._ledger.pace(at_least=turn)
        if turn > _SLOW_DOWN:
            return None  # a hold, which is not known yet, matters more
        await asyncio.sleep(turn.total_seconds())
        return await self._mailer.usage()

    async def _let_go(
        self, batch: FrozenBatch, error: DeliveryError, *, in_doubt: bool, retry_in: timedelta
    ) -> None:
        """Release a batch, or leave it in doubt for whoever comes next; the error says which."""
        error.in_doubt = in_doubt
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
                if ticks() + delay > give_up_at:
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
