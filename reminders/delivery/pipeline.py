"""The delivery pipeline: many reminders, one request, exactly one accepted e-mail each.

```text
deliver() ──► gather ──► read ──► decide ──► freeze ──► post ──► settle ──► every deliver() returns
 one call       by       one       pure,       one       one       one
 a reminder   urgency  statement  rendered  statement  request  statement
```

*Group commit*: the activities of all enrollments on a worker share requests, as transactions share
a disk's flush. *Write-ahead*: the exact body of a request is stored under the provider's
idempotency key before its first attempt, so that whoever finds it in doubt may post the same bytes
again, and the provider accepts them once. What the provider provably never accepted is released,
and decided anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from reminders.delivery.calm import Bookings, Calm, Turns
from reminders.delivery.doubt import Doubts
from reminders.delivery.early import A_MOMENT, Drafts, EarlyArrivals
from reminders.delivery.gather import Gatherer, Ticket
from reminders.delivery.policy import DeliveryPolicy, Step, Unobserved
from reminders.delivery.posting import Poster, Turn
from reminders.delivery.searching import Searches
from reminders.delivery.verdict import BUSY, Judge, Verdict, held, outcome_of
from reminders.delivery.waking import Waking
from reminders.delivery.watching import Watches
from reminders.domain.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    DeliverReminderInput,
    DeliveryOutcome,
)
from reminders.domain.delivery_errors import (
    BatchBusyError,
    DeliveryError,
    MailBlockedError,
    MailNotConfiguredError,
    MailQuotaExceededError,
    MailRejectedError,
)
from reminders.domain.errors import ReminderError, ServiceUnavailableError
from reminders.domain.model import ReminderStatus
from reminders.domain.ports import (
    Clock,
    Composer,
    DeliveryLedger,
    DeliveryObserver,
    FrozenBatch,
    Mailer,
    Settlement,
)

logger = logging.getLogger(__name__)

_REREADS = 5
"""How often a batch is decided anew because rows changed in between; then its reminders retry."""
_SLOW = timedelta(seconds=8)
"""What took longer to read is too old by the time it is frozen; fewer are read in less time."""
_OVERDUE = timedelta(seconds=5)
"""What is later than this has waited for a worker, and others with it: their e-mails come first."""
_RESOLVING = timedelta(seconds=2)
"""How often it is asked whether a request in doubt has been resolved."""


class _ReadTooSlowlyError(Exception):
    """So many reminders are not read in time: a platform's view, or a cold cache, is slow."""


def ignore(_step: Step) -> None:
    """The hook of a pipeline that nobody watches."""


class DeliveryPipeline:
    """`Deliverer`: gathers, decides, freezes, posts and settles.

    Run it with `async with pipeline.running()`; `deliver` waits until then.
    """

    def __init__(
        self,
        *,
        ledger: DeliveryLedger,
        composer: Composer,
        mailer: Mailer,
        clock: Clock,
        policy: DeliveryPolicy | None = None,
        on_step: Callable[[Step], None] = ignore,
        observer: DeliveryObserver | None = None,
    ) -> None:
        """Deliver with these parts.

        Args:
            ledger: Keeps what is frozen, sent and why not.
            composer: Renders.
            mailer: Posts.
            clock: Judges what is due.
            policy: The numbers.
            on_step: Called at every step of every batch; for tests.
            observer: Told what happens, for metrics.
        """
        self._policy = policy or DeliveryPolicy()
        self._ledger = ledger
        self._mailer = mailer
        self._clock = clock
        self._on_step = on_step
        self._observer = observer or Unobserved()
        self._poster = Poster(
            ledger, mailer, clock, self._policy, on_step=on_step, observer=self._observer
        )
        self._drafts = Drafts(composer)
        self._judge = Judge(
            composer=self._drafts, mailer=mailer, key_lifetime=self._policy.key_lifetime
        )
        self._gatherer = Gatherer(self._policy)
        self._turns = Turns()
        self._calm = Calm(quiet=self._policy.calm, longest=self._policy.longest_calm)
        self._doubts = Doubts(
            ledger, patience=self._policy.patience, again=self._gatherer.put, give_up=self._busy
        )
        self._searches = Searches()
        self._tickets: dict[UUID, Ticket] = {}
        self._waking = Waking(ledger, clock)
        self._early = EarlyArrivals(
            clock,
            self._policy,
            overtaken=ledger.overtaken,
            prepare=self._prepare,
            warm=mailer.warm,
        )
        self._batches: set[asyncio.Task[None]] = set()
        self._permits = asyncio.Semaphore(self._policy.requests_in_flight)
        self._bookings = Bookings(
            at_once=self._policy.deciding_at_once, ahead=self._policy.booked_ahead
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver until the context ends; what is in flight then is left for the next owner."""
        watches = Watches(ledger=self._ledger, mailer=self._mailer, policy=self._policy)
        loops = [
            asyncio.create_task(loop)
            for loop in (
                self._gather(),
                self._recover(),
                watches.quota(),
                watches.stranded(),
                self._waking.watch(),
                self._doubts.watch(),
            )
        ]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            # Batches end by themselves, within the policy's patience.
            await asyncio.gather(*loops, *self._batches, return_exceptions=True)
            self._early.end()
            self._doubts.end()
            self._calm.end()

    async def deliver(self, reminder: DeliverReminderInput, *, run_id: str) -> DeliveryOutcome:
        """See `Deliverer.deliver`.

        Raises:
            DeliveryError: It did not go out this time; `retryable` says whether to call again.
            ReminderNotFoundError: If the ledger has no such reminder.
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        self._waking.note(reminder)
        waited = await self._early.wait(reminder)
        ticket = self._tickets.get(reminder.reminder_id)
        if ticket is None:
            loop = asyncio.get_running_loop()
            ticket = Ticket(reminder, run_id, loop.create_future(), was_early=waited > A_MOMENT)
            if ticket.was_early or self._clock.now() - reminder.due_at > _OVERDUE:
                ticket.calm = self._calm
            self._tickets[reminder.reminder_id] = ticket
            self._calm.look(busy=True)
            self._gatherer.put(ticket)
        else:
            ticket.callers += 1
        try:
            return await asyncio.shield(ticket.outcome)
        except asyncio.CancelledError:
            ticket.callers -= 1
            if ticket.callers == 0 and self._gatherer.withdraw(ticket):
                del self._tickets[reminder.reminder_id]
                self._calm.look(busy=bool(self._tickets))
                raise
            # Frozen or about to be: resolved, not guessed. Bounded by the policy's patience.
            return await asyncio.shield(ticket.outcome)

    def is_calm(self, within: timedelta) -> bool:
        """Whether nothing is under way, nor waits here for an instant within so long."""
        return not self._tickets and not self._early.is_due_before(self._clock.now() + within)

    async def _prepare(self, reminder_ids: Sequence[UUID], due_at: datetime) -> None:
        """Have the e-mails of some reminders ready that are due in a moment."""
        reading = await self._ledger.read(reminder_ids)
        self._drafts.prepare(reading.facts, due_at=due_at)

    async def close(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """See `Deliverer.close`.

        Raises:
            BatchBusyError: Some are frozen in a request whose outcome is not known yet; call
                again, until whoever owns the request has resolved it.
        """
        result = await self._ledger.close(
            request.reminder_ids,
            request.status,
            request.reason,
            plan_version=request.plan_version,
        )
        if result.closed:
            self._observer.ended(request.status, request.reason, result.closed)
        if result.in_doubt:
            retry_after = self._turns.next(soonest=_RESOLVING)
            raise BatchBusyError("in doubt; being resolved", retry_after=retry_after)
        return result

    async def _gather(self) -> None:
        """Hand batch after batch to its own task, a bounded number at a time."""
        while True:
            await self._permits.acquire()
            await self._bookings.room()
            tickets = await self._gatherer.next_batch()
            self._on_step(Step.GATHERED)
            self._observer.gathered(len(tickets))
            task = asyncio.create_task(self._process(tickets), context=tickets[0].context)
            self._batches.add(task)
            task.add_done_callback(self._end_batch)

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._permits.release()

    async def _process(self, tickets: Sequence[Ticket]) -> None:
        """Take a batch of reminders to an outcome or an error each, or park it; never raises."""
        parked = {ticket: ticket.parked for ticket in tickets}
        failure: Exception = BatchBusyError("not resolved yet", retry_after=BUSY)
        try:
            with self._bookings.deciding():
                verdict, turn = await self._freeze(tickets)
            tickets = self._regrouped(tickets, verdict)
            await self._send(tickets, verdict, turn)
        except _ReadTooSlowlyError:
            logger.warning("%d reminders are not read in time, and halved", len(tickets))
            await self._process_in_two(tickets, len(tickets) // 2)
        except ReminderError as error:
            failure = error
        except Exception as error:
            logger.exception("a batch of %d reminders failed unexpectedly", len(tickets))
            failure = error
        finally:
            for ticket in tickets:
                if ticket.parked == parked[ticket]:
                    self._end(ticket, failure)

    def _end(self, ticket: Ticket, failure: Exception) -> None:
        """Take leave of a reminder; it has failed this time if nothing else became of it."""
        if self._tickets.get(ticket.reminder.reminder_id) is ticket:  # and not one that came since
            del self._tickets[ticket.reminder.reminder_id]
        if ticket.is_open:
            ticket.fail(self._put_off(failure))
        self._calm.look(busy=bool(self._tickets))

    def _put_off(self, failure: Exception) -> Exception:
        """The failure of one of many, for whom there is nothing to do but wait: they take turns.

        What is in doubt is resolved by its next owner, and what only an operator can mend waits
        for them: neither goes out the sooner for coming back all at once.
        """
        waits = isinstance(failure, (MailNotConfiguredError, MailBlockedError))
        if isinstance(failure, DeliveryError) and (waits or failure.in_doubt):
            return failure.put_off(self._turns.next(soonest=failure.retry_after or BUSY))
        return failure

    def _busy(self, ticket: Ticket) -> None:
        """Send a reminder away that has waited long enough for a request in doubt."""
        self._end(ticket, BatchBusyError(retry_after=self._turns.next(soonest=BUSY)))

    def _regrouped(self, tickets: Sequence[Ticket], verdict: Verdict) -> Sequence[Ticket]:
        """Queue those again whose session starts at another instant than the batch's; the rest."""
        stay = []
        for ticket in tickets:
            starts_at = verdict.elsewhere.get(ticket.reminder.reminder_id)
            if starts_at is None:
                stay.append(ticket)
            else:
                ticket.reminder = replace(ticket.reminder, starts_at=starts_at)
                self._gatherer.put(ticket)
        return stay

    async def _send(self, tickets: Sequence[Ticket], verdict: Verdict, turn: Turn) -> None:
        for facts, decision in verdict.moved:
            try:
                if not await self._ledger.move(facts, decision.due_at):
                    verdict.retry(facts.reminder.id)
            except ServiceUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - the others go out
                verdict.unreadable(facts.reminder.id, type(error).__name__)
        for ticket in tickets:
            verdict.tell(ticket)
        if verdict.batch is not None:
            await self._post(verdict.batch, turn, tickets)
        for batch_id, frozen in verdict.in_doubt.items():
            await self._resume(batch_id, [t for t in tickets if t.reminder.reminder_id in frozen])

    async def _freeze(self, tickets: Sequence[Ticket]) -> tuple[Verdict, Turn]:
        """Read, decide, render and store, until no row changed in between.

        What a reminder ends for because something is not there is read a second time before it is
        believed: a statement that waited for another's TRUNCATE sees a table empty that never was.
        """
        run_ids = {t.reminder.reminder_id: t.run_id for t in tickets}
        missed: set[UUID] = set()
        loop = asyncio.get_running_loop()
        for _ in range(_REREADS):
            began = loop.time()
            reading = await self._ledger.read(list(run_ids))
            self._on_step(Step.READ)
            if reading.hold is not None:
                raise held(reading.hold)
            verdict = self._judge.verdict(tickets, reading, now=self._clock.now())
            self._on_step(Step.RENDERED)
            if not verdict.missing <= missed:
                missed |= verdict.missing
                continue
            if verdict.batch is None and not verdict.closings:
                return verdict, Turn.now()
            turn = Turn.now()
            wait = await self._ledger.freeze(
                verdict.batch, verdict.closings, facts=reading.facts, run_ids=run_ids
            )
            if wait is not None:
                self._on_step(Step.FROZEN)
                self._observe(verdict)
                self._bookings.book(wait)
                return verdict, replace(turn, wait=wait)
            if loop.time() - began > _SLOW.total_seconds() and len(tickets) > 1:
                raise _ReadTooSlowlyError
        raise BatchBusyError("the ledger keeps changing", retry_after=BUSY)

    async def _post(self, batch: FrozenBatch, turn: Turn, tickets: Sequence[Ticket]) -> None:
        mine = [t for t in tickets if t.reminder.reminder_id in batch.reminder_ids]
        try:
            settlements = await self._poster.post(batch, turn, in_doubt=False)
        except (MailRejectedError, MailBlockedError) as error:
            if isinstance(error, MailRejectedError):
                goes_on = len(batch.reminder_ids) > 1
            else:
                goes_on = self._searches.goes_on(batch, error)
            if not goes_on:
                raise
            # One bad e-mail can make the provider refuse them all: halve until it is alone.
            await self._process_in_two(mine, len(mine) // 2)
            return
        except MailQuotaExceededError as error:
            if not error.remaining:
                raise
            await self._process_in_two(mine, error.remaining)
            return
        self._searches.got_through(batch)
        self._answer(settlements, mine)

    def _observe(self, verdict: Verdict) -> None:
        """Tell what was just recorded."""
        for closing in verdict.closings:
            self._observer.ended(closing.status, closing.reason)
        if verdict.batch is not None:
            self._observer.frozen(len(verdict.batch.reminder_ids))

    def _answer(self, settlements: Sequence[Settlement], tickets: Sequence[Ticket]) -> None:
        """Resolve the tickets that a settled batch answers; tell how late those are that went out."""
        settled = {s.reminder_id: s for s in settlements}
        now = self._clock.now()
        for ticket in tickets:
            if (settlement := settled.get(ticket.reminder.reminder_id)) is None:
                continue
            ticket.resolve(outcome_of(settlement))
            if settlement.status is ReminderStatus.SENT:
                self._observer.accepted(now - ticket.reminder.due_at)

    async def _process_in_two(self, tickets: Sequence[Ticket], first: int) -> None:
        """Process the first so many of a batch that does not go through as a whole, then the rest."""
        await self._process(tickets[:first])
        await self._process(tickets[first:])

    async def _resume(self, batch_id: UUID, tickets: Sequence[Ticket]) -> None:
        """Settle a batch in doubt that the tickets are in, or let them wait for who is at it."""
        turn = Turn.now()
        resumed = await self._ledger.resume(batch_id)
        if resumed is None:
            self._doubts.wait_for(batch_id, tickets)
            return
        batch, wait = resumed
        self._bookings.book(wait)
        try:
            settlements = await self._poster.post(batch, replace(turn, wait=wait), in_doubt=True)
        except MailRejectedError as error:
            # One of them is bad and nobody knows which. It was released: each is decided anew, and
            # a batch of those that come again is halved.
            raise BatchBusyError("refused as a whole; decided anew", retry_after=BUSY) from error
        self._answer(settlements, tickets)

    async def _recover(self) -> None:
        """Settle the batches of owners that died, as long as this worker lives."""
        while True:
            try:
                for batch_id in await self._ledger.in_doubt(limit=self._policy.recover_at_once):
                    await self._recover_one(batch_id)
            except ReminderError as error:
                logger.warning("batches in doubt wait for the next look: %s", error)
            except Exception:
                logger.exception("recovery failed unexpectedly")
            await asyncio.sleep(self._policy.recover_every.total_seconds())

    async def _recover_one(self, batch_id: UUID) -> None:
        """Settle one batch in doubt; one that cannot be settled now does not hold up the others."""
        try:
            await self._resume(batch_id, ())
        except ServiceUnavailableError:
            raise
        except ReminderError as error:
            logger.warning("batch %s is not settled yet: %s", batch_id, error)
