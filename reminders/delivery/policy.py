"""How the delivery pipeline trades promptness, requests and patience, and tells nobody by default."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from reminders.domain.lead_in import LONGEST
from reminders.domain.model import ReminderStatus, StatusReason


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryPolicy:
    """The pipeline's numbers; the settings override the ones that users may want to change."""

    batch_size: int = 100
    """E-mails in one request at the most; the provider's own limit is 100."""
    linger: timedelta = timedelta(milliseconds=20)
    """How long a reminder waits for company; a batch waits so long for each that it has."""
    quiet: timedelta = timedelta(milliseconds=800)
    """However large, a batch is sent once nothing joined it for this long."""
    longest_linger: timedelta = timedelta(seconds=2)
    """A batch that keeps growing is sent after this long, full or not."""
    requests_in_flight: int = 12
    """Requests of one worker under way at once, those that wait for their turn included: a little
    more than the provider takes in a second. What waits beyond them waits unfrozen."""
    deciding_at_once: int = 4
    """Requests of one worker that are read, decided and frozen at once. PostgreSQL is not faster with
    more, and the first are posted while the next are decided."""
    booked_ahead: timedelta = timedelta(milliseconds=300)
    """For so long the provider's pace may be booked before a worker freezes no more: what is frozen
    goes first, however urgent what comes after it. It is what freezing a batch may take."""
    patience: timedelta = timedelta(seconds=20)
    """How long one `deliver` call keeps trying in place; the activity's own retries come after."""
    retries: int = 3
    """Retries in place of a request that failed; being told to slow down does not count."""
    initial_backoff: timedelta = timedelta(seconds=1)
    longest_backoff: timedelta = timedelta(seconds=30)
    backoff_multiplier: float = 2.0
    longest_asked: timedelta = timedelta(seconds=30)
    """However long the provider asks for: it may be well again long before, and repeating a frozen
    request costs one request."""
    key_lifetime: timedelta = timedelta(hours=23)
    """How long a frozen request may be repeated; the provider remembers a key for 24 hours."""
    early: timedelta = LONGEST + timedelta(seconds=30)
    """How long before its due instant a reminder may come: the longest lead-in, and PostgreSQL's
    clock, if it lags behind Temporal's."""
    early_at_once: int = 12_000
    """Reminders that one worker makes ready early, at once. It has more slots for activities than
    that (see `worker.build_worker`), so that a crowd that waits for its instant does not keep what
    is due now from them, nor the closing of reminders that somebody calls off meanwhile."""
    prepare_before: timedelta = timedelta(seconds=1)
    """How long before a due instant the e-mails that will go first are composed; see `Drafts`."""
    calm: timedelta = timedelta(milliseconds=100)
    """For so long nothing more must have gone out before workflows are told what became of their
    reminders: first all e-mails of a crowd, then the ends of its workflows, which keep the server
    busy."""
    longest_calm: timedelta = timedelta(seconds=15)
    """They are told after this at the latest. A heartbeat of each costs a thirtieth of an end; with
    `patience` it is less than an attempt of the activity may take."""
    renew_every: timedelta = timedelta(seconds=2)
    """How often the lease of a slow request is renewed."""
    recover_every: timedelta = timedelta(seconds=3)
    """How often batches of dead owners are looked for."""
    recover_at_once: int = 10
    """Batches taken over in one look."""

    watch_stranded_every: timedelta = timedelta(minutes=1)
    """How often it is looked for requests that are not posted from here."""
    watch_quota_every: timedelta = timedelta(minutes=5)
    """How often the provider is asked how much of its quotas is left."""

    @property
    def at_once(self) -> int:
        """Reminders that one worker has under way at once."""
        return self.batch_size * self.requests_in_flight

    def backoff(self, failures: int) -> timedelta:
        """How long to wait after the nth failure in a row, from 1."""
        seconds = self.initial_backoff.total_seconds() * self.backoff_multiplier ** (failures - 1)
        return min(timedelta(seconds=seconds), self.longest_backoff)


class Step(StrEnum):
    """A moment in the life of a batch: where a crash test kills the process, and tracing hooks in."""

    GATHERED = "gathered"
    READ = "read"
    RENDERED = "rendered"
    FROZEN = "frozen"
    PACED = "paced"
    POSTED = "posted"
    SETTLED = "settled"


class Unobserved:
    """`DeliveryObserver` that does nothing."""

    def gathered(self, count: int) -> None:
        """See `DeliveryObserver.gathered`."""

    def frozen(self, count: int) -> None:
        """See `DeliveryObserver.frozen`."""

    def requesting(self) -> AbstractContextManager[None]:
        """See `DeliveryObserver.requesting`."""
        return nullcontext()

    def accepted(self, lag: timedelta) -> None:
        """See `DeliveryObserver.accepted`."""

    def ended(self, status: ReminderStatus, reason: StatusReason | None, count: int = 1) -> None:
        """See `DeliveryObserver.ended`."""
