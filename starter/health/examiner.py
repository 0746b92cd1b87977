"""Whether reminders will go out, and if not, why: for `/readyz` and `reminders doctor`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client  # noqa: TID251 - asks how the server is, starts nothing
from temporalio.service import RPCError

from reminders import temporal
from reminders.db import migrate
from reminders.db.arrivals import WebhookRefusals, late_domains
from reminders.db.channel import Channel
from reminders.db.engine import Database
from reminders.db.ledger import ReminderQueries
from reminders.db.oddities import KINDS
from reminders.db.provider import ProviderEvents, ProviderState
from reminders.db.sessions import Catalogue
from reminders.domain.model import StatusReason, WebhookRefusal
from reminders.domain.ports import Clock
from reminders.domain.upkeep import LedgerReader, LedgerState
from reminders.settings import Settings
from starter.health.diagnosis import Check, Diagnosis, FoundError, Level, bounded, silence
from starter.health.platform import PlatformChecks
from starter.health.temporal_checks import RetentionCheck, SweepChecks, last_poll
from starter.services.namespace import NOT_ALLOWED, Namespace
from starter.services.reasons import OVERDUE, are
from starter.services.sweeps import Sweeps

PATIENCE = timedelta(seconds=3)
"""How long one check may take; they run at the same time."""
WORKER_GONE = timedelta(minutes=2)
"""A worker polls at least once a minute (the server's long poll), or it is busy, or gone."""
WORKER_SILENT = timedelta(seconds=65)
"""With reminders overdue, one long poll without a sign of a worker is reason enough."""
SKEW = timedelta(seconds=2)
"""How far clocks may differ; delivery waits for up to five seconds."""
_SYNCHRONISE = "synchronise the clocks of both machines (chrony, systemd-timesyncd)"
LITTLE_QUOTA = 0.2
"""Fraction of a quota below which operators are warned."""

DAY = timedelta(days=1)
SILENCE = timedelta(hours=3)
"""The provider tells of an e-mail within seconds, and repeats what was not taken for hours."""

_SET_IT = (
    "set RESEND_WEBHOOK_SECRET of the API to the signing secret that https://resend.com/webhooks"
    " shows for this endpoint"
)
_REFUSED = {
    WebhookRefusal.SIGNATURE: ("their signature does not fit RESEND_WEBHOOK_SECRET", _SET_IT),
    WebhookRefusal.NO_SECRET: ("the API has no RESEND_WEBHOOK_SECRET", _SET_IT),
    WebhookRefusal.TIMESTAMP: (
        "their signature is minutes away from PostgreSQL's clock",
        "synchronise the clock of PostgreSQL's machine (chrony, systemd-timesyncd)",
    ),
}

_REMEDIES = {
    StatusReason.QUOTA: "raise the quota at Resend, or wait until it is renewed",
    StatusReason.MISCONFIGURED: (
        "check RESEND_API_KEY and EMAIL_FROM of these workers against Resend's dashboard"
    ),
}
_ASKS = {
    "clock": "Temporal",
    "temporal": "Temporal",
    "installation": "PostgreSQL or Temporal",
    "search_attributes": "Temporal",
    "schedule": "Temporal",
    "sweeps": "Temporal",
    "worker": "Temporal",
}
"""The part that a check asks, if it is not PostgreSQL."""


@dataclass(kw_only=True, slots=True)
class Examiner:
    """Examines the system; callers that ask at the same time share one examination."""

    client: Client
    """May be lazy."""
    database: Database
    """Whose schema is compared with this release's."""
    namespace: Namespace
    """Says whether it is ours."""
    sweeps: Sweeps
    """What became of them."""
    events: ProviderEvents
    """What the provider has told us."""
    refusals: WebhookRefusals
    """What it may have, and was refused."""
    provider: ProviderState
    """Says whether delivery is held."""
    queries: ReminderQueries
    """Says what is overdue."""
    ledger: LedgerReader
    """Knows quotas, and what time it is in PostgreSQL."""
    settings: Settings
    """Of this process; a worker should poll their task queue."""
    clock: Clock
    """Decides what is overdue."""
    _sweeping: SweepChecks = field(init=False)
    _platform: PlatformChecks = field(init=False)
    _retention: RetentionCheck = field(init=False)
    _running: asyncio.Task[Diagnosis] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._sweeping = SweepChecks(
            client=self.client, sweeps=self.sweeps, settings=self.settings, clock=self.clock
        )
        self._platform = PlatformChecks(self.database)
        self._retention = RetentionCheck(self.client, Catalogue(self.database), self.clock)

    async def examine(self) -> Diagnosis:
        """Run all checks, within about three seconds; never raises."""
        # `/readyz` is open to everybody: a flood of probes must not use up the connection pool.
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._examine())
        return await asyncio.shield(self._running)

    async def _examine(self) -> Diagnosis:
        def check(name: str, look: Callable[[], Awaitable[str]]) -> asyncio.Task[Check]:
            asks = _ASKS.get(name, "PostgreSQL")
            return asyncio.create_task(bounded(name, look, PATIENCE, asks=asks))

        overdue = check("overdue", self._overdue)
        state = asyncio.create_task(self.ledger.state())
        checks = await asyncio.gather(
            check("settings", self._contradictions),
            check("database", self._reach_database),
            check("schema", self._schema),
            check("temporal", self._retention.look),
            check("installation", self._installation),
            check("search_attributes", self._search_attributes),
            check("schedule", self._sweeping.schedule),
            check("sweeps", self._sweeping.runs),
            check("clock", lambda: self._clocks(state)),
            check("worker", lambda: self._worker(overdue)),
            check("delivery", self._delivery),
            check("webhooks", self._webhooks),
            check("quota", lambda: self._quota(state)),
            check("stranded", lambda: self._stranded(state)),
            check("arrival", lambda: self._arrival(state)),
            overdue,
            *([check("channel", self._listening)] if self.settings.database_channel else []),
            *([check("platform", self._platform.look)] if self.database.host_schema else []),
        )
        state.cancel()
        return Diagnosis(checks=tuple(checks))

    async def _contradictions(self) -> str:
        doubts = self.settings.doubts()
        if doubts:
            raise FoundError(*doubts[0], Level.WARNING)
        return f"nothing contradicts itself; DELIVERY_MODE is {self.settings.delivery_mode}"

    async def _reach_database(self) -> str:
        await self.database.see_writable()
        way = ", through a pooler" if self.database.is_pooled else ""
        return f"PostgreSQL answers and takes writes{way}"

    async def _schema(self) -> str:
        current, head = await migrate.current(self.database), _head()
        if current != head and not migrate.lacks(current):
            raise FoundError(
                f"the schema is at {current}, which is newer than this release ({head})",
                "bring this process to the release of the others",
                Level.WARNING,
            )
        if current != head:
            raise FoundError(
                f"the schema is at {current or 'nothing'}, this release needs {head}",
                "run `reminders db upgrade`",
            )
        return f"at {head}"

    async def _installation(self) -> str:
        await self.namespace.memo()
        return "database and namespace are this installation's"

    async def _search_attributes(self) -> str:
        try:
            missing = await temporal.missing_search_attributes(self.client)
        except RPCError as error:
            if error.status in NOT_ALLOWED:
                return "not known: listing them is not allowed here"
            raise
        if missing:
            raise FoundError(
                f"search attributes are not registered: {', '.join(missing)}",
                "run `reminders temporal setup`",
            )
        return "registered"

    async def _worker(self, overdue: asyncio.Task[Check]) -> str:
        now = self.clock.now()
        polls = await self._last_polls()
        # Shielded: running out of time here must not cancel the other check.
        patience = WORKER_GONE if (await asyncio.shield(overdue)).ok else WORKER_SILENT
        known = [poll for poll in polls if poll is not None]
        queue = f"task queue {self.settings.temporal_task_queue}"
        remedy = "start one: `reminders worker`"
        if len(known) < len(polls):
            raise FoundError(f"no worker polls {queue}", remedy)
        silence = now - min(known)
        if silence > patience:
            seconds = int(silence.total_seconds())
            raise FoundError(f"no worker has polled {queue} for {seconds} s", remedy)
        return f"a worker polls {queue}"

    async def _last_polls(self) -> Sequence[datetime | None]:
        """When a worker last asked for workflow tasks, and for activities."""
        queue = self.settings.temporal_task_queue
        return await asyncio.gather(
            last_poll(self.client, queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
            last_poll(self.client, queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
        )

    async def _clocks(self, state: asyncio.Task[LedgerState]) -> str:
        try:
            async with asyncio.timeout(PATIENCE.total_seconds() * 0.9):
                skew = (await asyncio.shield(state)).clock_skew
        except TimeoutError:
            raise FoundError(*silence("PostgreSQL", PATIENCE)) from None
        if abs(skew) > SKEW:
            direction = "behind" if skew > timedelta() else "ahead of"
            seconds = f"{abs(skew).total_seconds():.0f} s"
            raise FoundError(
                f"this machine's clock is {seconds} {direction} PostgreSQL's, which is what counts:"
                " its logs mislead",
                _SYNCHRONISE,
                Level.WARNING,
            )
        polled = [p for p in await self._last_polls() if p is not None]
        if polled and (ahead := max(polled) - self.clock.now()) > SKEW:
            raise FoundError(
                f"PostgreSQL's clock is {ahead.total_seconds():.0f} s behind Temporal's: that late"
                " reminders go out",
                _SYNCHRONISE,
                Level.RED if ahead > OVERDUE else Level.WARNING,
            )
        return f"within {SKEW.seconds} s of PostgreSQL's, which is not behind Temporal's"

    async def _quota(self, state: asyncio.Task[LedgerState]) -> str:
        quotas = (await asyncio.shield(state)).quotas
        for name, quota in quotas.items():
            if quota.remaining is None or quota.limit is None:
                continue
            if quota.remaining < quota.limit * LITTLE_QUOTA:
                raise FoundError(
                    f"{quota.remaining} of {quota.limit} e-mails are left of the {name} quota"
                    f" until {quota.resets_at:%Y-%m-%d %H:%M} UTC",
                    "raise the quota at Resend before it ends",
                    Level.WARNING,
                )
        return "enough is left" if quotas else "not known: the provider has not said"

    async def _stranded(self, state: asyncio.Task[LedgerState]) -> str:
        ledger = await asyncio.shield(state)
        if count := ledger.stranded:
            some = are(count, "reminder")
            raise FoundError(
                f"{some} in requests that are not posted from here: they were frozen under another"
                " DELIVERY_MODE, VERIFIED_TEST_EMAIL or installation",
                "set it back until they are settled; or leave them, and they end as"
                " outcome_unknown when their words are outdated",
                Level.WARNING,
            )
        if ledger.destinations > 1:
            raise FoundError(
                "requests of the last ten minutes went to different places: workers do not agree on"
                " DELIVERY_MODE or VERIFIED_TEST_EMAIL, or it was changed just now",
                "give all workers the same: what one takes that redirects never reaches its attendee",
                Level.WARNING,
            )
        return "no request was frozen for somewhere else"

    async def _listening(self) -> str:
        name = self.settings.database_channel or ""
        is_heard = await Channel(self.database, name).is_heard()
        if self.database.is_pooled:
            raise FoundError(
                f"{name} cannot be listened to: a pooler is in front of PostgreSQL, and only the"
                " sweep finds what your triggers tell",
                "let DATABASE_URL of the workers lead to PostgreSQL itself, or unset"
                " DATABASE_CHANNEL",
                Level.WARNING,
            )
        if not is_heard:
            raise FoundError(
                f"no worker listens to {name}: only the sweep finds what your triggers tell",
                "start a worker with the same DATABASE_CHANNEL; its log says what keeps it",
                Level.WARNING,
            )
        return f"a worker listens to {name}"

    async def _delivery(self) -> str:
        hold = await self.provider.hold()
        if hold is not None:
            whose = f", for workers with key and sender {hold.sender}" if hold.sender else ""
            said = f". {hold.detail}" if hold.detail else ""
            raise FoundError(
                f"delivery is held until {hold.until:%Y-%m-%d %H:%M:%S} UTC:"
                f" {hold.reason}{whose}{said}",
                _REMEDIES.get(hold.reason, "see the worker's log"),
            )
        return "nothing holds delivery back"

    async def _webhooks(self) -> str:
        """Whether webhooks come, and are taken in."""
        now = self.clock.now()
        if (why := await self.refusals.last(since=now - DAY)) is not None:
            what, remedy = _REFUSED[why]
            raise FoundError(f"webhooks are refused: {what}", remedy, Level.WARNING)
        if not self.settings.resend_webhook_secret:
            return "not expected: RESEND_WEBHOOK_SECRET is not set"
        count = await self.events.unheard_of(since=now - DAY, until=now - SILENCE)
        if count:
            some = "1 e-mail was" if count == 1 else f"{count} e-mails were"
            raise FoundError(
                f"{some} accepted, and no webhook came for a day: bounces are not seen",
                "see https://resend.com/webhooks: is the endpoint there, enabled, and reachable?",
                Level.WARNING,
            )
        return "the provider tells us what becomes of e-mails"

    async def _arrival(self, state: asyncio.Task[LedgerState]) -> str:
        """Whether what was accepted arrives."""
        found = await asyncio.shield(state)
        if found.undelivered:
            some = are(found.undelivered, "e-mail")
            raise FoundError(
                f"{some} accepted, and not delivered after 15 minutes{await self._where()}",
                "the receiving server asks for patience, or events are lost; Resend's dashboard"
                " tells, and so does the enrollment's page",
                Level.WARNING,
            )
        return "what was accepted has been delivered, or ended, as far as the provider tells"

    async def _where(self) -> str:
        """The domains that several people have; in redirect mode nothing goes there."""
        if self.settings.delivery_mode != "live":
            return ""
        domains = await late_domains(self.database, self.clock.now())
        told = ", ".join(f"{count} at {domain}" for domain, count in domains.items())
        return f" ({told})" if told else ""

    def odd_rows(self) -> Sequence[Metric]:
        """How many rows of an existing platform's are odd, by kind; nothing before they were looked at."""
        if self._platform.odd is None:
            return ()
        family = GaugeMetricFamily(
            "reminders_platform_odd_rows",
            "Rows of the platform's that are awaited, and odd.",
            labels=["relation", "kind"],
        )
        counts = Counter(dict.fromkeys(KINDS, 0))
        for one in self._platform.odd:
            counts[one.relation, one.kind] += one.count
        for labels, count in counts.items():
            family.add_metric(labels, count)
        return (family,)

    async def _overdue(self) -> str:
        count = await self.queries.overdue(before=self.clock.now() - OVERDUE)
        if count:
            some = are(count, "reminder")
            raise FoundError(
                f"{some} overdue by more than {OVERDUE.seconds} s",
                "see the other checks, then the worker's log",
            )
        return "nothing is overdue"


@cache
def _head() -> str:
    """The revision of this release; read from the disk once."""
    return migrate.head()


async def measured(examiner: Examiner) -> Sequence[Metric]:
    """Every check as a number, for Prometheus: 1 unless it is red."""
    diagnosis = await examiner.examine()
    family = GaugeMetricFamily(
        "reminders_check_ok",
        "What doctor finds: 0 if reminders do not go out because of this, else 1.",
        labels=["check"],
    )
    for check in diagnosis.checks:
        family.add_metric([check.name], float(check.ok))
    return [family, *examiner.odd_rows()]
