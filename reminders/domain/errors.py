"""Every error of this project, drawn as a tree.

```text
ReminderError
├── InvalidInputError              the caller's value is wrong: names the field and the remedy
│   └── NaiveInstantError
├── WebhookSignatureError          whoever calls is not the provider, or our clock is wrong
├── NotFoundError                  the caller names something that does not exist
│   ├── SessionNotFoundError
│   ├── UserNotFoundError
│   ├── EnrollmentNotFoundError
│   ├── ReminderNotFoundError
│   ├── RuleNotFoundError
│   └── LinkNotFoundError          a link of an e-mail that is none of ours, or of somebody erased
├── ConflictError                  things are not so that it could be done: says the remedy
│   ├── RuleExistsError
│   ├── SameLeadError
│   ├── SendRefusedError           carries why, as a word
│   └── PlatformOwnedError         the row is an existing platform's: it must change it itself
├── TooManyTestsError              test e-mails within a minute; carries `retry_after`
├── ServiceUnavailableError        PostgreSQL or Temporal is away; the same call succeeds later
│   ├── DatabaseUnavailableError
│   └── TemporalUnavailableError
├── ConfigurationError             the operator must change a setting
└── DeliveryError                  an e-mail did not go out, this time
    ├── RetryDeliveryError         the same request may succeed soon
    │   ├── MailRateLimitedError   carries `retry_after`; provably not accepted
    │   ├── MailUnavailableError   `outcome_unknown` says whether it may have been accepted
    │   ├── BatchBusyError         another worker has it
    │   ├── CutoverUnderWayError   its session is being taken over from another system
    │   └── NotDueYetError         this worker's clock is behind
    ├── MailQuotaExceededError     carries `resets_at`; provably not accepted
    ├── MailNotConfiguredError     the operator must act: key, sender or domain refused
    ├── MailBlockedError           refused in words that are not the provider's: a firewall, a proxy
    ├── MailRejectedError          this request is bad, and will be tomorrow
    ├── MailOutcomeUnknownError    the key was used with another body: accepted, but as what?
    ├── UnreadableReminderError    its row, or one that it depends on, holds what nobody expects
    ├── InvalidAddressError        this attendee's address is no address
    └── RenderError                this e-mail cannot be rendered
```

Two questions decide what is done with one: *may the same call succeed later?* (`retryable`) and
*who must act?* (the class). The class docstring is the default message. Addresses, names and
secrets never enter a message: messages ride in histories and logs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self


class ReminderError(Exception):
    """Something went wrong with a reminder."""

    retryable: bool = False
    """Whether the very same call may succeed later."""

    def __init__(self, message: str | None = None) -> None:
        """Use the class docstring's first line unless a message is given."""
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class InvalidInputError(ReminderError):
    """A value is not acceptable."""

    def __init__(self, message: str, *, field: str) -> None:
        """Name the field that is wrong and say how to correct it."""
        super().__init__(message)
        self.field = field


class NaiveInstantError(InvalidInputError):
    """An instant carries no time zone."""

    def __init__(self, field: str) -> None:
        """Name the field."""
        super().__init__(
            f"{field} has no UTC offset; write for example 2026-12-01T15:00:00+00:00", field=field
        )


class WebhookSignatureError(ReminderError):
    """The request is not signed with a webhook secret that is known here."""

    def __init__(self, reason: str) -> None:
        """Carry why, for our log; the message reveals nothing to the caller."""
        super().__init__()
        self.reason = reason


class NotFoundError(ReminderError):
    """No such thing."""


class SessionNotFoundError(NotFoundError):
    """There is no such session."""


class UserNotFoundError(NotFoundError):
    """There is no such user."""


class EnrollmentNotFoundError(NotFoundError):
    """This user is not enrolled in this session."""


class ReminderNotFoundError(NotFoundError):
    """The ledger has no such reminder."""


class RuleNotFoundError(NotFoundError):
    """There is no such reminder rule; `reminders config list` names those that there are."""


class LinkNotFoundError(NotFoundError):
    """No such link; it may be incomplete, so copy all of it from the e-mail."""


class ConflictError(ReminderError):
    """Things are not so that this could be done."""


class RuleExistsError(ConflictError):
    """There is a rule of this type already; change it, or take another reminder_type."""


class SameLeadError(ConflictError):
    """Another rule is due at the same instant."""

    def __init__(self, other: str) -> None:
        """Name the other rule's type."""
        super().__init__(
            f"the rule {other!r} is due at the same instant, and people would get two e-mails at"
            " once; take another minutes_before, or switch one of the two off first"
        )


class SendRefusedError(ConflictError):
    """This reminder cannot be sent: not once more, or not now."""

    def __init__(self, message: str, *, why: str) -> None:
        """Say the remedy, and carry the cause as a word for counts."""
        super().__init__(message)
        self.why = why


class PlatformOwnedError(ConflictError):
    """Sessions, users and enrollments are the platform's own: it must change them itself."""

    def __init__(self) -> None:
        """Say the remedy."""
        super().__init__(
            "DATABASE_MODE=existing: sessions, users and enrollments are the platform's own; change"
            " them there, then call POST /v1/sessions/{session_id}/changed"
        )


class TooManyTestsError(ReminderError):
    """There were too many test e-mails within a minute."""

    retryable = True

    def __init__(self, *, retry_after: timedelta) -> None:
        """Say when the next one may go out."""
        seconds = round(retry_after.total_seconds())
        super().__init__(f"not so many test e-mails at once; the next may go out in {seconds} s")
        self.retry_after = retry_after


class ServiceUnavailableError(ReminderError):
    """A part of the system is away; nothing was half-done and the same call may be repeated."""

    retryable = True


class DatabaseUnavailableError(ServiceUnavailableError):
    """PostgreSQL does not answer; nothing was half-done and the same call may be repeated."""


class TemporalUnavailableError(ServiceUnavailableError):
    """Temporal does not answer; the ledger has the plan and the same call may be repeated."""


class ConfigurationError(ReminderError):
    """The settings contradict each other."""


class DeliveryError(ReminderError):
    """The e-mail did not go out."""

    retry_after: timedelta | None = None
    """How long to wait before the same call is worth repeating, if that is known."""
    in_doubt: bool = False
    """Whether its request stays frozen: it is resolved by whoever finds it, not by the same call."""

    def put_off(self, wait: timedelta) -> Self:
        """The same error with another `retry_after`: those of one request come back one by one."""
        again = type(self).__new__(type(self), *self.args)
        again.__dict__.update(self.__dict__, retry_after=wait)
        return again


class RetryDeliveryError(DeliveryError):
    """The same request may succeed soon."""

    retryable = True

    def __init__(self, message: str | None = None, *, retry_after: timedelta | None = None) -> None:
        """Carry how long the other side asked us to wait, if it did."""
        super().__init__(message)
        self.retry_after = retry_after


class MailRateLimitedError(RetryDeliveryError):
    """The provider's rate limit was met; nothing was accepted."""


class MailUnavailableError(RetryDeliveryError):
    """The provider did not answer properly."""

    def __init__(
        self,
        message: str | None = None,
        *,
        outcome_unknown: bool,
        retry_after: timedelta | None = None,
    ) -> None:
        """Say whether the provider may have accepted the request all the same."""
        super().__init__(message, retry_after=retry_after)
        self.outcome_unknown = outcome_unknown


class BatchBusyError(RetryDeliveryError):
    """Another worker is sending the batch this reminder is in."""


class CutoverUnderWayError(RetryDeliveryError):
    """Its session is being taken over; `reminders cutover` ends that."""


class NotDueYetError(RetryDeliveryError):
    """This worker's clock says that the reminder is not due yet."""


class MailQuotaExceededError(DeliveryError):
    """The provider's quota is used up; nothing was accepted."""

    retryable = True

    def __init__(
        self, message: str | None = None, *, resets_at: datetime, remaining: int = 0
    ) -> None:
        """Carry when the quota is renewed (aware), and how many e-mails still fit until then."""
        super().__init__(message)
        self.resets_at = resets_at
        self.remaining = remaining


class MailNotConfiguredError(DeliveryError):
    """The provider refuses our key, sender or domain: an operator must act."""

    retryable = True


class MailBlockedError(DeliveryError):
    """Something before the provider refuses this request; it may let others pass."""

    retryable = True


class MailRejectedError(DeliveryError):
    """The provider refuses this request, and will tomorrow."""


class MailOutcomeUnknownError(DeliveryError):
    """The provider knows this key with another body: something was accepted under it."""


class UnreadableReminderError(DeliveryError):
    """The reminder, or what it depends on, cannot be read."""

    retryable = True  # its row may be mended until the session starts

    def __init__(self, cause: str) -> None:
        """Name the class of what went wrong; its message may quote anything."""
        super().__init__(f"the reminder, or what it depends on, cannot be read: {cause}")


class InvalidAddressError(DeliveryError):
    """The attendee's address is no e-mail address."""


class RenderError(DeliveryError):
    """The e-mail cannot be rendered."""
