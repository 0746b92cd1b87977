"""Why an e-mail did not go out: a branch of the tree in `reminders.domain.errors`.

```text
DeliveryError                  an e-mail did not go out, this time
├── RetryDeliveryError         the same request may succeed soon
│   ├── MailRateLimitedError   carries `retry_after`; provably not accepted
│   ├── MailUnavailableError   `outcome_unknown` says whether it may have been accepted
│   ├── BatchBusyError         another worker is sending it
│   ├── CutoverUnderWayError   its session is being taken over from another system
│   └── NotDueYetError         Temporal's clock is ahead of PostgreSQL's
├── MailQuotaExceededError     carries `resets_at`; provably not accepted
├── MailNotConfiguredError     the operator must act: key, sender or domain refused
├── MailBlockedError           refused in words that are not the provider's: a firewall, a proxy
├── MailRejectedError          this request is bad, and will be tomorrow
├── MailOutcomeUnknownError    the key was used with another body: accepted, but as what?
├── UnreadableReminderError    its row, or one that it depends on, holds what nobody expects
├── InvalidAddressError        this attendee's address is not an address
└── RenderError                this e-mail cannot be rendered
```
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from reminders.domain.errors import ReminderError


class DeliveryError(ReminderError):
    """The e-mail did not go out."""

    slug = "provider-refused"
    status = 502
    title = "The provider did not take the e-mail"

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
    """By PostgreSQL's clock the reminder is not due yet."""


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

    retryable = True  # its row may be repaired until the session starts

    def __init__(self, cause: str) -> None:
        """Name the class of what went wrong; its message may quote anything."""
        super().__init__(f"the reminder, or what it depends on, cannot be read: {cause}")


class InvalidAddressError(DeliveryError):
    """The attendee's address is no e-mail address."""

    slug = "not-renderable"
    status = 409
    title = "The e-mail cannot be made"


class RenderError(DeliveryError):
    """The e-mail cannot be rendered."""

    slug = "not-renderable"
    status = 409
    title = "The e-mail cannot be made"
