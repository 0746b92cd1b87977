"""What becomes of the reminders of one batch: decided one by one, and rendered together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from reminders.delivery.gather import Ticket
from reminders.domain.contracts import DeliveryOutcome
from reminders.domain.decide import Close, Decision, Pause, Send, Wait, decide, superseded_at
from reminders.domain.delivery_errors import (
    BatchBusyError,
    CutoverUnderWayError,
    InvalidAddressError,
    MailNotConfiguredError,
    MailQuotaExceededError,
    NotDueYetError,
    RenderError,
    UnreadableReminderError,
)
from reminders.domain.errors import ReminderError, ReminderNotFoundError
from reminders.domain.model import DeliveryFacts, Message, ReminderStatus, StatusReason
from reminders.domain.ports import Composer, FrozenBatch, Hold, Mailer, Reading, Settlement

logger = logging.getLogger(__name__)

BUSY = timedelta(seconds=1)
"""When to look again at a batch that somebody else is posting, or a row that has changed."""
_TAKING_OVER = timedelta(seconds=5)
"""When to look again at a session that is being taken over from another system."""


@dataclass(slots=True)
class Verdict:
    """What was decided for the reminders of one batch."""

    batch: FrozenBatch | None = None
    closings: list[Settlement] = field(default_factory=list)
    outcomes: dict[UUID, DeliveryOutcome] = field(default_factory=dict)
    errors: dict[UUID, ReminderError] = field(default_factory=dict)
    moved: list[tuple[DeliveryFacts, Wait]] = field(default_factory=list)
    """Where the session or its rule changed unannounced."""
    in_doubt: dict[UUID, set[UUID]] = field(default_factory=dict)
    """Batches in which some of the reminders are frozen already, and which."""
    elsewhere: dict[UUID, datetime] = field(default_factory=dict)
    """Starts of those whose session starts at another instant than the batch's."""
    missing: set[UUID] = field(default_factory=set)
    """Reminders that end because they, or something that they depend on, were not found."""

    def close(self, settlement: Settlement) -> None:
        """It ends without an e-mail."""
        self.closings.append(settlement)
        self.outcomes[settlement.reminder_id] = outcome_of(settlement)

    def wait(self, ticket: Ticket, fact: DeliveryFacts, decision: Wait, now: datetime) -> None:
        """It is due later: as the ledger says, or because whoever woke it has a fast clock."""
        reminder_id = ticket.reminder.reminder_id
        if decision.due_at <= ticket.reminder.due_at:
            self.errors[reminder_id] = NotDueYetError(retry_after=decision.due_at - now)
        else:
            if fact.reminder.due_at != decision.due_at:  # the ledger does not say so yet
                self.moved.append((fact, decision))
            self.outcomes[reminder_id] = DeliveryOutcome(
                status=ReminderStatus.SCHEDULED,
                due_at=decision.due_at,
                starts_at=decision.starts_at,
            )

    def retry(self, reminder_id: UUID) -> None:
        """Its row has changed since: it is decided anew."""
        del self.outcomes[reminder_id]
        self.errors[reminder_id] = BatchBusyError("its plan has changed", retry_after=BUSY)

    def unread(self, reminder_id: UUID, cause: str | None) -> None:
        """It was not read: there is none, or its row holds what nobody expects."""
        if cause is None:
            self.missing.add(reminder_id)
            self.errors[reminder_id] = ReminderNotFoundError(reminder_id)
        else:
            self.unreadable(reminder_id, cause)

    def unreadable(self, reminder_id: UUID, cause: str) -> None:
        """Its row holds what nobody expects: it is tried again, should somebody mend it."""
        logger.error("reminder %s cannot be read: %s", reminder_id, cause)
        self.outcomes.pop(reminder_id, None)
        self.errors[reminder_id] = UnreadableReminderError(cause)

    def settled(self, fact: DeliveryFacts) -> None:
        """It has ended, or is frozen in an earlier request."""
        reminder = fact.reminder
        if reminder.status is ReminderStatus.SENDING and reminder.batch_id is not None:
            self.in_doubt.setdefault(reminder.batch_id, set()).add(reminder.id)
        else:
            self.outcomes[reminder.id] = DeliveryOutcome(
                status=reminder.status, reason=reminder.reason
            )

    def tell(self, ticket: Ticket) -> None:
        """Resolve a ticket whose reminder needs no request."""
        reminder_id = ticket.reminder.reminder_id
        if (outcome := self.outcomes.get(reminder_id)) is not None:
            ticket.resolve(outcome)
        elif (error := self.errors.get(reminder_id)) is not None:
            ticket.fail(error)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judge:
    """Decides what becomes of reminders, and renders those that go out."""

    composer: Composer
    mailer: Mailer
    key_lifetime: timedelta

    def verdict(self, tickets: Sequence[Ticket], reading: Reading, *, now: datetime) -> Verdict:
        """Decide every reminder, and render those that go out together."""
        known = {f.reminder.id: f for f in reading.facts}
        verdict = Verdict()
        sending: dict[datetime, list[DeliveryFacts]] = {}
        for ticket in tickets:
            reminder_id = ticket.reminder.reminder_id
            if (fact := known.get(reminder_id)) is None:
                verdict.unread(reminder_id, reading.unreadable.get(reminder_id))
                continue
            if (decision := _decided(fact, now, verdict)) is None:
                continue
            if isinstance(decision, Send) and fact.session is not None:
                sending.setdefault(fact.session.starts_at, []).append(fact)
            elif isinstance(decision, Close):
                if fact.is_incomplete:
                    verdict.missing.add(reminder_id)
                verdict.close(
                    Settlement(
                        reminder_id=reminder_id, status=decision.status, reason=decision.reason
                    )
                )
            elif isinstance(decision, Wait):
                verdict.wait(ticket, fact, decision, now)
            elif isinstance(decision, Pause):
                verdict.errors[reminder_id] = CutoverUnderWayError(retry_after=_TAKING_OVER)
            else:
                verdict.settled(fact)
        if sending:
            # By the starts as they were read: the one that the calls believe in may be outdated.
            starts_at = min(sending)
            verdict.batch = self._render(sending.pop(starts_at), starts_at, verdict, now=now)
            verdict.elsewhere = {f.reminder.id: s for s, facts in sending.items() for f in facts}
        return verdict

    def _render(
        self,
        sending: Sequence[DeliveryFacts],
        starts_at: datetime,
        verdict: Verdict,
        *,
        now: datetime,
    ) -> FrozenBatch | None:
        """The request for reminders of one start; what cannot be rendered fails alone."""
        messages: list[Message] = []
        superseded: list[datetime] = []
        for fact in sending:
            try:
                messages.append(self.composer.compose(fact, now=now))
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go out
                verdict.close(_failed(fact.reminder.id, error))
            else:
                superseded.append(superseded_at(fact, now=now) or starts_at)
        if not messages:
            return None
        # Of one body all is repeated or nothing. A word that is false to anybody is not repeated;
        # for those whose next reminder is due others are not given up.
        outdated = [m.true_until for m in messages if m.true_until is not None]
        key_expires_at = now + self.key_lifetime
        return FrozenBatch(
            id=uuid4(),
            reminder_ids=tuple(m.reminder_id for m in messages),
            body=self.mailer.encode(messages),
            useful_until=starts_at,
            frozen_at=now,
            repeatable_until=min(starts_at, key_expires_at, max(superseded), *outdated),
        )


def _decided(fact: DeliveryFacts, now: datetime, verdict: Verdict) -> Decision | None:
    """What to do; `None` if its row cannot be judged, whatever the reason: the others go out."""
    try:
        return decide(fact, now=now)
    except Exception as error:  # noqa: BLE001 - whatever it is
        verdict.unreadable(fact.reminder.id, type(error).__name__)
        return None


def outcome_of(settlement: Settlement) -> DeliveryOutcome:
    """What a delivery tells its workflow of how a reminder was settled."""
    return DeliveryOutcome(status=settlement.status, reason=settlement.reason)


def held(hold: Hold) -> ReminderError:
    """Why nothing is sent while a hold lasts."""
    if hold.reason is StatusReason.QUOTA:
        return MailQuotaExceededError(resets_at=hold.until)
    return MailNotConfiguredError("this key or sender is refused until an operator has acted")


def _failed(reminder_id: UUID, error: Exception) -> Settlement:
    """How a reminder ends of which no e-mail can be made.

    Of a foreign error the class only is recorded and logged: its message may quote anything.
    """
    if isinstance(error, InvalidAddressError | RenderError):
        why = str(error)
    else:
        why = f"unexpected {type(error).__name__}"
        logger.error("reminder %s cannot be rendered: %s", reminder_id, why)
    invalid = isinstance(error, InvalidAddressError)
    return Settlement(
        reminder_id=reminder_id,
        status=ReminderStatus.FAILED,
        reason=StatusReason.INVALID_ADDRESS if invalid else StatusReason.RENDER_ERROR,
        error=why,
    )
