"""Everything that answers requests, put together once: for the API, the commands and hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

from temporalio.client import Client, Plugin  # noqa: TID251 - put together here, asked by the gateway
from temporalio.converter import DataConverter

from reminders import temporal
from reminders.clock import SystemClock
from reminders.db.audit import AuditLog
from reminders.db.calendar import CalendarEntries
from reminders.db.engine import Database
from reminders.db.erasure import ErasureStore
from reminders.db.ledger import ReminderQueries
from reminders.db.planning import EnrollmentPlanner
from reminders.db.preferences import PreferenceStore
from reminders.db.provider import ProviderEvents, ProviderState
from reminders.db.reports import LedgerGauges
from reminders.db.resends import FailedEnrollments, ReminderRequests
from reminders.db.rule_effects import RuleEffects
from reminders.db.rules import RuleStore
from reminders.db.sessions import Catalogue
from reminders.domain.ports import Clock
from reminders.settings import Settings
from reminders.tokens import Tokens
from starter.gateway import ReminderGateway
from starter.health.examiner import Examiner
from starter.services.backfill import Backfill
from starter.services.deeds import Deeds
from starter.services.enrollments import EnrollmentWorkflows
from starter.services.erasure import Erasure
from starter.services.handover import Handover
from starter.services.preferences import Preferences
from starter.services.resending import Resending
from starter.services.rules import RuleAdmin
from starter.services.sweeps import Sweeps
from workflows.plugin import SessionReminderPlugin, data_converter


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What requests and commands are answered with."""

    settings: Settings
    database: Database
    client: Client
    catalogue: Catalogue
    queries: ReminderQueries
    gateway: ReminderGateway
    rules: RuleAdmin
    resending: Resending
    examiner: Examiner
    sweeps: Sweeps
    deeds: Deeds
    provider: ProviderState
    backfill: Backfill
    provider_events: ProviderEvents
    preferences: Preferences
    erasure: Erasure
    calendar: CalendarEntries
    tokens: Tokens | None
    """Absent while links in e-mails are not configured."""
    clock: Clock

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
    plugins: Sequence[Plugin] = (),
    data_converter: DataConverter = data_converter,
) -> AsyncIterator[Parts]:
    """The parts, until the end of the block; nothing is connected before its first use.

    Args:
        settings: Of this process.
        plugins: See `connect`.
        data_converter: See `connect`.

    Raises:
        ConfigurationError: If a setting is missing or cannot be used.
    """
    database = Database(
        settings.require_database_url(),
        pool_size=settings.database_pool_size,
        host_schema=settings.existing_host_schema(),
    )
    try:
        client = await connect(lazy=True, plugins=plugins, data_converter=data_converter)
        catalogue = Catalogue(database)
        queries = ReminderQueries(database)
        clock = SystemClock()
        planner = EnrollmentPlanner(
            database, clock, resend_threshold=settings.reschedule_resend_threshold
        )
        installation = planner.installation
        workflows = EnrollmentWorkflows(
            client, task_queue=settings.temporal_task_queue, installation=installation
        )
        handover = Handover(workflows, planner=planner)
        gateway = ReminderGateway(
            client,
            planner=planner,
            catalogue=catalogue,
            queries=queries,
            task_queue=settings.temporal_task_queue,
        )
        rules = RuleAdmin(
            gateway,
            store=RuleStore(database),
            effects=RuleEffects(database, clock),
            clock=clock,
            resend_threshold=settings.reschedule_resend_threshold,
        )
        sweeps = Sweeps(client, task_queue=settings.temporal_task_queue, installation=installation)
        resending = Resending(
            handover,
            requests=ReminderRequests(database, clock),
            failed=FailedEnrollments(database, clock),
            clock=clock,
        )
        async with aclosing(rules):
            yield Parts(
                settings=settings,
                database=database,
                client=client,
                catalogue=catalogue,
                queries=queries,
                gateway=gateway,
                rules=rules,
                resending=resending,
                deeds=Deeds(gateway, sweeps=sweeps, resending=resending, audit=AuditLog(database)),
                examiner=Examiner(
                    client,
                    database=database,
                    queries=queries,
                    ledger=LedgerGauges(database, clock, settings.destination()),
                    settings=settings,
                    clock=clock,
                ),
                sweeps=sweeps,
                provider=ProviderState(database),
                backfill=Backfill(
                    catalogue=catalogue, planner=planner, handover=handover, clock=clock
                ),
                provider_events=ProviderEvents(database),
                clock=clock,
                preferences=Preferences(
                    store=PreferenceStore(database, clock), planner=planner, handover=handover
                ),
                erasure=Erasure(store=ErasureStore(database, clock), workflows=workflows),
                calendar=CalendarEntries(database),
                tokens=tokens(settings),
            )
    finally:
        await database.aclose()


def tokens(settings: Settings) -> Tokens | None:
    """What signs the links of e-mails; `None` while they are not configured."""
    secrets = [secret.get_secret_value() for secret in settings.token_secret]
    return Tokens(secrets) if secrets else None


async def connect(
    *,
    lazy: bool,
    plugins: Sequence[Plugin] = (),
    data_converter: DataConverter = data_converter,
) -> Client:
    """A client with our plugin, for the server that Temporal's own variables name.

    Args:
        lazy: Connect at the first call.
        plugins: Besides ours, such as for traces.
        data_converter: What every worker has, ours or a host's own.

    Raises:
        ConfigurationError: If those variables cannot be used.
        TemporalUnavailableError: If the server does not answer (not when lazy).
    """
    return await temporal.connect([SessionReminderPlugin(data_converter), *plugins], lazy=lazy)
