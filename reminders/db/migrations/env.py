"""Alembic's entry: runs the migrations on a connection that `reminders.db.migrate` hands over."""

from __future__ import annotations

from alembic import context

from reminders.db import provider_tables  # noqa: F401 - its tables belong to the schema too
from reminders.db.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    transaction_per_migration=True,
    version_table="session_reminders_version",
)
with context.begin_transaction():
    context.run_migrations()
