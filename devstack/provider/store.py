"""What was accepted, in one SQLite file that survives a `kill -9`.

Every request is written in one transaction before its answer leaves. The file belongs to one
process: a second stand-in on it would not know of the first one's requests in flight. Instants are
microseconds since 1970.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from devstack.provider.exchange import instant, micros
from devstack.provider.validation import Mail

KEY_LIFETIME = timedelta(hours=24)
"""How long an idempotency key is kept (dashboard/emails/idempotency-keys)."""

BUSY_SECONDS = 5
"""How long a start waits for the file: a predecessor may be about to end."""

# Made once: `json.dumps` with options of its own makes one a call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_EMAIL = (
    "SELECT e.seq, e.id, e.request_id, e.position, e.last_event, r.endpoint, r.idempotency_key,"
    " r.accepted_at, e.subject, e.envelope FROM emails e JOIN requests r ON r.id = e.request_id"
)


class StoreInUseError(Exception):
    """Another stand-in has the file open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRequest:
    """A request about to be accepted."""

    endpoint: str
    """`POST /emails` or `POST /emails/batch`."""
    idempotency_key: str | None
    fingerprint: bytes
    accepted_at: int
    recipients: int
    answer: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A webhook event about to be queued."""

    message_id: str
    """Its `svix-id`: the same at every attempt."""
    email_id: str
    type: str
    created_at: int
    due_at: int


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event on its way."""

    id: int
    message_id: str
    email_id: str
    type: str
    created_at: int
    attempts: int
    """Made so far."""


@dataclass(frozen=True, slots=True)
class StoredEmail:
    """An accepted e-mail without its parts."""

    seq: int
    id: str
    request_id: int
    position: int
    last_event: str
    endpoint: str
    idempotency_key: str | None
    accepted_at: int
    envelope: dict[str, Any]
    """`from`, `to`, `cc`, `bcc`, `reply_to`, `subject`, `headers`, `tags` (a list)."""


class Store:
    """The accepted e-mails, the idempotency keys, the suppressions and the queued events.

    Attributes:
        suppressions: Addresses that get no more mail, and why: `bounce` or `complaint`.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Open or make the file; without one, everything is in memory.

        Raises:
            StoreInUseError: If another one has the file open.
        """
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        # A transaction is explicit here, and one thread of one loop does everything.
        self._connection = sqlite3.connect(
            file or ":memory:", timeout=BUSY_SECONDS, isolation_level=None
        )
        self._execute = self._connection.execute
        try:
            self._open()
        except sqlite3.OperationalError as error:
            self._connection.close()
            if "locked" not in str(error):
                raise
            message = f"{file} is in use by another stand-in"
            raise StoreInUseError(message) from error
        self.suppressions: dict[str, str] = dict(
            self._execute("SELECT address, origin FROM suppressions")
        )

    def _open(self) -> None:
        self._execute("PRAGMA locking_mode = EXCLUSIVE")
        self._execute("PRAGMA journal_mode = WAL")
        # Enough for a killed process; only a power cut could cost the newest requests.
        self._execute("PRAGMA synchronous = NORMAL")
        schema = resources.files("devstack.provider").joinpath("schema.sql")
        self._connection.executescript(schema.read_text(encoding="utf-8"))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything inside is written, or nothing is."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")

    # ------------------------------------------------------------ requests and e-mails

    def accept(
        self,
        request: NewRequest,
        emails: Sequence[tuple[str, Mail, str]],
        *,
        events: Sequence[NewEvent] = (),
        suppressions: Mapping[str, str],
    ) -> None:
        """Write an accepted request with everything that follows from it.

        Args:
            request: The request.
            emails: Id, mail and last event of each.
            events: To be delivered.
            suppressions: Addresses that get no more mail, and why.
        """
        with self._transaction():
            cursor = self._execute(
                "INSERT INTO requests (endpoint, idempotency_key, fingerprint, accepted_at, emails,"
                " recipients, answer, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    request.endpoint,
                    request.idempotency_key,
                    request.fingerprint,
                    request.accepted_at,
                    len(emails),
                    request.recipients,
                    request.answer,
                    zlib.compress(request.body, 1),
                ),
            )
            self._connection.executemany(
                "INSERT INTO emails (id, request_id, position, last_event, recipients, subject,"
                " envelope) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        email_id,
                        cursor.lastrowid,
                        mail.position,
                        last_event,
                        " ".join(mail.addresses),
                        mail.subject,
                        _envelope(mail),
                    )
                    for email_id, mail, last_event in emails
                ],
            )
            self._connection.executemany(
                "INSERT INTO events (message_id, email_id, type, created_at, due_at)"
                " VALUES (?, ?, ?, ?, ?)",
                [(e.message_id, e.email_id, e.type, e.created_at, e.due_at) for e in events],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO suppressions VALUES (?, ?, ?)",
                [(a, origin, request.accepted_at) for a, origin in suppressions.items()],
            )
        self.suppressions.update(suppressions)

    def remembered(self, endpoint: str, key: str, now: datetime) -> tuple[bytes, bytes, int] | None:
        """What this key answered at this endpoint within its lifetime, if it was used.

        Returns:
            The fingerprint of its request, the answer, and the number of its e-mails.
        """
        row: tuple[bytes, bytes, int] | None = self._execute(
            "SELECT fingerprint, answer, emails FROM requests WHERE idempotency_key = ?"
            " AND endpoint = ? AND accepted_at > ? ORDER BY id DESC LIMIT 1",
            (key, endpoint, micros(now - KEY_LIFETIME)),
        ).fetchone()
        return row

    def recipients_since(self, since: datetime) -> int:
        """Recipients accepted since an instant, for the quotas."""
        return self._number(
            "SELECT COALESCE(SUM(recipients), 0) FROM requests WHERE accepted_at >= ?",
            micros(since),
        )

    def email(self, email_id: str) -> StoredEmail | None:
        """An e-mail by its id."""
        rows = self._emails("WHERE e.id = ?", email_id)
        return rows[0] if rows else None

    def emails_after(self, seq: int, limit: int) -> list[StoredEmail]:
        """E-mails in the order of acceptance, from the one after `seq` on."""
        return self._emails("WHERE e.seq > ? ORDER BY e.seq LIMIT ?", seq, limit)

    def emails_before(self, seq: int, limit: int) -> list[StoredEmail]:
        """E-mails newest first, from the one before `seq` on."""
        return self._emails("WHERE e.seq < ? ORDER BY e.seq DESC LIMIT ?", seq, limit)

    def search(self, words: str, *, limit: int, offset: int) -> tuple[list[StoredEmail], int]:
        """E-mails with these characters in a recipient or the subject, newest first.

        Returns:
            One page, and how many there are on all pages.
        """
        if not words:
            page = self._emails("ORDER BY e.seq DESC LIMIT ? OFFSET ?", limit, offset)
            return page, self.count()
        escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        like = f"%{escaped}%"
        where = "WHERE (e.recipients LIKE ? ESCAPE '\\' OR e.subject LIKE ? ESCAPE '\\')"
        page = self._emails(
            f"{where} ORDER BY e.seq DESC LIMIT ? OFFSET ?", like, like, limit, offset
        )
        return page, self._number(f"SELECT COUNT(*) FROM emails e {where}", like, like)

    def parts(self, email: StoredEmail) -> dict[str, Any]:
        """The e-mail exactly as it was in the request's body."""
        content = self.body(email.request_id)
        item = content[email.position] if isinstance(content, list) else content
        return cast("dict[str, Any]", item)

    def body(self, request_id: int) -> object:
        """The parsed body of an accepted request."""
        row = self._execute("SELECT body FROM requests WHERE id = ?", (request_id,))
        parsed: object = from_json(zlib.decompress(row.fetchone()[0]))
        return parsed

    def count(self) -> int:
        """How many e-mails were accepted."""
        return self._number("SELECT COUNT(*) FROM emails")

    def batch_sizes(self) -> dict[str, int]:
        """How often a batch had how many e-mails, restarts included."""
        sizes = self._execute(
            "SELECT emails, COUNT(*) FROM requests WHERE endpoint = 'POST /emails/batch'"
            " GROUP BY emails ORDER BY emails"
        )
        return {str(size): number for size, number in sizes}

    def clear(self) -> None:
        """Forget everything."""
        with self._transaction():
            for table in ("events", "emails", "requests", "suppressions"):
                self._execute(f"DELETE FROM {table}")
        self.suppressions.clear()

    # ------------------------------------------------------------ webhook events that wait

    def pending_events(self) -> int:
        """How many wait."""
        return self._number("SELECT COUNT(*) FROM events")

    def due_events(self, now: datetime, limit: int) -> list[QueuedEvent]:
        """Those whose time has come, oldest first."""
        rows = self._execute(
            "SELECT id, message_id, email_id, type, created_at, attempts FROM events"
            " WHERE due_at <= ? ORDER BY due_at, id LIMIT ?",
            (micros(now), limit),
        )
        return [QueuedEvent(*row) for row in rows]

    def next_event_due_at(self) -> datetime | None:
        """When the next one's time comes; `None` when none waits."""
        row = self._execute("SELECT MIN(due_at) FROM events").fetchone()
        return None if row[0] is None else instant(row[0])

    def settle_events(
        self, done: Sequence[QueuedEvent], again: Sequence[tuple[QueuedEvent, datetime]]
    ) -> None:
        """Drop events that are done with, and put the others off until an instant."""
        with self._transaction():
            many = self._connection.executemany
            many("DELETE FROM events WHERE id = ?", [(event.id,) for event in done])
            many(
                "UPDATE events SET attempts = attempts + 1, due_at = ? WHERE id = ?",
                [(micros(due_at), event.id) for event, due_at in again],
            )

    def _emails(self, clause: str, *values: object) -> list[StoredEmail]:
        rows = self._execute(f"{_EMAIL} {clause}", values)
        return [StoredEmail(*[*row[:8], {"subject": row[8], **json.loads(row[9])}]) for row in rows]

    def _number(self, statement: str, *values: object) -> int:
        return int(self._execute(statement, values).fetchone()[0])


def _envelope(mail: Mail) -> str:
    return _encode(
        {
            "from": mail.sender,
            "to": mail.to,
            "cc": mail.cc,
            "bcc": mail.bcc,
            "reply_to": mail.reply_to,
            "headers": mail.headers,
            "tags": mail.tags,
        }
    )
