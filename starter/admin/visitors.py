"""Who is signed in: a signed cookie, which ends when it is idle, old, signed out or the password changes."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import scrypt, sha256
from secrets import token_bytes, token_urlsafe
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from reminders.domain.ports import Clock
from reminders.settings import Settings

COOKIE = "reminders_admin"

IDLE = timedelta(hours=1)
"""Without a click for so long, one signs in again; what a page polls does not count as a click."""
LONGEST = timedelta(hours=12)
"""After so long, one signs in again in any case: a working day."""
_RENEW = timedelta(minutes=1)
"""How old what the cookie says of the last click may be."""
_MOST_ENDED = 10_000
"""Sessions signed out that are remembered; they are forgotten with their last possible use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visitor:
    """Somebody who is signed in."""

    name: str
    session_id: str
    since: datetime
    """When they signed in."""
    seen_at: datetime
    """About when they last asked for something."""

    @property
    def actor(self) -> str:
        """How the audit log calls them."""
        return f"admin:{self.name}"


class Visitors:
    """Makes and reads cookies; keeps nothing but which were signed out."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        """Sign with this key.

        Args:
            key: Secret; another one ends every session.
            clock: Decides what has expired.
        """
        self._key = key
        self._signer = URLSafeSerializer(key, salt="reminders-admin-session")
        self._clock = clock
        self._ended: OrderedDict[str, datetime] = OrderedDict()

    def begin(self, name: str) -> Visitor:
        """A new session for somebody who has shown who they are."""
        now = self._clock.now()
        return Visitor(name=name, session_id=token_urlsafe(24), since=now, seen_at=now)

    def cookie(self, visitor: Visitor) -> str:
        """What the browser keeps."""
        signed: Any = self._signer.dumps(
            {
                "name": visitor.name,
                "id": visitor.session_id,
                "since": int(visitor.since.timestamp()),
                "seen": int(visitor.seen_at.timestamp()),
            }
        )
        return str(signed)

    def read(self, cookie: str | None) -> Visitor | None:
        """Who a cookie stands for; `None` if it is forged, has expired or was signed out."""
        if not cookie:
            return None
        try:
            found = self._signer.loads(cookie)
        except BadData:
            return None
        visitor = Visitor(
            name=found["name"],
            session_id=found["id"],
            since=datetime.fromtimestamp(found["since"], UTC),
            seen_at=datetime.fromtimestamp(found["seen"], UTC),
        )
        now = self._clock.now()
        if visitor.session_id in self._ended:
            return None
        if now - visitor.seen_at > IDLE or now - visitor.since > LONGEST:
            return None
        return visitor

    def renewed(self, visitor: Visitor) -> Visitor | None:
        """The visitor as seen now; `None` if the cookie need not be written again."""
        now = self._clock.now()
        return replace(visitor, seen_at=now) if now - visitor.seen_at > _RENEW else None

    def end(self, visitor: Visitor) -> None:
        """Sign out: the cookie is good for nothing from now on, also a copy of it."""
        now = self._clock.now()
        while self._ended:
            session_id, ended_at = next(iter(self._ended.items()))
            if now - ended_at <= LONGEST and len(self._ended) < _MOST_ENDED:
                break
            del self._ended[session_id]
        self._ended[visitor.session_id] = now

    def csrf_token(self, visitor: Visitor) -> str:
        """What every form of this session carries, and no other site can know."""
        return hmac.new(self._key, f"csrf:{visitor.session_id}".encode(), sha256).hexdigest()


def signing_key(settings: Settings) -> bytes:
    """The key of cookies: the same in every process with these settings, and secret.

    Made of the password, so that changing it ends every session. Slow on purpose: whoever holds a
    cookie could otherwise try passwords against its signature at leisure.
    """
    if settings.admin_password is None:
        return token_bytes(32)
    others = [settings.admin_username or ""]
    others += [s.get_secret_value() for s in (*settings.token_secret, *settings.api_keys)]
    return scrypt(
        settings.admin_password.get_secret_value().encode(errors="surrogatepass"),
        salt=sha256(
            "\0".join(["reminders-admin", *others]).encode(errors="surrogatepass")
        ).digest(),
        n=2**14,
        r=8,
        p=1,
        dklen=32,
    )
