"""What the delivery of a reminder, and a new plan, need from the world, as capabilities.

`reminders.db` and `reminders.mail` implement these and never import each other; composition roots
put them together. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol
from uuid import UUID, uuid4

from reminders.domain.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    DeliverReminderInput,
    DeliveryOutcome,
    SessionChangeResult,
)
from reminders.domain.model import DeliveryFacts, Message, ReminderStatus, StatusReason
from reminders.domain.pace import Usage

Waiting = tuple[UUID, datetime]
"""A reminder, by id, that waits for an instant."""


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present instant, in UTC."""


class Composer(Protocol):
    """Makes the e-mail for a reminder."""

    def compose(self, facts: DeliveryFacts, *, now: datetime) -> Message:
        """The finished e-mail, addressed as the delivery mode demands.

        Args:
            facts: The reminder with its session, attendee and rule.
            now: The instant by which "in 30 minutes" is judged; aware.

        Raises:
            InvalidAddressError: If the attendee's address is no address.
            RenderError: If the e-mail cannot be rendered.
        """


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider accepted this e-mail."""

    resend_email_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider refused this e-mail and accepted others of the same request."""

    message: str


Receipt = Accepted | Refused


class Mailer(Protocol):
    """Hands e-mails to the provider, up to 100 in one request."""

    def encode(self, messages: Sequence[Message]) -> bytes:
        """The exact request body for these e-mails, in this order."""

    async def post(self, body: bytes, *, idempotency_key: str) -> tuple[Receipt, ...]:
        """Post a body once; no retries.

        May run twice with the same body and key: the provider accepts it once (for 24 hours).

        Returns:
            One receipt for each e-mail of the body, in its order.

        Raises:
            MailRateLimitedError: Too fast; nothing was accepted.
            MailUnavailableError: No proper answer; `outcome_unknown` says whether it may be accepted.
            MailQuotaExceededError: Nothing was accepted until `resets_at`.
            MailNotConfiguredError: Key, sender or domain refused; nothing was accepted.
            MailBlockedError: Something in between refused the request.
            MailRejectedError: The whole request is bad.
            MailOutcomeUnknownError: The key was used with another body.
        """

    async def warm(self, connections: int) -> None:
        """Have so many connections open for the requests that follow; never raises."""

    async def usage(self) -> Usage | None:
        """The provider's quotas; `None` if it does not say, as to a key that may only send.

        Never raises, whatever comes back: what is sent does not depend on it.
        """


class Deliverer(Protocol):
    """Delivers reminders: what the activities are made of."""

    async def deliver(self, reminder: DeliverReminderInput, *, run_id: str) -> DeliveryOutcome:
        """Send a reminder if it is still wanted, and say what became of it.

        Cancelling the call withdraws a reminder that is not frozen yet; one that is frozen is
        resolved first, and its outcome returned.
        """

    async def close(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """Close reminders that are not to be sent any more, once none of them is in doubt."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where e-mails go: to the attendees, or all to one test address."""

    mode: str = "live"
    """The delivery mode, `live` or `redirect`."""
    sink: str | None = None
    """A digest of the test address: enough to tell it from another."""

    @classmethod
    def of(cls, mode: str, test_recipient: str | None) -> Destination:
        """As the settings have it; in `live` mode the test address is nobody's."""
        if mode == "live" or test_recipient is None:
            return cls(mode)
        return cls(mode, sha256(test_recipient.strip().lower().encode()).hexdigest())


@dataclass(frozen=True, kw_only=True, slots=True)
class Stranded:
    """A frozen request that is not posted, as it was made for somewhere else."""

    batch_id: UUID
    reminders: int
    mode: str
    """The delivery mode under which it was frozen."""
    ends_at: datetime
    """When its reminders end without it, unless that mode comes back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenBatch:
    """A request as it was stored before its first attempt: every attempt sends these bytes."""

    id: UUID
    """Also the provider's idempotency key."""
    reminder_ids: tuple[UUID, ...]
    """In the order of the body."""
    body: bytes
    useful_until: datetime
    """The start of its sessions; not posted any more from then on."""
    frozen_at: datetime
    repeatable_until: datetime | None = None
    """Until when its words are true, and no later reminder has taken the place of all in it; not
    posted from then on. Absent means until its sessions start."""
    unrepeatable: str | None = None
    """Why it must not be posted any more, whatever the time; absent while it may."""
    lease: UUID = field(default_factory=uuid4)
    """Names this taking of the batch; whoever takes it over has another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """How a reminder ended: closed without an e-mail, or as the provider said."""

    reminder_id: UUID
    status: ReminderStatus
    reason: StatusReason | None = None
    resend_email_id: str | None = None
    error: str | None = None
    """What went wrong, without addresses; at most 300 characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """The provider takes nothing at present."""

    until: datetime
    """When to try again, by the clock of whoever asked."""
    reason: StatusReason
    """`quota` or `misconfigured`."""
    sender: str | None = None
    """Fingerprint of the key and sender that are refused: it holds the workers that post as this.
    Absent, it holds all of them."""
    detail: str | None = None
    """The provider's own words, without addresses and keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Reminders as the ledger had them at one moment."""

    facts: Sequence[DeliveryFacts]
    """In no order; reminders that do not exist are missing."""
    hold: Hold | None
    """Set while the provider takes nothing; `facts` is empty then."""
    unreadable: Mapping[UUID, str] = field(default_factory=dict)
    """Reminders whose rows hold what nobody expects, and the class of what went wrong."""


class DeliveryLedger(Protocol):
    """The ledger as the delivery pipeline sees it.

    A batch has one owner at a time, by lease. A lease that is broken costs a request and no
    duplicate: whoever posts the batch posts the same bytes under the same key, and only the owner
    may give it up.
    """

    async def read(self, reminder_ids: Sequence[UUID]) -> Reading:
        """Read reminders and everything they depend on, at one moment; locks nothing."""

    async def freeze(
        self,
        batch: FrozenBatch | None,
        closings: Sequence[Settlement],
        *,
        facts: Sequence[DeliveryFacts],
        run_ids: Mapping[UUID, str],
    ) -> timedelta | None:
        """Claim reminders: store the batch and the closings, and take a turn.

        All or nothing, and only if no row changed since it was read, a moment ago: a cancel or a
        move that came in between wins.

        Args:
            batch: What will be posted; `None` if nothing is.
            closings: Reminders that end without an e-mail.
            facts: What was read of each of them.
            run_ids: Workflow run of each of them, for the ledger.

        Returns:
            How long to wait before the batch may be posted (zero without a batch); `None` if a
            row changed or was read too long ago, and nothing was done.
        """

    async def move(self, facts: DeliveryFacts, due_at: datetime) -> bool:
        """Record that a waiting reminder is due at another instant.

        For which start it was planned stays: it is the next plan that tells of a move.

        Returns:
            False if its row has changed since it was read: a plan that came in between wins.
        """

    async def settle(self, batch_id: UUID, settlements: Sequence[Settlement]) -> None:
        """Record what the provider said, and purge the batch's body; safe to repeat.

        An acceptance counts however late it is reported: also of a reminder that was given up.
        """

    async def release(self, batch: FrozenBatch) -> None:
        """Give a batch up that the provider provably never accepted: its rows are due again.

        Does nothing if somebody has taken it over: their attempt may have been accepted.
        """

    async def resume(self, batch_id: UUID) -> tuple[FrozenBatch, timedelta] | None:
        """Take over a frozen batch whose lease ran out.

        One that was frozen under another delivery mode, for another test address or by another
        installation is left alone until it is too late for it anyway.

        Returns:
            The batch and how long to wait before posting it; unrepeatable if it must not be posted
            any more, and only ended. `None` while another owner has it, when it is settled, or
            while it is not ours.
        """

    async def renew(self, batch: FrozenBatch) -> None:
        """Extend the lease of a batch that takes long."""

    async def yield_lease(self, batch: FrozenBatch, *, retry_in: timedelta) -> None:
        """End our lease early, so that whoever comes after `retry_in` may resume the batch."""

    async def pace(self, *, at_least: timedelta) -> timedelta:
        """Take a place in the provider's pace for one more request.

        Args:
            at_least: No request of any worker is posted before this has passed.

        Returns:
            How long to wait before posting.
        """

    async def again(
        self, batch: FrozenBatch, *, at_least: timedelta
    ) -> tuple[FrozenBatch, timedelta]:
        """Take a place in the provider's pace for one more attempt at a batch.

        Args:
            batch: Ours by lease.
            at_least: See `pace`.

        Returns:
            The batch, unrepeatable if what it says is not true any more, and how long to wait.
        """

    async def recheck(self, batch: FrozenBatch) -> FrozenBatch:
        """A batch of ours, unrepeatable if what it says is not true any more."""

    async def overtaken(self, waiting: Collection[Waiting]) -> Collection[Waiting]:
        """Those of some reminders, by id and instant, that do not wait for that instant any more.

        They have ended, or a newer plan has another instant for them.
        """

    async def woke(self, due_at: datetime, *, took: timedelta, were_late: bool) -> timedelta:
        """Record how the workflows of a crowd woke for an instant; see `lead_in.learned`.

        Args:
            due_at: The instant.
            took: From the first reminder that was ready to the last.
            were_late: Whether the last was ready after the instant.

        Returns:
            How far apart workflows wake that are planned from now on.
        """

    async def stranded(self) -> Sequence[Stranded]:
        """Frozen batches that are not ours to post, the most urgent first; a bounded number."""

    async def record_usage(self, usage: Usage) -> None:
        """Keep what the provider said of its quotas, for warnings."""

    async def hold(
        self, reason: StatusReason, *, lasts: timedelta, detail: str | None = None
    ) -> None:
        """Let no worker that it concerns read anything for so long, by the clock that all share.

        A refused key or sender concerns those who post under the same, everything else all of
        them. It ends early when the provider accepts something of theirs.

        Args:
            reason: `quota` or `misconfigured`.
            lasts: From now on; replaces a hold that is there.
            detail: The provider's own words, without addresses and keys.
        """

    async def in_doubt(self, *, limit: int) -> Sequence[UUID]:
        """Frozen batches without a live owner, the most urgent first."""

    async def frozen(self, batch_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of the batches that are not resolved yet."""

    async def close(
        self,
        reminder_ids: Sequence[UUID],
        status: ReminderStatus,
        reason: StatusReason,
        *,
        plan_version: int | None = None,
    ) -> CloseRemindersResult:
        """End reminders that are still waiting; safe to repeat.

        With the reason `not_found` it ends none: one that is here was found.

        Args:
            reminder_ids: Which.
            status: How they end.
            reason: Why.
            plan_version: Leave alone what a newer plan than this one has written.
        """


class DeliveryObserver(Protocol):
    """Watches the delivery, for metrics: called afterwards, decides nothing, and never raises."""

    def gathered(self, count: int) -> None:
        """So many reminders are due and on their way."""

    def frozen(self, count: int) -> None:
        """A request with `count` e-mails was stored, to be posted."""

    def requesting(self) -> AbstractContextManager[None]:
        """Spans one request to the provider; its failure passes through."""

    def accepted(self, lag: timedelta) -> None:
        """The provider accepted a reminder so long after it was due."""

    def ended(self, status: ReminderStatus, reason: StatusReason | None, count: int = 1) -> None:
        """The ledger has `count` more reminders that ended like this."""


@dataclass(frozen=True, slots=True)
class Enrollment:
    """Names an enrollment."""

    session_id: UUID
    user_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplannedPage:
    """Some enrollments of a session, planned anew, and where to go on."""

    counts: SessionChangeResult
    after: UUID | None
    """The last user looked at; `None` when there are no further ones."""


class SessionReplanner(Protocol):
    """Plans a session's enrollments anew and informs their workflows."""

    async def replan_page(
        self, session_id: UUID, *, after: UUID | None, limit: int, since: datetime
    ) -> ReplannedPage:
        """Plan a page of enrollments, by ascending user, as session and rules are now.

        Safe to repeat: a plan that is as it should be is only confirmed once more.

        Args:
            session_id: Of the session.
            after: Continue behind this user.
            limit: At most this many.
            since: When the pass began: what it has called off is counted, also by a call that
                failed and is repeated.

        Raises:
            ServiceUnavailableError: If PostgreSQL or Temporal is away; repeat the call.
        """
