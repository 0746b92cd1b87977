"""What makes a Temporal worker one of ours: every workflow, every activity, and what delivers.

A module of its own, because it brings the provider's client and the e-mails' templates along, which
most commands start without.
"""

from __future__ import annotations

import compileall
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.plugin import SimplePlugin

from activities.delivery import DeliveryActivities
from activities.retention import RetentionActivities
from activities.session_change import SessionChangeActivities
from activities.sweep import SweepActivities
from reminders.db.absence import Absence
from reminders.db.arrivals import PostgresInquiries
from reminders.db.channel import Channel
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.retention import PostgresRetention
from reminders.db.sweep import SweepQueries
from reminders.delivery.inquiry import Inquiry
from reminders.delivery.pipeline import DeliveryPipeline, ignore
from reminders.delivery.policy import DeliveryPolicy, Step
from reminders.domain.pace import Pace
from reminders.domain.ports import Clock, Deliverer, DeliveryObserver
from reminders.mail.resend import ResendMailer
from reminders.observability.tracing import TracedMailer, Tracing
from reminders.settings import Settings
from starter.assembly import Parts
from starter.services.mails import attendee_links, mail_composer
from starter.services.notifications import Notifications
from starter.services.reconciler import EnrollmentReconciler
from starter.services.session_changes import EnrollmentReplanner
from workflows.plugin import WORKFLOWS


class ReminderWorkerPlugin(SimplePlugin):
    """Gives a worker our workflows and activities, and delivers for as long as it runs.

    `Worker(parts.client, task_queue=..., plugins=[ReminderWorkerPlugin(parts)])` is a whole worker,
    of ours or of a host's own.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        on_step: Callable[[Step], None] = ignore,
        observer: DeliveryObserver | None = None,
        traced: Tracing | None = None,
    ) -> None:
        """Put the delivery together; nothing runs before the worker does.

        Args:
            parts: Assembled, and open for longer than the worker runs.
            on_step: Called at every step of every batch; tests kill the process in it.
            observer: Hears of what happens, for metrics.
            traced: Requests to the provider get spans.

        Raises:
            ConfigurationError: If a setting is missing or contradicts another.
        """
        delivery = Delivery.of(
            parts.settings,
            parts.database,
            parts.clock,
            on_step=on_step,
            observer=observer,
            traced=traced,
        )
        self.pipeline = delivery.pipeline
        _compile_workflows()
        super().__init__(
            "session-reminders-worker",
            workflows=_with_ours,
            activities=activities(parts, delivery.pipeline),
            run_context=partial(_running, parts, delivery),
        )


def _compile_workflows() -> None:
    """Have the workflows' bytecode written, even where Python is told to write none.

    Every run executes its workflow's module anew in the sandbox, which compiles it each time if
    there is none. Where it cannot be written, so be it.
    """
    for workflow in WORKFLOWS:
        compileall.compile_file(str(sys.modules[workflow.__module__].__file__), quiet=2)


@asynccontextmanager
async def _running(parts: Parts, delivery: Delivery) -> AsyncIterator[None]:
    """Deliver, and follow what the platform tells, for as long as the worker runs."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(delivery.running())
        if (channel := parts.settings.database_channel) is not None:
            notifications = Notifications(
                channel=Channel(parts.database, channel),
                reconciler=reconciler(parts),
                gateway=parts.gateway,
                sweeps=parts.sweeps,
            )
            await stack.enter_async_context(notifications.running())
        yield


def reconciler(parts: Parts) -> EnrollmentReconciler:
    """What a sweep repairs enrollments with, and whoever is told of one."""
    threshold = parts.settings.reschedule_resend_threshold
    return EnrollmentReconciler(
        client=parts.client,
        handover=parts.handover,
        gateway=parts.gateway,
        queries=SweepQueries(parts.database, parts.clock, resend_threshold=threshold),
        absence=Absence(parts.database),
    )


def _with_ours(workflows: Sequence[type] | None) -> Sequence[type]:
    """A client of ours has brought them already; of each name a worker has one."""
    known = workflows or ()
    names = {workflow.__name__ for workflow in known}
    return [*known, *(workflow for workflow in WORKFLOWS if workflow.__name__ not in names)]


def activities(parts: Parts, deliverer: Deliverer) -> list[Callable[..., Any]]:
    """Every activity of ours.

    Args:
        parts: Assembled.
        deliverer: Running; sends what is due.
    """
    delivery = DeliveryActivities(deliverer)
    change = SessionChangeActivities(
        EnrollmentReplanner(
            handover=parts.handover, planner=parts.planner, catalogue=parts.catalogue
        )
    )
    sweep = SweepActivities(reconciler(parts))
    retention = RetentionActivities(PostgresRetention(parts.database, parts.clock))
    return [
        delivery.deliver_reminder,
        delivery.close_reminders,
        change.replan_enrollments,
        sweep.reconcile_enrollments,
        retention.forget_what_is_old,
    ]


def delivery_policy(settings: Settings) -> DeliveryPolicy:
    """Batches and back-off as the settings have them."""
    return DeliveryPolicy(
        batch_size=settings.email_batch_size,
        retries=settings.email_max_retries,
        initial_backoff=timedelta(milliseconds=settings.email_initial_backoff_ms),
        longest_backoff=timedelta(milliseconds=settings.email_max_backoff_ms),
        backoff_multiplier=settings.email_backoff_multiplier,
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery pipeline on the configured database and provider."""

    pipeline: DeliveryPipeline
    resend: ResendMailer
    inquiry: Inquiry

    @classmethod
    def of(
        cls,
        settings: Settings,
        database: Database,
        clock: Clock,
        *,
        on_step: Callable[[Step], None] = ignore,
        observer: DeliveryObserver | None = None,
        traced: Tracing | None = None,
        policy: DeliveryPolicy | None = None,
    ) -> Delivery:
        """As the settings say, by their policy if no other; see `ReminderWorkerPlugin`.

        Raises:
            ConfigurationError: If a setting is missing or contradicts another.
        """
        pace = Pace.of(
            settings.email_requests_per_second,
            is_ceiling="email_requests_per_second" in settings.model_fields_set,
            apart=timedelta(milliseconds=settings.email_batch_delay_ms or 0),
        )
        composer = mail_composer(
            settings,
            links=attendee_links(settings),
            stays_here=settings.mails_to_a_stand_in(),
        )
        resend = ResendMailer(
            api_key=settings.require_resend_api_key(),
            api_url=settings.resend_api_url,
            clock=clock,
            pace=pace,
        )
        pipeline = DeliveryPipeline(
            ledger=PostgresDeliveryLedger(
                database,
                clock,
                owner=f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}",
                pace=pace,
                shadow=settings.shadow_mode,
                destination=settings.destination(),
                sender=settings.sender_fingerprint(),
                resend_threshold=settings.reschedule_resend_threshold,
            ),
            composer=composer,
            mailer=TracedMailer(resend, traced.tracer) if traced else resend,
            clock=clock,
            policy=policy or delivery_policy(settings),
            on_step=on_step,
            observer=observer,
        )
        silent = PostgresInquiries(database, clock, pace=pace)
        inquiry = Inquiry(silent, resend, pace=pace)
        return cls(pipeline, resend, inquiry)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver until the end of the block, then let what is in flight end."""
        async with self.resend, self.pipeline.running(), self.inquiry.running():
            yield
