"""instants: none that no calendar holds, and none of those that stand for "no date"

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FIRST, _END = "timestamptz '0001-01-02 00:00+00'", "timestamptz '9999-12-31 00:00+00'"
_SESSION_COLUMNS = ("start_time", "end_time")
_LEDGER_COLUMNS = ("due_at", "starts_at")


def upgrade() -> None:
    """Apply."""
    for column in _LEDGER_COLUMNS:
        _check("session_reminder_emails", column)
    if _is_existing():  # sessions are a view there, which shows none
        return
    op.execute(f"UPDATE sessions SET end_time = NULL WHERE {_is_odd('end_time')}")  # noqa: S608
    op.execute(
        f"UPDATE sessions SET start_time = CASE WHEN start_time < {_FIRST} THEN {_FIRST}"  # noqa: S608
        f" ELSE {_END} - interval '1 day' END WHERE {_is_odd('start_time')}"
    )
    for column in _SESSION_COLUMNS:
        _check("sessions", column)


def downgrade() -> None:
    """Take back."""
    tables = {"session_reminder_emails": _LEDGER_COLUMNS}
    if not _is_existing():
        tables["sessions"] = _SESSION_COLUMNS
    for table, columns in tables.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}")


def _is_odd(column: str) -> str:
    return f"({column} < {_FIRST} OR {column} >= {_END})"


def _check(table: str, column: str) -> None:
    op.execute(
        f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{column}"
        f" CHECK ({column} >= {_FIRST} AND {column} < {_END})"
    )


def _is_existing() -> bool:
    config = op.get_context().config
    return config is not None and config.attributes.get("host_schema") is not None
