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
│   └── LinkNotFoundError          not a link of our e-mails, or of somebody erased
├── ConflictError                  things are not so that it could be done: says the remedy
│   ├── RuleExistsError
│   ├── SameLeadError
│   ├── SendRefusedError           carries why, as a word
│   └── PlatformOwnedError         the row is an existing platform's: it must change it itself
├── TooManyTestsError              test e-mails within a minute; carries `retry_after`
├── ServiceUnavailableError        PostgreSQL or Temporal is away; the same call succeeds later
│   ├── DatabaseUnavailableError
│   ├── DatabaseRefusedError       it answers, and an operator must act before the call succeeds
│   └── TemporalUnavailableError
├── ConfigurationError             the operator must change a setting
│   └── AnotherInstallationError   namespace or database are somebody else's: nothing is touched
└── DeliveryError                  an e-mail did not go out, this time: `reminders.domain.delivery_errors`
```

Two questions decide what is done with one: *may the same call succeed later?* (`retryable`) and
*who must act?* (the class). The class docstring is the default message. Addresses, names and
secrets never enter a message: messages ride in histories and logs.

How people meet an error stands on its class, too: `slug`, `status` and `title` for the HTTP API and
the pages, `exit_code` for the commands.
"""

from __future__ import annotations

from datetime import timedelta

from reminders.domain.model import WebhookRefusal


class ReminderError(Exception):
    """Something went wrong with a reminder."""

    retryable: bool = False
    """Whether the very same call may succeed later."""
    slug: str = "internal-error"
    """Stable name of the kind of error; never renamed, for programs compare it."""
    status: int = 500
    """HTTP status."""
    title: str = "Something went wrong here"
    """What all errors of this kind have in common, for people."""
    exit_code: int = 1
    """Of a command that ends with it: 1 says that it failed, and its message what to do."""
    where_to_look: str | None = None
    """Which command shows the ids that there are; absent unless an id was wrong."""
    remedy: str | None = None
    """The same for whoever asks over HTTP."""

    def __init__(self, message: str | None = None) -> None:
        """Use the class docstring's first line unless a message is given."""
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class InvalidInputError(ReminderError):
    """A value is not acceptable."""

    slug = "invalid-request"
    status = 422
    title = "The request is not acceptable"

    def __init__(self, message: str, *, field: str) -> None:
        """Name the field that is wrong and say how to put it right."""
        super().__init__(message)
        self.field = field


class NaiveInstantError(InvalidInputError):
    """An instant carries no time zone."""

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} has no UTC offset; write for example 2026-12-01T15:00:00+00:00", field=field
        )


class WebhookSignatureError(ReminderError):
    """The request is not signed with a webhook secret that is known here."""

    slug = "signature-invalid"
    status = 401
    title = "The signature is not valid"

    def __init__(self, reason: str, why: WebhookRefusal | None = None) -> None:
        """Carry why, for our log; the message tells the caller nothing.

        Args:
            reason: In words.
            why: As a word; absent if the provider cannot have sent it.
        """
        super().__init__()
        self.reason = reason
        self.why = why


class NotFoundError(ReminderError):
    """No such thing."""

    slug = "not-found"
    status = 404
    title = "No such thing"
    exit_code = 3
    named: str = "{}"
    """The message, with the ids that were asked for in the place of the braces."""

    def __init__(self, *ids: object) -> None:
        """Name what was asked for, if it is known."""
        super().__init__(self.named.format(*ids) if ids else None)


class SessionNotFoundError(NotFoundError):
    """There is no such session."""

    slug = "session-not-found"
    title = "No such session"
    named = "There is no session {}."
    remedy = (
        "Store it first (PUT /v1/sessions/{session_id}; on an existing platform, commit its row);"
        " GET /v1/sessions lists those that there are"
    )
    where_to_look = "`reminders session list` has those to come, with --past the others"


class UserNotFoundError(NotFoundError):
    """There is no such user."""

    slug = "user-not-found"
    title = "No such user"
    named = "There is no user {}."
    remedy = (
        "Store them first (PUT /v1/users/{user_id}; on an existing platform, commit their row);"
        " whoever was erased stays unknown until then"
    )
    where_to_look = "`reminders user find` looks for one by name or address"


class EnrollmentNotFoundError(NotFoundError):
    """This user is not enrolled in this session."""

    slug = "enrollment-not-found"
    title = "Not enrolled"
    named = "User {1} is not enrolled in session {0}."
    remedy = "POST /v1/enrollments enrolls them; on an existing platform, commit their row first"
    where_to_look = "`reminders user show` has what a user is enrolled in"


class ReminderNotFoundError(NotFoundError):
    """The ledger has no such reminder."""

    slug = "reminder-not-found"
    title = "No such reminder"
    named = "The ledger has no reminder {}."
    remedy = "GET /v1/reminders lists their ids"
    where_to_look = "`reminders list` and `why` have their ids"


class RuleNotFoundError(NotFoundError):
    """There is no such reminder rule."""

    slug = "rule-not-found"
    title = "No such reminder rule"
    named = "There is no reminder rule {!r}."
    remedy = "GET /v1/reminder-configurations lists those that there are"
    where_to_look = "`reminders config list` has those that there are"


class LinkNotFoundError(NotFoundError):
    """No such link; it may be incomplete, so copy all of it from the e-mail."""

    slug = "link-not-found"
    title = "No such link"


class ConflictError(ReminderError):
    """Things are not so that this could be done."""

    slug = "conflict"
    status = 409
    title = "Not as things are"


class RuleExistsError(ConflictError):
    """There is a rule of this type already; change it, or take another reminder_type."""

    slug = "rule-exists"
    title = "There is such a rule already"


class SameLeadError(ConflictError):
    """Another rule is due at the same instant."""

    slug = "same-lead"
    title = "Two rules would be due at once"

    def __init__(self, other: str) -> None:
        super().__init__(
            f"the rule {other!r} is due at the same instant, and people would get two e-mails at"
            " once; take another minutes_before, or switch one of the two off first"
        )


class SendRefusedError(ConflictError):
    """This reminder cannot be sent: not once more, or not now."""

    slug = "send-refused"
    title = "Not to be sent"

    def __init__(self, message: str, *, why: str) -> None:
        """Say the remedy, and carry the cause as a word for counts."""
        super().__init__(message)
        self.why = why


class PlatformOwnedError(ConflictError):
    """Sessions, users and enrollments are the platform's own: it must change them itself."""

    slug = "platform-owned"
    title = "The platform owns its tables"

    def __init__(self) -> None:
        super().__init__(
            "DATABASE_MODE=existing: sessions, users and enrollments are the platform's own; change"
            " them there, then call POST /v1/sessions/{session_id}/changed"
        )


class TooManyTestsError(ReminderError):
    """There were too many test e-mails within a minute."""

    slug = "too-many-tests"
    status = 429
    title = "Too many test e-mails"

    retryable = True

    def __init__(self, *, retry_after: timedelta) -> None:
        seconds = round(retry_after.total_seconds())
        super().__init__(
            f"too many test e-mails within a minute; the next may go out in {seconds} s"
        )
        self.retry_after = retry_after


class ServiceUnavailableError(ReminderError):
    """A part of the system is away; nothing was half-done and the same call may be repeated."""

    slug = "unavailable"
    status = 503
    title = "A part of the system is away"
    exit_code = 4

    retryable = True


class DatabaseUnavailableError(ServiceUnavailableError):
    """PostgreSQL does not answer; nothing was half-done and the same call may be repeated."""

    slug = "database-unavailable"
    title = "PostgreSQL does not answer"


class DatabaseRefusedError(ServiceUnavailableError):
    """PostgreSQL refuses what we need; an operator must act, then the same call succeeds."""

    slug = "misconfigured"
    status = 500
    title = "The server is not set up correctly"
    exit_code = 1


class TemporalUnavailableError(ServiceUnavailableError):
    """Temporal does not answer; try again in a moment."""

    slug = "temporal-unavailable"
    title = "Temporal does not answer"


class ConfigurationError(ReminderError):
    """The settings contradict each other."""

    slug = "misconfigured"
    title = "The server is not set up correctly"


class AnotherInstallationError(ConfigurationError):
    """The namespace, or the database, is another installation's."""

    slug = "another-installation"
    status = 503
    title = "This is another installation's"

    retryable = True  # once somebody has said which it is
