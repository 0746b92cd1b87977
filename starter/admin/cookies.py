"""An operator's signed cookies: who is signed in, and what they searched for.

Being signed in ends when it is idle, old, signed out or the password changes.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import scrypt, sha256
from secrets import token_bytes, token_urlsafe

from itsdangerous import BadData, URLSafeSerializer

from reminders.domain.ports import Clock
from reminders.settings import Settings

COOKIE = "reminders_admin"

IDLE = timedelta(hours=1)
"""Without a click for so long, one signs in again; what a page polls does not count as a click."""
LONGEST = timedelta(hours=12)
"""After so long, one signs in again in any case: a working day."""
_RENEW = timedelta(minutes=1)
"""How old the last click that the cookie records may be."""
_MOST_ENDED = 10_000
"""Cookies signed out that are remembered; each is forgotten with its last possible use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """Somebody who is signed in."""

    name: str
    sign_in_id: str
    since: datetime
    """When they signed in."""
    seen_at: datetime
    """About when they last asked for something."""

    @property
    def actor(self) -> str:
        """How the audit log calls them."""
        return f"admin:{self.name}"


@dataclass(frozen=True, slots=True)
class SignInCookies:
    """Makes and reads cookies; keeps nothing but which were signed out."""

    key: bytes
    """Secret; another one ends every sign-in."""
    clock: Clock
    """Decides what has expired."""
    _ended: dict[str, datetime] = field(default_factory=dict)

    def new(self, name: str) -> Operator:
        """Somebody who has just shown who they are."""
        now = self.clock.now()
        return Operator(name=name, sign_in_id=token_urlsafe(24), since=now, seen_at=now)

    def encode(self, operator: Operator) -> str:
        """What the browser keeps."""
        claim = {
            "name": operator.name,
            "id": operator.sign_in_id,
            "since": int(operator.since.timestamp()),
            "seen": int(operator.seen_at.timestamp()),
        }
        return str(self._signer().dumps(claim))

    def decode(self, cookie: str | None) -> Operator | None:
        """Whose cookie it is; `None` if it is forged, has expired or was signed out."""
        try:
            claim = self._signer().loads(cookie or "")
        except BadData:
            return None
        operator = Operator(
            name=claim["name"],
            sign_in_id=claim["id"],
            since=datetime.fromtimestamp(claim["since"], UTC),
            seen_at=datetime.fromtimestamp(claim["seen"], UTC),
        )
        now = self.clock.now()
        if operator.sign_in_id in self._ended:
            return None
        if now - operator.seen_at > IDLE or now - operator.since > LONGEST:
            return None
        return operator

    def renewed(self, operator: Operator) -> Operator | None:
        """The operator as seen now; `None` if the cookie need not be written again."""
        now = self.clock.now()
        return replace(operator, seen_at=now) if now - operator.seen_at > _RENEW else None

    def end(self, operator: Operator) -> None:
        """Sign out: the cookie is good for nothing from now on, and neither is a copy of it."""
        now = self.clock.now()
        for sign_in_id, ended_at in list(self._ended.items()):
            if now - ended_at <= LONGEST and len(self._ended) < _MOST_ENDED:
                break
            del self._ended[sign_in_id]
        self._ended[operator.sign_in_id] = now

    def csrf_token(self, operator: Operator) -> str:
        """What every form of this sign-in carries, and no other site can know."""
        return hmac.new(self.key, f"csrf:{operator.sign_in_id}".encode(), sha256).hexdigest()

    def _signer(self) -> URLSafeSerializer:
        return URLSafeSerializer(self.key, salt="reminders-admin-session")


def signing_key(settings: Settings) -> bytes:
    """The key of cookies: the same in every process with these settings, and secret.

    Made of the password, so that changing it ends every sign-in. Slow on purpose: whoever holds a
    cookie could otherwise try passwords against its signature at leisure.
    """
    if settings.admin_password is None:
        return token_bytes(32)
    others = [settings.admin_username or ""]
    others += [s.get_secret_value() for s in (*settings.token_secret, *settings.api_keys)]
    salt = "\0".join(["reminders-admin", *others])
    return _stretched(settings.admin_password.get_secret_value(), salt)


@lru_cache(maxsize=8)
def _stretched(password: str, salt: str) -> bytes:
    """A key of a password; kept, for it takes a tenth of a second."""
    text, of = (part.encode(errors="surrogatepass") for part in (password, salt))
    return scrypt(text, salt=sha256(of).digest(), n=2**14, r=8, p=1, dklen=32)


SEARCHES_COOKIE = "reminders_admin_searches"
LONGEST_SEARCH = 200
"""Code points of a search."""
_LARGEST_COOKIE = 3500
"""Characters; browsers keep 4096 bytes of a cookie with its name and attributes."""


@dataclass(frozen=True, slots=True)
class SearchHistory:
    """What an operator searched for, named in URLs by an opaque id; known to one sign-in only.

    A search is posted, remembered, and answered by a redirect to its id. So no name and no address
    is in a URL, a browser's history or a log, and Back, reload and a second tab work.
    """

    key: bytes
    """Secret; another one forgets every search."""

    def read(self, cookie: str | None, operator: Operator) -> dict[str, str]:
        """The operator's latest searches by their ids, the newest last."""
        try:
            found = self._signer(operator).loads(cookie or "")
        except BadData:
            return {}
        return dict(found)

    def add(self, cookie: str | None, operator: Operator, text: str) -> tuple[str, str]:
        """Remember a search, and forget the oldest ones if there is no room for them.

        Returns:
            Its id, the same for the same text while it is remembered, and the new cookie.
        """
        searches = self.read(cookie, operator)
        search_id = next((i for i, known in searches.items() if known == text), token_urlsafe(6))
        searches.pop(search_id, None)
        searches[search_id] = text
        while True:
            # Pairs keep their order in JSON whatever its reader does with names.
            written = str(self._signer(operator).dumps(list(searches.items())))
            if len(written) <= _LARGEST_COOKIE or len(searches) == 1:
                return search_id, written
            del searches[next(iter(searches))]

    def _signer(self, operator: Operator) -> URLSafeSerializer:
        return URLSafeSerializer(self.key, salt=f"reminders-admin-searches:{operator.sign_in_id}")
