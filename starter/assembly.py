"""Everything that answers requests and does the work, put together once: for API, commands, worker and hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from temporalio.client import Client, Plugin  # noqa: TID251 - put together here, asked by the gateway
from temporalio.converter import DataConverter
from temporalio.runtime import Runtime

from reminders import temporal
from reminders.clock import SharedClock, SystemClock
from reminders.db.arrivals import WebhookRefusals
from reminders.db.audit import AuditLog
from reminders.db.engine import Database
from reminders.db.erasure import ErasureStore
from reminders.db.installation import Installation
from reminders.db.ledger import ReminderQueries
from reminders.db.lookups import Browser
from reminders.db.notices import NoticeQueries
from reminders.db.planning import EnrollmentPlanner
from reminders.db.preference_store import PreferenceStore
from reminders.db.provider import ProviderEvents, ProviderState
from reminders.db.reports import LedgerGauges, Overview
from reminders.db.resends import ReminderRequests
from reminders.db.rule_effects import RuleEffects
from reminders.db.rules import RuleStore
from reminders.db.sessions import Catalogue
from reminders.db.sweep import Ahead
from reminders.domain.ports import Clock
from reminders.settings import Settings
from reminders.tokens import Tokens
from starter.gateway import ReminderGateway
from starter.health.examiner import Examiner
from starter.services.backfill import Backfill
from starter.services.enrollments import EnrollmentWorkflows
from starter.services.handover import Handover
from starter.services.namespace import Namespace
from starter.services.people import Erasure, Preferences
from starter.services.resending import Resending
from starter.services.rules import RuleAdmin
from starter.services.session_changes import SessionChanges
from starter.services.sweeps import Sweeps
from workflows.plugin import SessionReminderPlugin, data_converter


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What requests and commands are answered with, and what a worker works with."""

    settings: Settings
    database: Database
    client: Client
    clock: Clock

    catalogue: Catalogue
    queries: ReminderQueries
    browser: Browser
    overview: Overview
    audit: AuditLog
    ledger: LedgerGauges
    provider: ProviderState
    provider_events: ProviderEvents
    webhook_refusals: WebhookRefusals

    namespace: Namespace
    planner: EnrollmentPlanner
    workflows: EnrollmentWorkflows
    handover: Handover

    gateway: ReminderGateway
    rules: RuleAdmin
    resending: Resending
    preferences: Preferences
    erasure: Erasure
    backfill: Backfill
    sweeps: Sweeps
    examiner: Examiner
    tokens: Tokens | None
    """Absent while links in e-mails are not configured."""

    def workflow_url(self, workflow_id: str, run_id: str | None) -> str | None:
        """Where people see a workflow in the Temporal UI.

        Returns:
            `None` unless `TEMPORAL_UI_URL` is set.
        """
        base = self.settings.temporal_ui_url
        if base is None:
            return None
        path = ["namespaces", self.client.namespace, "workflows", workflow_id]
        path += [run_id, "history"] if run_id else []
        return "/".join([base.rstrip("/"), *(quote(part, safe="") for part in path)])

    def workflows_url(self, query: str) -> str | None:
        """Where people see the workflows that a query finds in the Temporal UI.

        Args:
            query: In the words of `temporal workflow list --query`.

        Returns:
            `None` unless `TEMPORAL_UI_URL` is set.
        """
        base = self.settings.temporal_ui_url
        if base is None:
            return None
        namespace = quote(self.client.namespace, safe="")
        return f"{base.rstrip('/')}/namespaces/{namespace}/workflows?query={quote(query, safe='')}"


@asynccontextmanager
async def assembled(
    settings: Settings,
    *,
    lazy: bool = True,
    plugins: Sequence[Plugin] = (),
    data_converter: DataConverter = data_converter,
    runtime: Runtime | None = None,
) -> AsyncIterator[Parts]:
    """The parts, until the end of the block; PostgreSQL is connected to at its first use.

    Args:
        settings: Of this process.
        lazy: See `connect`; a worker needs a client that is connected.
        plugins: See `connect`.
        data_converter: See `connect`.
        runtime: See `connect`.

    Raises:
        ConfigurationError: If a setting is missing or cannot be used.
        TemporalUnavailableError: If the server does not answer (not when lazy).
    """
    clock = SharedClock()
    database = Database(
        settings.require_database_url(),
        pool_size=settings.database_pool_size,
        host_schema=settings.existing_host_schema(),
        clock=clock,
    )
    try:
        client = await connect(
            lazy=lazy, plugins=plugins, data_converter=data_converter, runtime=runtime
        )
        parts = assemble(settings, database, client, clock=clock)
        async with aclosing(parts.rules), clock.listening(database.time):
            yield parts
    finally:
        await database.aclose()


def assemble(
    settings: Settings, database: Database, client: Client, *, clock: Clock | None = None
) -> Parts:
    """The parts, on a database and a client of the caller's, who closes them.

    Args:
        settings: Of this process.
        database: Migrated.
        client: Connected with `SessionReminderPlugin`; may be lazy.
        clock: Judges what is due; absent is the machine's, which should be PostgreSQL's (see
            `assembled`).
    """
    clock = clock or SystemClock()
    threshold, task_queue = settings.reschedule_resend_threshold, settings.temporal_task_queue
    catalogue, queries, audit = Catalogue(database), ReminderQueries(database), AuditLog(database)
    ledger = LedgerGauges(
        database,
        clock,
        settings.destination(),
        machine=SystemClock(),
        expects_events=bool(settings.resend_webhook_secret),
    )
    planner = EnrollmentPlanner(
        database,
        clock,
        resend_threshold=threshold,
        notice_cooling=timedelta(seconds=settings.notice_cooling_seconds),
    )
    namespace = Namespace(client, Installation(database))
    workflows = EnrollmentWorkflows(client, task_queue=task_queue, namespace=namespace)
    handover = Handover(workflows, planner=planner)
    sweeps = Sweeps(client, audit=audit, task_queue=task_queue, namespace=namespace)
    events, refusals = ProviderEvents(database), WebhookRefusals(database)
    provider = ProviderState(database)
    gateway = ReminderGateway(
        handover=handover,
        changes=SessionChanges(client=client, task_queue=task_queue, namespace=namespace),
        catalogue=catalogue,
        queries=queries,
        audit=audit,
        notices=NoticeQueries(database, clock),
    )
    return Parts(
        settings=settings,
        database=database,
        client=client,
        clock=clock,
        catalogue=catalogue,
        queries=queries,
        browser=Browser(database, settings.email_locale),
        overview=Overview(database),
        audit=audit,
        ledger=ledger,
        provider=provider,
        provider_events=events,
        webhook_refusals=refusals,
        namespace=namespace,
        planner=planner,
        workflows=workflows,
        handover=handover,
        gateway=gateway,
        rules=RuleAdmin(
            gateway,
            store=RuleStore(database),
            effects=RuleEffects(database, clock),
            clock=clock,
            resend_threshold=threshold,
        ),
        resending=Resending(
            handover,
            requests=ReminderRequests(database, clock),
            audit=audit,
            clock=clock,
        ),
        preferences=Preferences(
            store=PreferenceStore(database, clock),
            catalogue=catalogue,
            planner=planner,
            handover=handover,
        ),
        erasure=Erasure(store=ErasureStore(database, clock), workflows=workflows),
        backfill=Backfill(
            enrollments=Ahead(database), planner=planner, handover=handover, clock=clock
        ),
        sweeps=sweeps,
        examiner=Examiner(
            client=client,
            database=database,
            namespace=namespace,
            sweeps=sweeps,
            events=events,
            refusals=refusals,
            provider=provider,
            queries=queries,
            ledger=ledger,
            settings=settings,
            clock=clock,
        ),
        tokens=tokens(settings),
    )


def tokens(settings: Settings) -> Tokens | None:
    """What signs the links of e-mails; `None` while they are not configured."""
    secrets = [secret.get_secret_value() for secret in settings.token_secret]
    return Tokens(secrets) if secrets else None


async def connect(
    *,
    lazy: bool,
    plugins: Sequence[Plugin] = (),
    data_converter: DataConverter = data_converter,
    runtime: Runtime | None = None,
) -> Client:
    """A client with our plugin, for the server that Temporal's own variables name.

    Args:
        lazy: Connect at the first call.
        plugins: Besides ours, such as for traces.
        data_converter: What every worker has, ours or a host's own.
        runtime: With the SDK's metrics, if they are wanted.

    Raises:
        ConfigurationError: If those variables cannot be used.
        TemporalUnavailableError: If the server does not answer (not when lazy).
    """
    ours = SessionReminderPlugin(data_converter)
    return await temporal.connect([ours, *plugins], lazy=lazy, runtime=runtime)
