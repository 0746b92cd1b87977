"""Our errors as Temporal sees them: type, retryability, delay, and nothing personal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

from activities import failures
from activities.failures import application_error, as_application_errors
from reminders.domain.delivery_errors import (
    BatchBusyError,
    MailBlockedError,
    MailNotConfiguredError,
    MailQuotaExceededError,
    MailRateLimitedError,
    MailUnavailableError,
    NotDueYetError,
)
from reminders.domain.errors import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    ReminderError,
    ReminderNotFoundError,
)
from tests.builders import NOW
from workflows.session_reminder import RETRY

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("error", "final", "delay"),
    [
        (ReminderNotFoundError(), True, None),
        (DatabaseUnavailableError(), False, None),
        (DatabaseRefusedError(), False, None),
        (MailUnavailableError(outcome_unknown=True), False, None),
        (MailRateLimitedError(retry_after=7 * SECOND), False, 7 * SECOND),
        (BatchBusyError(retry_after=SECOND), False, SECOND),
        (NotDueYetError(retry_after=timedelta(days=1)), False, 120 * SECOND),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ReminderError) else "",
)
def test_each_error_says_whether_and_when_to_try_again(
    error: ReminderError, final: bool, delay: timedelta | None
) -> None:
    """The class decides what is final; what the other side asked for is the delay."""
    found = application_error(error, now=NOW)
    assert (type(error).__name__, final, delay) == (
        found.type,
        found.non_retryable,
        found.next_retry_delay,
    )
    expected = ApplicationErrorCategory.UNSPECIFIED if final else ApplicationErrorCategory.BENIGN
    assert expected is found.category


@pytest.mark.parametrize("refused", [MailNotConfiguredError(), MailBlockedError()])
@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [(1, SECOND, 2 * SECOND), (3, 4 * SECOND, 8 * SECOND), (99, 30 * SECOND, 60 * SECOND)],
)
def test_another_worker_gets_its_chance_soon(
    refused: ReminderError, attempt: int, least: timedelta, most: timedelta
) -> None:
    """Who is refused here may not be there; if so everywhere, an operator is waited for by the minute."""
    delay = application_error(refused, now=NOW, attempt=attempt).next_retry_delay
    assert delay is not None
    assert least <= delay <= most


def test_those_who_take_turns_keep_them() -> None:
    """A later turn than the back-off's counts, as far as it is within a minute."""
    for asked, delay in ((40 * SECOND, 40 * SECOND), (90 * SECOND, 60 * SECOND)):
        refused = MailNotConfiguredError().put_off(asked)
        assert delay == application_error(refused, now=NOW).next_retry_delay


@pytest.mark.parametrize(
    ("error", "useful_for", "delay"),
    [
        (MailRateLimitedError(retry_after=60 * SECOND), 600 * SECOND, 60 * SECOND),
        (MailRateLimitedError(retry_after=60 * SECOND), 300 * SECOND, 30 * SECOND),
        (MailRateLimitedError(retry_after=60 * SECOND), 3 * SECOND, SECOND),
        (MailRateLimitedError(retry_after=60 * SECOND), -3 * SECOND, SECOND),
        (MailNotConfiguredError().put_off(60 * SECOND), 100 * SECOND, 10 * SECOND),
        (
            MailQuotaExceededError(resets_at=NOW + timedelta(days=1)),
            1000 * SECOND,
            100 * SECOND,
        ),
        (MailUnavailableError(outcome_unknown=True), 3 * SECOND, SECOND),
        (MailUnavailableError(outcome_unknown=True), 100 * SECOND, 10 * SECOND),
        (MailUnavailableError(outcome_unknown=True), 400 * SECOND, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ReminderError) else "",
)
def test_nobody_sleeps_away_the_time_that_is_left(
    error: ReminderError, useful_for: timedelta, delay: timedelta | None
) -> None:
    """Whoever asks to wait, and however long, another attempt comes within a tenth of it."""
    failed = application_error(error, now=NOW, useful_for=useful_for, attempt=9)
    assert delay == failed.next_retry_delay


@pytest.mark.parametrize(
    ("in_future", "waited"),
    [
        (timedelta(days=3), timedelta(minutes=5)),
        (timedelta(seconds=90), timedelta(seconds=90)),
        (timedelta(seconds=-9), SECOND),
    ],
    ids=["far", "near", "over"],
)
def test_a_quota_is_waited_for_in_steps(in_future: timedelta, waited: timedelta) -> None:
    """Until it is renewed, but asked about every five minutes: it may be raised before."""
    error = MailQuotaExceededError(resets_at=NOW + in_future)
    assert waited == application_error(error, now=NOW).next_retry_delay


def test_foreign_errors_cross_without_their_words() -> None:
    """The message of an unexpected error may quote an address, so only its class is told."""
    quoting = "ana@" + "hospital.example"  # the traceback in the log shows this file's lines
    with pytest.raises(ApplicationError) as raised, as_application_errors():
        raise ValueError(quoting)
    assert "ValueError" == raised.value.type
    assert "ana" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_what_the_workflow_waits_is_known() -> None:
    """The bound of the last minutes is worked out from the workflow's own retry policy."""
    assert failures._POLICY == (RETRY.initial_interval, RETRY.maximum_interval)
    assert RETRY.backoff_coefficient == 2.0


def test_an_attempt_that_waited_long_is_judged_by_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It woke six minutes early; the quota is renewed ten seconds after its instant."""
    ticks = iter([0.0, 360.0])
    monkeypatch.setattr(failures, "monotonic", lambda: next(ticks))
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, started_time=NOW)

    def refused() -> None:
        with as_application_errors(useful_until=NOW + timedelta(hours=1)):
            raise MailQuotaExceededError(resets_at=NOW + timedelta(seconds=370))

    with pytest.raises(ApplicationError) as raised:
        environment.run(refused)
    assert 10 * SECOND == raised.value.next_retry_delay
