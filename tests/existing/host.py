"""A platform as it was before us: Supabase's schemas, a Next.js application's tables and names."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from reminders.db.engine import Database

ROOT = Path(__file__).resolve().parents[2]
ROLE = "session_reminders"

PLATFORM = """
CREATE SCHEMA auth;
CREATE TABLE auth.users (
    id uuid PRIMARY KEY, email varchar(255), encrypted_password varchar(255) NOT NULL,
    raw_user_meta_data jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE public.profiles (
    id uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE,
    full_name text, timezone text, locale text);
CREATE TABLE public.sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL, description text,
    scheduled_at timestamptz, duration_minutes int NOT NULL DEFAULT 60,
    timezone text, speaker text, meeting_url text, state text NOT NULL DEFAULT 'published'
    CHECK (state IN ('draft', 'published', 'cancelled')));
CREATE TABLE public.session_enrollments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES public.sessions ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    status text NOT NULL DEFAULT 'registered', created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (session_id, user_id));
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.session_enrollments ENABLE ROW LEVEL SECURITY;
"""

_ROWS = """
SELECT 'SELECT ''' || c.oid::regclass || ''' AS relation, ctid::text, xmin::text, xmax::text, '
       || 't::text AS contents FROM ' || c.oid::regclass || ' t'
  FROM pg_class c
 WHERE c.relkind = 'r' AND c.relnamespace IN ('auth'::regnamespace, 'public'::regnamespace)
 ORDER BY 1
"""
_DEFINITIONS = """
SELECT c.oid::regclass::text, c.relfilenode, c.relacl::text, c.relrowsecurity, c.relhastriggers,
       (SELECT array_agg(a.attname || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid),
       (SELECT array_agg(pg_get_constraintdef(o.oid) ORDER BY o.oid)
          FROM pg_constraint o WHERE o.conrelid = c.oid),
       (SELECT array_agg(g.tgname ORDER BY g.oid) FROM pg_trigger g WHERE g.tgrelid = c.oid)
  FROM pg_class c
 WHERE c.relnamespace IN ('auth'::regnamespace, 'public'::regnamespace)
 ORDER BY 1
"""


def statements(document: str, heading: str) -> list[str]:
    """The SQL statements below a heading of a document, without comments."""
    written = (ROOT / "docs" / document).read_text(encoding="utf-8")
    section = written.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"(?s)```sql\n(.*?)```", section)
    bare = re.sub(r"(?m)--.*$", "", "\n".join(blocks))
    return [statement.strip() for statement in bare.split(";") if statement.strip()]


class Host:
    """The platform's own doings, as its owner."""

    def __init__(self, database: Database) -> None:
        """Write to this database, as its administrator."""
        self.database = database

    async def run(self, *commands: str, **values: Any) -> None:
        """Run statements in one transaction."""
        async with self.database.transaction() as connection:
            for command in commands:
                await connection.execute(text(command), values)

    async def session(self, starts_at: datetime, **fields: Any) -> UUID:
        """A new session."""
        session_id = uuid4()
        await self.run(
            "INSERT INTO public.sessions (id, title, scheduled_at, timezone, state)"
            " VALUES (:id, 'Cardiology update', :at, 'UTC', :state)",
            id=session_id,
            at=starts_at,
            state=fields.get("state", "published"),
        )
        return session_id

    async def person(self, name: str) -> UUID:
        """A new account; its address is `name@hospital.example`."""
        user_id = uuid4()
        await self.run(
            "INSERT INTO auth.users (id, email, encrypted_password) VALUES (:id, :email, 'x')",
            id=user_id,
            email=f"{name}@hospital.example",
        )
        await self.run("INSERT INTO public.profiles (id) VALUES (:id)", id=user_id)
        return user_id

    async def enrolls(self, session_id: UUID, user_id: UUID, status: str = "registered") -> None:
        """Somebody enrolls, with the platform."""
        await self.run(
            "INSERT INTO public.session_enrollments (session_id, user_id, status)"
            " VALUES (:session_id, :user_id, :status)",
            session_id=session_id,
            user_id=user_id,
            status=status,
        )

    async def snapshot(self) -> list[Any]:
        """Everything of the platform: rows with where they are and who locked them, definitions."""
        async with self.database.transaction() as connection:
            found: list[Any] = list(await connection.execute(text(_DEFINITIONS)))
            for query in list(await connection.scalars(text(_ROWS))):
                found += sorted(tuple(row) for row in await connection.execute(text(query)))
        return found

    @asynccontextmanager
    async def untouched(self) -> AsyncIterator[None]:
        """See that nothing of the platform differs after the block, not even by a row's lock."""
        before = await self.snapshot()
        yield
        assert before == await self.snapshot()
