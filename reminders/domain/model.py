"""What a reminder is: the words of the domain, and nothing else.

Pure data. Instants are aware and in UTC, durations are `timedelta`; a lead is how long before a
session's start its reminder goes out, and always positive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID


class Notice(StrEnum):
    """A reminder whose instant is now, because something has changed; the type of its rule and rows."""

    CANCELLED = "cancelled"
    """The session does not take place."""
    MOVED = "moved"
    """The session starts at another instant, or takes place after all."""
    CONFIRMED = "confirmed"
    """The person takes part. Litmus: about them, where the others are about the session."""


NOTICES = frozenset(Notice)
"""Types that are no lead's."""


class ReminderStatus(StrEnum):
    """Where a reminder is in its life; `docs/lifecycle.md` draws every arrow."""

    SCHEDULED = "scheduled"
    """Waiting for its due instant."""
    SENDING = "sending"
    """Frozen in a request that the provider may already have accepted."""
    SENT = "sent"
    """Accepted by the provider, which gave it an id."""
    DELIVERED = "delivered"
    """Taken by the attendee's mail server."""
    BOUNCED = "bounced"
    """Refused by the attendee's mail server."""
    COMPLAINED = "complained"
    """Reported as spam by the attendee."""
    SUPPRESSED = "suppressed"
    """Accepted, then withheld by the provider: the address is on its suppression list."""
    SKIPPED = "skipped"
    """Not sent, and rightly so; the reason says why."""
    CANCELLED = "cancelled"
    """Called off before it was sent: by the attendee, the platform or an operator."""
    FAILED = "failed"
    """Should have been sent and was not; the reason says why."""

    @property
    def is_pending(self) -> bool:
        """Whether something is still to happen."""
        return self in (ReminderStatus.SCHEDULED, ReminderStatus.SENDING)

    @property
    def is_accepted(self) -> bool:
        """Whether the provider accepted the e-mail, whatever became of it afterwards."""
        return self in (
            ReminderStatus.SENT,
            ReminderStatus.DELIVERED,
            ReminderStatus.BOUNCED,
            ReminderStatus.COMPLAINED,
            ReminderStatus.SUPPRESSED,
        )


class StatusReason(StrEnum):
    """Why a reminder ended as it did."""

    PAST_DUE = "past_due"
    """Its instant had passed when it was planned. Litmus: never waited for."""
    SUPERSEDED = "superseded"
    """Late, and a later reminder of the same enrollment is due as well. Litmus: it did wait."""
    ALREADY_TOLD = "already_told"
    """The e-mail before told this very start, or nearly. Litmus: the session moved there and back."""
    TAKEN_BACK = "taken_back"
    """What a notice was to tell is not so any more. Litmus: taken back before anybody was told."""
    UNTOLD = "untold"
    """Somebody who cancelled or moved the session said that nobody is to be told of it."""
    SESSION_STARTED = "session_started"
    """The session had begun."""
    SESSION_CANCELLED = "session_cancelled"
    """The session was cancelled."""
    SESSION_DELETED = "session_deleted"
    """The session no longer exists."""
    UNENROLLED = "unenrolled"
    """The attendee is no longer enrolled."""
    UNCONFIRMED = "unconfirmed"
    """The enrollment was still waiting for its confirmation."""
    OPTED_OUT = "opted_out"
    """The attendee asked for no reminders."""
    ADDRESS_BOUNCED = "address_bounced"
    """An earlier e-mail to the attendee's address bounced for good. Litmus: not this one."""
    SPAM_COMPLAINT = "spam_complaint"
    """The attendee reported an earlier e-mail as spam. Litmus: not this one."""
    SHADOWED = "shadowed"
    """It would have been sent, but delivery was in shadow mode: another system sends it."""
    RULE_DISABLED = "rule_disabled"
    """The rule was switched off or deleted."""
    WORKFLOW_CANCELLED = "workflow_cancelled"
    """Its workflow was cancelled by hand: `temporal workflow cancel` or the Temporal UI."""
    NO_ADDRESS = "no_address"
    """The attendee had no address, which not every platform asks for. Litmus: nothing there at all."""
    INVALID_ADDRESS = "invalid_address"
    """The attendee's address is no address. Litmus: something is there."""
    RENDER_ERROR = "render_error"
    """The e-mail could not be rendered."""
    REJECTED = "rejected"
    """The provider refused this e-mail."""
    QUOTA = "quota"
    """The provider's quota ended, and the session began before it was renewed."""
    MISCONFIGURED = "misconfigured"
    """The provider refused our key or sender, or something before it refused the e-mail in words of
    its own, and the session began before that was mended."""
    EXPIRED = "expired"
    """The session began while the provider or this system was unavailable."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    """The provider may have accepted it and can no longer be asked; never sent blindly again."""
    NOT_FOUND = "not_found"
    """The ledger has no such reminder."""


class SessionStatus(StrEnum):
    """Whether a session takes place."""

    SCHEDULED = "scheduled"
    """It takes place."""
    CANCELLED = "cancelled"
    """It does not."""


class EnrollmentStatus(StrEnum):
    """Whether a person takes part."""

    CONFIRMED = "confirmed"
    """Yes: is reminded."""
    PENDING = "pending"
    """Not yet: is reminded once confirmed."""
    CANCELLED = "cancelled"
    """No longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrollee:
    """Somebody whom the platform enrolls."""

    user_id: UUID
    enrollment_id: UUID | None = None
    """The platform's own id of the enrollment."""
    status: EnrollmentStatus = EnrollmentStatus.CONFIRMED
    """`pending` never takes a confirmation back: the call may be the repetition of an earlier one."""
    join_url: str | None = field(default=None, repr=False)
    """Their own link, in place of the session's; empty takes it back, absent leaves it as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """The meeting that people are reminded of."""

    id: UUID
    title: str
    """Plain text, shown to the attendee."""
    starts_at: datetime
    ends_at: datetime | None = None
    time_zone: str = "UTC"
    """IANA name of the zone in which the session is announced."""
    speaker_name: str | None = None
    location: str | None = None
    join_url: str | None = None
    preparation_notes: str | None = None
    """Plain text."""
    status: SessionStatus = SessionStatus.SCHEDULED


@dataclass(frozen=True, kw_only=True, slots=True)
class Attendee:
    """A person who is reminded; a row of the platform's `users`."""

    user_id: UUID
    email: str
    full_name: str | None = None
    time_zone: str | None = None
    """IANA name; absent means the session's zone."""
    locale: str | None = None
    """BCP 47 or POSIX name; absent means the default locale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReminderRule:
    """One row of `reminder_configurations`: a kind of reminder that every enrollment gets.

    A rule of one session only stands there in place of the one for all sessions of its type.
    """

    reminder_type: str
    """Name, such as `24h`; of a type there is one rule for all sessions, and one for each."""
    lead: timedelta
    """How long before the start it goes out; positive, whole minutes. Zero in the rule of a notice."""
    is_enabled: bool
    subject_template: str
    """Subject with `{session_title}` and the other names of `docs/configuration.md`."""
    display_name: str
    sort_order: int
    session_id: UUID | None = None
    """The only session it is for; absent means all."""

    @property
    def is_notice(self) -> bool:
        """Whether it goes out when something changes, and not before the start."""
        return self.reminder_type in NOTICES


@dataclass(frozen=True, kw_only=True, slots=True)
class Reminder:
    """One row of the ledger: one e-mail that is to be sent, was sent, or was not, and why."""

    id: UUID
    session_id: UUID
    user_id: UUID
    reminder_type: str
    generation: int
    """From 1; a legitimate second sending of the same reminder is a new generation."""
    due_at: datetime
    starts_at: datetime
    """The session's start this reminder was planned for."""
    status: ReminderStatus
    reason: StatusReason | None = None
    sent_at: datetime | None = None
    attempts: int = 0
    """How many requests to the provider carried it."""
    last_error: str | None = None
    resend_email_id: str | None = None
    workflow_id: str | None = None
    run_id: str | None = None
    batch_id: UUID | None = None
    requested_at: datetime | None = None
    """When an operator asked for it, once more or now: due then, while its session does not move."""
    plan_version: int = 0
    """Of the plan that wrote it last."""
    moved_from: datetime | None = None
    """Of a notice: the start that this person knew until then, if it was another one."""
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def notice(self) -> Notice | None:
        """Which notice it is, if it is one."""
        return Notice(self.reminder_type) if self.reminder_type in NOTICES else None

    @property
    def is_out(self) -> bool:
        """Whether the provider has accepted it, or may have."""
        return self.status is ReminderStatus.SENDING or self.status.is_accepted


class Turn(StrEnum):
    """Whose turn it is to mail a session, while another system is being replaced by this one."""

    OURS = "ours"
    """We send. Litmus: always so outside shadow mode."""
    THEIRS = "theirs"
    """The other system sends; we only record."""
    BETWEEN = "between"
    """It is being taken over: the other one no longer sends, and we not yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryFacts:
    """Everything that is true of a reminder at the moment it is to be sent, read in one statement."""

    reminder: Reminder
    session: Session | None
    """Absent when the session was deleted."""
    attendee: Attendee | None
    """Absent when the person was deleted."""
    enrollment_status: EnrollmentStatus | None
    """Absent when the enrollment was deleted."""
    rule: ReminderRule | None
    """Absent when the rule was deleted."""
    next_due_at: datetime | None
    """When the same enrollment's next scheduled reminder is due; absent when this is the last."""
    stopped: StatusReason | None = None
    """Why this person is not to get it, by what they asked for or what became of earlier e-mails."""
    own_join_url: str | None = field(default=None, repr=False)
    """The person's own link, in place of the session's; nobody else may see it."""
    moved_from: datetime | None = None
    """The start that they knew until now, if it is another one: by a notice that waits, or by the
    e-mail before."""
    told_already: bool = False
    """Whether the e-mail before told them the start that counts now, and nothing else was kept from
    them since."""
    was_called_off: bool = False
    """Whether the e-mail before told them that the session was cancelled."""
    is_quiet: bool = False
    """Whether nobody is to be told of the state that the session is in."""
    was_told: bool = False
    """Whether an e-mail of this kind has told them the start that counts now, or nearly that."""
    turn: Turn = Turn.OURS
    row_version: str = ""
    """Changes with every change of the ledger's row."""
    read_at: datetime | None = field(default=None, compare=False)
    """By the ledger's clock. The version does not change with the platform's rows, so what was read
    long ago is not believed."""
    installation: UUID | None = None
    """Whose ledger this is; absent from samples."""

    @property
    def has_address(self) -> bool:
        """Whether there is anything to write to; whether it is an address is for the rendering."""
        return self.attendee is not None and bool(self.attendee.email.strip())

    @property
    def is_incomplete(self) -> bool:
        """Whether something is missing that every reminder had when it was planned."""
        return None in (self.session, self.attendee, self.enrollment_status, self.rule)


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One e-mail as the provider is to get it; one recipient, no Cc, no Bcc."""

    reminder_id: UUID
    """Travels as a tag, so that the provider's webhooks can name the ledger's row."""
    sender: str
    """`Name <address>`."""
    to: str
    subject: str
    """One line."""
    html: str
    text: str
    reply_to: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    true_until: datetime | None = None
    """Until when what it says of the time left holds; absent means until the session starts."""
    installation: UUID | None = None
    """Whose ledger the row is in: travels as a tag, because a copy of the database has the same row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderEvent:
    """What the provider's webhook says became of an e-mail; may come twice and in any order."""

    svix_id: str
    """The same whenever this event comes again."""
    type: str
    """In the provider's words, such as `email.delivered`."""
    occurred_at: datetime
    email_id: str | None = None
    """The provider's id of the e-mail; absent if the event is about something else."""
    reminder_id: UUID | None = None
    """As the e-mail's tag has it; absent if the e-mail is not one of ours."""
    installation: UUID | None = None
    """Whose e-mail it is, as its tag has it; absent from those of releases that did not say so."""
    recipients: tuple[str, ...] = field(default=(), repr=False)
    """Bare addresses. Never stored, never logged."""
    accepted_at: datetime | None = None
    """When the provider took the e-mail; the same in all events of one e-mail."""
    status: ReminderStatus | None = None
    """What it makes of a reminder; absent when it says nothing that the ledger keeps."""
    reason: StatusReason | None = None
    """Of `failed`."""
    stops: StatusReason | None = None
    """Why its recipient is to get no further reminders; absent when they are."""
    detail: str | None = None
    """The provider's own reason; short, without addresses."""


class WebhookRefusal(StrEnum):
    """Why a webhook that looks like the provider's was not taken in."""

    SIGNATURE = "signature"
    """No secret that is known here signed it."""
    TIMESTAMP = "timestamp"
    """It was signed minutes ago, or will be: a copy, or a clock is wrong."""
    NO_SECRET = "no_secret"  # noqa: S105 - says that there is none
    """None is known here at all."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """What a person asked not to be reminded of; without both fields, of anything."""

    session_id: UUID | None = None
    """Absent means every session."""
    reminder_type: str | None = None
    """Absent means every type."""

    def covers(self, session_id: UUID, reminder_type: str) -> bool:
        """Whether it stops a reminder of this session and type."""
        return self.session_id in (None, session_id) and self.reminder_type in (None, reminder_type)


@dataclass(frozen=True, kw_only=True, slots=True)
class CalendarEntry:
    """A session in one attendee's calendar, and which revision of it this is."""

    session: Session
    user_id: UUID
    enrollment_status: EnrollmentStatus | None
    """Absent when the enrollment was deleted."""
    sequence: int
    """From 0; rises with every change that a calendar was or could be shown."""
    changed_at: datetime
    """When this revision was first seen."""

    @property
    def is_called_off(self) -> bool:
        """Whether the entry is to leave the calendar: no session, or not for this person."""
        return self.session.status is SessionStatus.CANCELLED or self.enrollment_status in (
            EnrollmentStatus.CANCELLED,
            None,
        )
