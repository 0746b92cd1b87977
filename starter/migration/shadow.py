"""From a cron job to us: its log and rules taken over, both compared, and sessions cut over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID

from reminders.db.engine import Database
from reminders.domain.errors import ConfigurationError, InvalidInputError
from reminders.domain.model import NOTICES
from reminders.domain.ports import Clock
from reminders.domain.rules import RuleFields, with_fields
from reminders.fan_out import total
from reminders.mail.subject import validate_subject_template
from starter.gateway import ReminderGateway
from starter.migration.importing import CronTables, Imported, RuleChange
from starter.migration.ledger import Cutovers, Difference, ShadowLog

PAGE = 500
"""Rows of the old log that are taken over in one transaction."""
SHORTEST_GRACE = timedelta(seconds=35)
"""Longer than one attempt to deliver (30 s): whoever still saw the cron job's turn has written so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CronImport:
    """What was taken over, or would be."""

    rules: Sequence[RuleChange]
    reminders: Imported


@dataclass(frozen=True, kw_only=True, slots=True)
class CutoverReceipt:
    """What a cut-over did."""

    requested_at: datetime
    """From then on the cron job left the session alone."""
    imported: int
    """Reminders that the cron job had sent until the end, recorded as such."""
    reopened: int
    """Reminders that nobody had sent around the cut-over, and that go out now."""


class CronMigration:
    """The way from a cron job to us, step by step; each step may be repeated."""

    def __init__(
        self, database: Database, *, gateway: ReminderGateway, clock: Clock, schema: str
    ) -> None:
        """Read the old tables in this schema.

        Args:
            database: Migrated.
            gateway: Brings what is open again to the workflows.
            clock: Judges what lies ahead.
            schema: Where the platform's old tables are.
        """
        self._tables = CronTables(database, schema)
        self._cutovers = Cutovers(database)
        self._log = ShadowLog(database, schema)
        self._gateway = gateway
        self._clock = clock

    async def take_over(
        self,
        *,
        dry_run: bool = False,
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> CronImport:
        """Take over the rules and what was sent; safe to repeat.

        Args:
            dry_run: Only say what it would do.
            on_progress: Called with how many more rows of the log have been read.

        Raises:
            ConfigurationError: If the old tables are not there.
            InvalidInputError: If a rule of theirs cannot be ours; nothing was done.
        """
        await self._tables.check()
        changes = await self._tables.rule_changes()
        for name in await self._tables.types_in_log(NOTICES):
            _refuse_notice(name)
        for change in changes:
            _check(change)
        if not dry_run:
            await self._tables.take_over_rules()
        imported = await self._import(None, dry_run=dry_run, on_progress=on_progress)
        return CronImport(rules=changes, reminders=imported)

    async def difference(
        self,
        *,
        tolerance: timedelta,
        since: datetime | None = None,
        session_id: UUID | None = None,
    ) -> Difference:
        """Compare what shadow mode recorded with the cron job's own log, until the tolerance ago.

        Raises:
            ConfigurationError: If the old log is not there.
        """
        return await self._log.difference(
            since=since,
            until=self._clock.now() - tolerance,
            tolerance=tolerance,
            session_id=session_id,
            has_status=await self._tables.has_status(),
        )

    async def request_cutover(self, session_id: UUID | None) -> datetime:
        """Begin: the cron job leaves the session alone from now on, and we do not send yet.

        Args:
            session_id: Which; absent means every session.

        Returns:
            Since when.
        """
        await self._tables.check()
        return await self._cutovers.request(session_id, now=self._clock.now())

    async def complete_cutover(
        self,
        session_id: UUID | None,
        *,
        grace: timedelta,
        cron_period: timedelta,
    ) -> CutoverReceipt:
        """End: take over what the cron job sent to the last, and send from now on.

        Args:
            session_id: As it was requested.
            grace: How long a run of the cron job, begun before the request, may take.
            cron_period: How far apart its runs are: what fell due so shortly before the request
                may have waited for the next one.

        Raises:
            ConfigurationError: If the grace is not over yet.
        """
        requested_at = await self._cutovers.request(session_id, now=self._clock.now())
        over_at = requested_at + max(grace, SHORTEST_GRACE)
        if self._clock.now() < over_at:
            msg = f"a run of the cron job may still be sending; repeat after {over_at:%H:%M:%S} UTC"
            raise ConfigurationError(msg)
        imported = await self._import(session_id, ends_shadow=True)
        reopened, sessions = await self._cutovers.take_over(
            session_id, since=requested_at - cron_period, now=self._clock.now()
        )
        for reopened_id in sessions:
            await self._gateway.replan(reopened_id)
        return CutoverReceipt(
            requested_at=requested_at,
            imported=imported.added + imported.corrected,
            reopened=reopened,
        )

    async def _import(
        self,
        session_id: UUID | None,
        *,
        ends_shadow: bool = False,
        dry_run: bool = False,
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> Imported:
        """Take over the log, a page at a time."""
        imported = Imported()
        last = None
        while page := await self._tables.entries(after=last, limit=PAGE, session_id=session_id):
            counts = await self._tables.take_over(page, ends_shadow=ends_shadow, dry_run=dry_run)
            imported, last = total(imported, counts), page[-1]
            on_progress(len(page))
        return imported


def _check(change: RuleChange) -> None:
    """Refuse a rule that would fail later, one by one.

    Raises:
        InvalidInputError: Names the rule.
    """
    if change.reminder_type in NOTICES:
        _refuse_notice(change.reminder_type)
    wanted = RuleFields(
        lead=timedelta(minutes=change.minutes_before),
        is_enabled=change.is_enabled,
        subject_template=change.email_subject_template,
        display_name=change.display_name,
        sort_order=change.sort_order,
    )
    try:
        with_fields(None, change.reminder_type, None, wanted)
        if change.is_enabled:
            validate_subject_template(change.email_subject_template)
    except InvalidInputError as error:
        msg = f"the rule {change.reminder_type!r}: {error}; fix it in the old table"
        raise InvalidInputError(msg, field=error.field) from error


def _refuse_notice(name: str) -> NoReturn:
    msg = (
        f"{name!r} is the name of a notice here; call it otherwise in the old rules and the old"
        " log, which a view may show"
    )
    raise InvalidInputError(msg, field="reminder_type")
