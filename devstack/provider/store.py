"""What was accepted, in one SQLite file that survives a `kill -9`.

Every request is written in one transaction before its answer leaves. The file belongs to one
process: a second stand-in on it would not know of the first one's requests in flight.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from devstack.provider.instants import micros
from devstack.provider.rows import (
    NewEmail,
    NewEvent,
    NewRequest,
    Remembered,
    StoredEmail,
    Suppression,
)
from devstack.provider.validation import Mail

KEY_LIFETIME = timedelta(hours=24)
"""How long an idempotency key is kept (dashboard/emails/idempotency-keys)."""


# Made once: `json.dumps` with options of its own makes one a call.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_EMAIL = (
    "SELECT e.seq, e.id, e.request_id, e.position, e.last_event, r.endpoint, r.idempotency_key,"
    " r.accepted_at, e.subject, e.envelope FROM emails e JOIN requests r ON r.id = e.request_id"
)


BUSY_SECONDS = 5
"""How long a start waits for the file: a predecessor may be about to end."""


class StoreInUseError(Exception):
    """Another stand-in has the file open."""

    def __init__(self, file: Path | None) -> None:
        """Name the file."""
        super().__init__(f"{file} is in use by another stand-in")


class Store:
    """The accepted e-mails, the idempotency keys, the suppressions and the queued events."""

    def __init__(self, file: Path | None = None) -> None:
        """Open or make the file; without one, everything is in memory.

        Raises:
            StoreInUseError: If another one has the file open.
        """
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        # A transaction is explicit here, and one thread of one loop does everything.
        self.connection = sqlite3.connect(
            file or ":memory:", timeout=BUSY_SECONDS, isolation_level=None
        )
        try:
            self._open()
        except sqlite3.OperationalError as error:
            self.connection.close()
            if "locked" not in str(error):
                raise
            raise StoreInUseError(file) from error
        self._suppressed = {
            address: Suppression(address, origin, created_at)
            for address, origin, created_at in self.connection.execute("SELECT * FROM suppressions")
        }

    def _open(self) -> None:
        execute = self.connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        # Enough for a killed process; only a power cut could cost the newest requests.
        execute("PRAGMA synchronous = NORMAL")
        schema = resources.files("devstack.provider").joinpath("schema.sql")
        self.connection.executescript(schema.read_text(encoding="utf-8"))

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is written, or nothing is."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def accept(
        self,
        request: NewRequest,
        emails: Sequence[NewEmail],
        *,
        events: Sequence[NewEvent] = (),
        suppressions: Iterable[Suppression] = (),
    ) -> None:
        """Write an accepted request with everything that follows from it."""
        suppressions = tuple(suppressions)
        with self.transaction():
            cursor = self.connection.execute(
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
            request_id = cursor.lastrowid
            self.connection.executemany(
                "INSERT INTO emails (id, request_id, position, last_event, recipients, subject,"
                " envelope) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        email.id,
                        request_id,
                        email.mail.position,
                        email.last_event,
                        " ".join(email.mail.addresses),
                        email.mail.subject,
                        _envelope(email.mail),
                    )
                    for email in emails
                ],
            )
            self._add_events(events)
            self._add_suppressions(suppressions)
        self._suppressed.update((s.address, s) for s in suppressions)

    def remembered(self, endpoint: str, key: str, now: datetime) -> Remembered | None:
        """What this key answered at this endpoint within its lifetime, if it was used."""
        row = self.connection.execute(
            "SELECT fingerprint, answer, emails FROM requests WHERE idempotency_key = ?"
            " AND endpoint = ? AND accepted_at > ? ORDER BY id DESC LIMIT 1",
            (key, endpoint, micros(now - KEY_LIFETIME)),
        ).fetchone()
        return None if row is None else Remembered(*row)

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
        row = self.connection.execute("SELECT body FROM requests WHERE id = ?", (request_id,))
        parsed: object = from_json(zlib.decompress(row.fetchone()[0]))
        return parsed

    def count(self) -> int:
        """How many e-mails were accepted."""
        return self._number("SELECT COUNT(*) FROM emails")

    def totals(self) -> dict[str, object]:
        """Counts over everything that was accepted, restarts included."""
        first, last, requests = self.connection.execute(
            "SELECT MIN(accepted_at), MAX(accepted_at), COUNT(*) FROM requests"
        ).fetchone()
        sizes = self.connection.execute(
            "SELECT emails, COUNT(*) FROM requests WHERE endpoint = 'POST /emails/batch'"
            " GROUP BY emails ORDER BY emails"
        )
        return {
            "accepted": self.count(),
            "accepted_requests": requests,
            "batch_sizes": {str(size): number for size, number in sizes},
            "first_accepted_at": first,
            "last_accepted_at": last,
        }

    @property
    def suppressions(self) -> dict[str, Suppression]:
        """The suppression list by address; not to be changed here."""
        return self._suppressed

    def suppress(self, suppression: Suppression) -> None:
        """Add an address to the suppression list."""
        with self.transaction():
            self._add_suppressions((suppression,))
        self._suppressed[suppression.address] = suppression

    def unsuppress(self, address: str) -> bool:
        """Take an address off the suppression list; whether it was on it."""
        self.connection.execute("DELETE FROM suppressions WHERE address = ?", (address,))
        return self._suppressed.pop(address, None) is not None

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            for table in ("events", "emails", "requests", "suppressions"):
                self.connection.execute(f"DELETE FROM {table}")
        self._suppressed.clear()

    def _emails(self, clause: str, *values: object) -> list[StoredEmail]:
        rows = self.connection.execute(f"{_EMAIL} {clause}", values)
        return [StoredEmail(*[*row[:8], {"subject": row[8], **json.loads(row[9])}]) for row in rows]

    def _number(self, statement: str, *values: object) -> int:
        return int(self.connection.execute(statement, values).fetchone()[0])

    def _add_events(self, events: Sequence[NewEvent]) -> None:
        if events:
            self.connection.executemany(
                "INSERT INTO events (message_id, email_id, type, created_at, due_at)"
                " VALUES (?, ?, ?, ?, ?)",
                [(e.message_id, e.email_id, e.type, e.created_at, e.due_at) for e in events],
            )

    def _add_suppressions(self, suppressions: Sequence[Suppression]) -> None:
        if suppressions:
            self.connection.executemany(
                "INSERT OR REPLACE INTO suppressions VALUES (?, ?, ?)",
                [(s.address, s.origin, s.created_at) for s in suppressions],
            )


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
