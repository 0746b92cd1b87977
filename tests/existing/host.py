"""A platform as it was before us: Supabase's schemas, a Next.js application's tables and names."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from reminders.db.engine import Database
from reminders.domain.model import ProviderEvent, ReminderStatus, StatusReason
from tests.provider import Json
from tests.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
ROLE = "session_reminders"
LEFT_ALONE = """
AND NOT EXISTS (
    SELECT FROM session_reminders.session_cutovers x
     WHERE x.session_id = s.id OR x.session_id IS NULL)
"""
"""The one condition that the cron job's query gets; `docs/migration.md` shows it."""

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

CRON = """
CREATE TABLE public.reminder_configurations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), reminder_type text NOT NULL UNIQUE,
    minutes_before int NOT NULL, is_enabled boolean NOT NULL DEFAULT true,
    email_subject_template text NOT NULL, display_name text NOT NULL,
    sort_order int NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE public.session_reminder_emails (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES public.sessions ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    reminder_type text NOT NULL, sent_at timestamptz,
    email_status text NOT NULL DEFAULT 'pending', resend_email_id text,
    created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (session_id, user_id, reminder_type));
INSERT INTO public.reminder_configurations
       (reminder_type, minutes_before, is_enabled, email_subject_template, display_name, sort_order)
VALUES ('24h', 1440, true, 'Reminder: {session_title} starts tomorrow', '24 Hours Before', 1),
       ('2h', 120, true, 'In 2 hours: {session_title}', '2 Hours Before', 2),
       ('15min', 15, true, 'Now: {session_title}', '15 Minutes Before', 5);
"""
"""What a platform with a cron job has: two rules of its own, one as ours, and a log."""

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


def a_bounce(stage: Stage, mail: Json) -> ProviderEvent:
    """What the provider says now of an e-mail that it accepted: there is no such address."""
    return ProviderEvent(
        svix_id="msg_1",
        type="email.bounced",
        occurred_at=stage.clock.now(),
        email_id=mail["id"],
        reminder_id=UUID(mail["tags"]["reminder_id"]),
        recipients=tuple(mail["to"]),
        status=ReminderStatus.BOUNCED,
        stops=StatusReason.ADDRESS_BOUNCED,
    )


class Host:
    """The platform's own doings, as its owner."""

    def __init__(self, database: Database, url: str) -> None:
        """Write to this database, as its administrator."""
        self.database = database
        self.url = url

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


class CronJob:
    """The job of before: every so often it mails what has fallen due, and writes its log."""

    PERIOD = timedelta(minutes=15)

    def __init__(self, host: Host, *, ahead: timedelta = timedelta()) -> None:
        """Run on this platform.

        Args:
            host: Whose.
            ahead: How much before its instant a reminder may go out already.
        """
        self._host = host
        self._ahead = ahead

    async def run(self, now: datetime) -> None:
        """Send once, as the guide tells it to: what is cut over is left alone."""
        await self._host.run(
            "INSERT INTO public.session_reminder_emails"
            "       (session_id, user_id, reminder_type, sent_at, email_status, resend_email_id)"
            " SELECT e.session_id, e.user_id, c.reminder_type, :now, 'sent', gen_random_uuid()"
            "   FROM public.sessions s"
            "   JOIN public.session_enrollments e ON e.session_id = s.id"
            "  CROSS JOIN public.reminder_configurations c"
            "  WHERE c.is_enabled AND e.status = 'registered' AND s.state = 'published'"
            "    AND s.scheduled_at - c.minutes_before * interval '1 minute' <= :until"
            "    AND s.scheduled_at - c.minutes_before * interval '1 minute' > :since"
            f" {LEFT_ALONE}"
            " ON CONFLICT DO NOTHING",
            now=now,
            since=now + self._ahead - self.PERIOD,
            until=now + self._ahead,
        )

    async def log(self) -> list[tuple[UUID, UUID, str]]:
        """What it has sent."""
        async with self._host.database.transaction() as connection:
            found = await connection.execute(
                text(
                    "SELECT session_id, user_id, reminder_type FROM public.session_reminder_emails"
                    " WHERE sent_at IS NOT NULL"
                )
            )
            return [tuple(row) for row in found]
