"""What operators search for: in a cookie of theirs, named in URLs by an opaque id.

A search is posted, remembered, and answered by a redirect to its id. So no name and no address is
in a URL, a browser's history or a log, and Back, reload and a second tab work.
"""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_urlsafe

from itsdangerous import BadData, URLSafeSerializer

from starter.admin.cookies import Operator

COOKIE = "reminders_admin_searches"
LONGEST = 200
"""Code points of a search."""
_LARGEST_COOKIE = 3500
"""Characters; browsers keep 4096 bytes of a cookie with its name and attributes."""


@dataclass(frozen=True, slots=True)
class SearchHistory:
    """Reads and writes the cookie; its searches are known to one sign-in only."""

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
