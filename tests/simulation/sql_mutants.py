"""Named faults in the ledger's statements: found by the contract, or by interleavings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from reminders.db import delivery_statements as statements
from reminders.db.sql import typed


@dataclass(frozen=True, slots=True)
class StatementMutant:
    """A fault in one statement."""

    name: str
    statement: str
    old: str
    new: str
    seed: int | None
    """Of the contract, under which it is found; absent means only by two deliveries at once."""

    @contextmanager
    def made(self) -> Iterator[None]:
        """Have it in the code.

        Raises:
            LookupError: If the statement is no longer as this expects.
        """
        text = getattr(statements, self.statement).text
        if self.old not in text:
            raise LookupError(f"{self.statement} has no {self.old!r}")
        with patch.object(statements, self.statement, typed(text.replace(self.old, self.new))):
            yield


def _m(name: str, statement: str, old: str, new: str, seed: int | None = 0) -> StatementMutant:
    return StatementMutant(name, statement, old, new, seed)


MUTANTS = (
    _m("anybody releases", "RELEASE", "AND owner = :owner", "AND :owner <> ''"),
    _m("resume ignores the lease", "RESUME", "AND b.lease_until <= clock_timestamp()", "", 1),
    _m("resume forgets the mode", "RESUME", "b.delivery_mode = :delivery_mode AND", ":delivery_mode <> '' OR"),
    _m("a freeze does not compare versions", "FREEZE", "AND r.xmin::text = d.version", "AND d.version <> ''"),
    _m("a freeze does not look at the status", "FREEZE", "r.email_status = 'scheduled' AND r.xmin", "r.xmin"),
    _m("a late acceptance does not count", "SETTLE", "OR d.email_id IS NOT NULL AND r.resend", "OR false AND r.resend", 1),
    _m("a settlement revives what has ended", "SETTLE", "AND r.email_status = 'sending'\n", "\n"),
    _m("a settlement does not look at the batch", "SETTLE", "r.batch_id = :batch_id", "true", 1),
    _m("anybody renews", "RENEW", "AND owner = :owner", "AND :owner <> ''", 1),
    _m("a late close ends what was planned anew", "CLOSE", "r.plan_version <= :plan_version", "true", 16),
    _m("not found is believed", "CLOSE", "AND :reason <> 'not_found'", "", 2),
    _m("a hold of another sender counts", "READ", "held_sender = :sender", "CAST(:sender AS text) IS NOT NULL", 7),
    _m("a request is true though its session has moved", "RESUME", "AND s.start_time = r.starts_at", "", 2),
    _m("what is not ours is taken for in doubt", "IN_DOUBT", "b.delivery_mode = :delivery_mode AND", ":delivery_mode <> '' OR", 1),
    _m("a close does not wait for a freeze", "CLOSE", "ORDER BY id FOR UPDATE", "ORDER BY id", None),
    _m("a freeze does not lock", "FREEZE", "ORDER BY r.id FOR UPDATE OF r", "ORDER BY r.id", None),
)  # fmt: skip
