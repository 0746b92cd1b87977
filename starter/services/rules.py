"""Reminder rules, live: a change is stored, then every sleeping workflow that it concerns follows.

Stored first, in one transaction with its entry in the audit log. From then on the planner, the
sweep and every delivery go by it, so an old instant cannot fire any more. Then each session that
lies ahead gets its `SessionChangeWorkflow`, which plans its enrollments anew. A thousand sessions
take longer than a caller waits for, so the rest is done in the background; if this process dies
meanwhile, or Temporal is away, the sweep finds those that were not reached by what differs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from reminders.db.audit import By
from reminders.db.rule_effects import RuleEffects
from reminders.db.rules import RuleStore
from reminders.domain import rules
from reminders.domain.errors import (
    InvalidInputError,
    NotFoundError,
    ReminderError,
    ServiceUnavailableError,
)
from reminders.domain.model import ReminderRule
from reminders.domain.ports import Clock
from reminders.domain.rules import RuleChange, RuleDiff, RuleFields, with_fields
from reminders.fan_out import fan_out, total
from reminders.mail.subject import validate_subject_template
from starter.gateway import CHANGE_WAIT, ReminderGateway
from starter.services.receipts import CancelReceipt, ChangeReceipt

logger = logging.getLogger(__name__)

FEW = 20
"""Up to this many sessions, their counts are waited for."""
LAST_WORDS = timedelta(seconds=10)
"""How long a process that ends goes on with its changes; the sweep has the rest."""


@dataclass(slots=True)
class _Spread:
    """Sessions that one change is being brought to."""

    sessions: Sequence[UUID] = ()
    receipts: list[ChangeReceipt] = field(default_factory=list)
    is_broken_off: bool = False
    """Whether PostgreSQL or Temporal went away meanwhile."""


@dataclass(frozen=True, slots=True)
class RuleReceipt:
    """A change of a rule, stored, and who knows of it by the time that one asks."""

    change: RuleChange
    _spread: _Spread

    @property
    def sessions(self) -> int:
        """Sessions ahead that it concerns; zero if nothing that is planned may differ."""
        return len(self._spread.sessions)

    @property
    def begun(self) -> int:
        """Of these, those whose workflow runs, or is done."""
        return len(self._spread.receipts)

    @property
    def counts(self) -> ChangeReceipt | None:
        """Of all of them together; `None` while a workflow runs."""
        receipts = self._spread.receipts
        if (
            self._spread.is_broken_off
            or len(receipts) < self.sessions
            or not all(receipt.is_done for receipt in receipts)
        ):
            return None
        return _sum(receipts)


@dataclass(frozen=True, slots=True)
class RuleAdmin:
    """What operators ask about rules, for the API and the commands alike."""

    gateway: ReminderGateway
    store: RuleStore = field(kw_only=True)
    effects: RuleEffects = field(kw_only=True)
    """Knows whom a change concerns."""
    clock: Clock = field(kw_only=True)
    resend_threshold: timedelta = field(default=timedelta(hours=1), kw_only=True)
    """The planner's own."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def of_session(self, session_id: UUID | None) -> tuple[ReminderRule, ...]:
        """The rules that count for a session; its own ones carry its id.

        Args:
            session_id: Absent means one that has no rules of its own: those for all sessions.

        Raises:
            SessionNotFoundError: If there is no such session.
        """
        if session_id is None:
            return tuple(rule for rule in await self.store.all() if rule.session_id is None)
        return await self.store.of_session(session_id)

    async def all(self) -> tuple[ReminderRule, ...]:
        """The rules for all sessions in their order, then those of single sessions."""
        return await self.store.all()

    async def add(
        self,
        reminder_type: str,
        session_id: UUID | None,
        fields: RuleFields,
        *,
        by: By,
        wait: timedelta = CHANGE_WAIT,
    ) -> RuleReceipt:
        """Add a rule, for all sessions or for one; what is past due by it is skipped, not sent.

        Raises:
            InvalidInputError: If a value is missing or not acceptable.
            RuleExistsError: If there is one of this type already.
            SameLeadError: If another rule is due at the same instant.
            SessionNotFoundError: If there is no such session.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was stored.
        """
        rule = with_fields(None, reminder_type, session_id, fields)
        validate_subject_template(rule.subject_template)
        change = await self.store.add(rule, by=by)
        return await self._spread(change, wait)

    async def change(
        self,
        reminder_type: str,
        session_id: UUID | None,
        fields: RuleFields,
        *,
        by: By,
        wait: timedelta = CHANGE_WAIT,
    ) -> RuleReceipt:
        """Change a rule, or switch it on or off. Safe to repeat.

        Changed for one session, it becomes that session's own, and later changes of the rule for
        all sessions leave it alone.

        Raises:
            InvalidInputError: If a value is not acceptable, or none is given.
            RuleNotFoundError: If there is no rule of this type.
            SameLeadError: If another rule is due at the same instant.
            SessionNotFoundError: If there is no such session.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was stored.
        """
        if fields == RuleFields():
            msg = (
                "there is nothing to change: give the minutes before, on or off, the subject, the"
                " name or the order"
            )
            raise InvalidInputError(msg, field="minutes_before")
        if fields.subject_template is not None:
            validate_subject_template(fields.subject_template)
        change = await self.store.change(reminder_type, session_id, fields, by=by)
        return await self._spread(change, wait)

    async def delete(
        self,
        reminder_type: str,
        session_id: UUID | None,
        *,
        by: By,
        wait: timedelta = CHANGE_WAIT,
    ) -> RuleReceipt:
        """Delete a rule: what waits is skipped. A session's own one gives way to that of all.

        Raises:
            RuleNotFoundError: If there is no such rule.
            SameLeadError: If the rule that takes its place is due when another is.
            SessionNotFoundError: If there is no such session.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was deleted.
        """
        change = await self.store.delete(reminder_type, session_id, by=by)
        return await self._spread(change, wait)

    async def diff(
        self, reminder_type: str, session_id: UUID | None, fields: RuleFields | None
    ) -> RuleDiff:
        """What a change would do; nothing is stored.

        Args:
            reminder_type: Of a rule that exists, or would be added.
            session_id: The only session it would be about.
            fields: What would be changed; `None` means that the rule would be deleted.

        Raises:
            InvalidInputError, RuleNotFoundError, SameLeadError, SessionNotFoundError: As the
                change itself would.
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        if fields is not None and fields.subject_template is not None:
            validate_subject_template(fields.subject_template)
        change = await self.store.proposed(reminder_type, session_id, fields)
        now = self.clock.now()
        concerned = await self.effects.enrollments(reminder_type, session_id, now=now)
        return await asyncio.to_thread(
            rules.diff,
            change,
            concerned.groups,
            now=now,
            threshold=self.resend_threshold,
            is_complete=concerned.is_complete,
        )

    async def all_reached(self) -> None:
        """Wait until every change made here has reached its sessions."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        """Go on for a moment, then leave the rest to the sweep."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS.total_seconds())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _spread(self, change: RuleChange, wait: timedelta) -> RuleReceipt:
        """Bring a change to the sessions that it concerns, and wait a little."""
        if not (change.moves_reminders or change.is_repeated):
            return RuleReceipt(change, _Spread())
        try:
            sessions = await self.effects.sessions(change.reminder_type, change.session_id)
        except ServiceUnavailableError as error:
            logger.warning("a rule is stored, and its sessions are left to the sweep: %s", error)
            return RuleReceipt(change, _Spread(is_broken_off=True))
        spread = _Spread(sessions)
        are_few = len(sessions) <= FEW
        task = asyncio.create_task(self._to_all(spread, wait if are_few else None))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Few are waited for by themselves; and a caller who goes away does not end the task.
        await asyncio.wait({task}, timeout=None if are_few else wait.total_seconds())
        return RuleReceipt(change, spread)

    async def _to_all(self, spread: _Spread, wait: timedelta | None) -> None:
        async def one(session_id: UUID) -> None:
            if spread.is_broken_off:
                return
            try:
                receipt = await self.gateway.replan(session_id, wait=wait)
            except NotFoundError:  # deleted since
                receipt = ChangeReceipt()
            except ReminderError as error:
                spread.is_broken_off = True
                logger.warning(
                    "a rule has not reached every session, the sweep sees to it: %s", error
                )
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the others follow
                # The class name only: the message of a foreign error may quote anything.
                logger.warning(
                    "a rule has not reached session %s, the sweep sees to it: %s",
                    session_id,
                    type(error).__name__,
                )
                return
            spread.receipts.append(receipt)

        await fan_out(one, spread.sessions)


def _sum(receipts: Sequence[ChangeReceipt]) -> ChangeReceipt:
    """The counts of all sessions together."""
    reminders = total(CancelReceipt(), *(receipt.reminders for receipt in receipts))
    return replace(total(ChangeReceipt(), *receipts), reminders=reminders)
