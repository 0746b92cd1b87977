"""Who may see the pages, and whether a form was sent from one of them."""

from __future__ import annotations

import hmac
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar
from urllib.parse import urlsplit

from fastapi import Request, Response

from reminders.clock import SystemClock
from reminders.settings import Settings
from starter.admin.cookies import (
    COOKIE,
    SEARCHES_COOKIE,
    Operator,
    SearchHistory,
    SignInCookies,
    signing_key,
)
from starter.admin.form import Form
from starter.api.middleware import caller_address, is_of_another_origin, is_this_machine

CSRF_FIELD = "csrf"
PATH = "/admin"
"""Everything is below it, the cookie too."""

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers by which a proxy gives itself away."""


class SignInNeededError(Exception):
    """Nobody is signed in."""


class ForbiddenError(Exception):
    """The request may not have this; the message says why, to people."""


class Access(Enum):
    """How the pages are reached."""

    SIGN_IN = "sign-in"
    """With `ADMIN_USERNAME` and `ADMIN_PASSWORD`."""
    THIS_MACHINE = "this-machine"
    """Without, by whoever sits at this machine: nothing is set that says others use it."""
    CLOSED = "closed"
    """Not at all, until credentials are set."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who may see the pages."""

    operator: Operator
    new_cookie: Operator | None
    """What the cookie is to say from now on; absent if it may stay."""


class AdminAuth:
    """Signs operators in and out, and checks that forms are theirs; for one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        key = signing_key(settings)
        self._cookies = SignInCookies(key, self._clock)
        self._searches = SearchHistory(key)
        self._rate_limit = SignInRateLimit()

    @property
    def access(self) -> Access:
        """How the pages are reached here."""
        if self._settings.admin_password is not None:
            return Access.SIGN_IN
        if self._settings.api_keys or self._settings.delivery_mode == "live":
            return Access.CLOSED
        return Access.THIS_MACHINE

    def authenticate(self, request: Request) -> SignedIn:
        """Who asks.

        Raises:
            SignInNeededError: If nobody is signed in.
            ForbiddenError: If the pages are closed, or open to this machine only.
        """
        if self.access is Access.CLOSED:
            msg = "Set ADMIN_USERNAME and ADMIN_PASSWORD, and restart the API, to use these pages."
            raise ForbiddenError(msg)
        if self.access is Access.THIS_MACHINE and not _is_at_this_machine(request):
            msg = (
                "Without ADMIN_USERNAME and ADMIN_PASSWORD these pages are for this machine only:"
                " open them on it, at 127.0.0.1."
            )
            raise ForbiddenError(msg)
        operator = self._cookies.decode(request.cookies.get(COOKIE))
        if operator is not None:
            # A page that polls in a forgotten window is nobody at work.
            polls = "hx-request" in request.headers and request.method == "GET"
            return SignedIn(operator, None if polls else self._cookies.renewed(operator))
        if self.access is Access.THIS_MACHINE:
            operator = self._cookies.new("local")
            return SignedIn(operator, operator)
        raise SignInNeededError

    def wait(self, request: Request) -> timedelta:
        """How long whoever asks has to wait before trying a password."""
        return self._rate_limit.wait(caller_address(request), self._clock.now())

    def sign_in(self, request: Request, username: str, password: str) -> Operator | None:
        """Who has just signed in; `None` if name or password are wrong."""
        right = self._settings.admin_password
        if right is None:
            return None
        # Both are always compared, in a time that tells nothing about either.
        is_right = _equal(username, self._settings.admin_username or "") & _equal(
            password, right.get_secret_value()
        )
        if not is_right:
            self._rate_limit.failed(caller_address(request), self._clock.now())
            return None
        self._rate_limit.succeeded(caller_address(request))
        return self._cookies.new(username)

    def sign_out(self, operator: Operator) -> None:
        """End a sign-in."""
        self._cookies.end(operator)

    def csrf_token(self, operator: Operator) -> str:
        """What the forms of this sign-in carry."""
        return self._cookies.csrf_token(operator)

    def check_csrf(self, request: Request, operator: Operator, form: Form) -> None:
        """Let a form pass that was sent from one of our pages in this sign-in.

        Raises:
            ForbiddenError: If it was not.
        """
        self.check_origin(request)
        token = form.raw(CSRF_FIELD)
        if not hmac.compare_digest(token.encode(), self.csrf_token(operator).encode()):
            msg = "The form is from another session, or too old. Go back, reload the page, repeat."
            raise ForbiddenError(msg)

    def check_origin(self, request: Request) -> None:
        """Let a request pass that no other site has a browser make.

        Raises:
            ForbiddenError: If another site did.
        """
        public = urlsplit(self._settings.public_base_url or "").netloc
        if is_of_another_origin(request.headers, also=public):
            msg = "The form was sent from another site."
            raise ForbiddenError(msg)

    def set_cookie(self, request: Request, response: Response, operator: Operator | None) -> None:
        """Have the browser keep a sign-in, or forget it."""
        self.keep(request, response, COOKIE, self._cookies.encode(operator) if operator else None)
        if operator is None:
            self.keep(request, response, SEARCHES_COOKIE, None)

    def searched(self, request: Request, operator: Operator, search_id: str) -> str | None:
        """What the operator searched for; `None` if it is no longer known in this browser."""
        return self._searches.read(request.cookies.get(SEARCHES_COOKIE), operator).get(search_id)

    def remember_search(
        self, request: Request, response: Response, operator: Operator, text: str
    ) -> str:
        """Have the browser keep a search.

        Returns:
            The id that stands for it in URLs.
        """
        cookie = request.cookies.get(SEARCHES_COOKIE)
        search_id, cookie = self._searches.add(cookie, operator, text)
        self.keep(request, response, SEARCHES_COOKIE, cookie)
        return search_id

    def keep(self, request: Request, response: Response, name: str, value: str | None) -> None:
        """Have the browser keep a cookie of the pages, or forget it."""
        response.set_cookie(
            name,
            value or "",
            max_age=0 if value is None else None,
            path=request.scope.get("root_path", "") + PATH,
            httponly=True,
            samesite="strict",
            # As this request came: over plain HTTP a browser would not send it back.
            secure=request.url.scheme == "https",
        )


def _is_at_this_machine(request: Request) -> bool:
    """Whether a browser on this machine asks, and not a proxy on behalf of somebody elsewhere."""
    return is_this_machine(request) and not any(h in request.headers for h in _FORWARDED)


def _equal(given: str, right: str) -> bool:
    digests = [sha256(s.encode(errors="surrogatepass")).digest() for s in (given, right)]
    return hmac.compare_digest(*digests)


_T = TypeVar("_T")

FREE_TRIES = 5
"""Wrong passwords in a row after which an address need not wait."""
_FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=15)
_FORGET = timedelta(hours=1)
"""An address is as good as new after so long without a wrong password."""
MOST_TOGETHER = 60
"""Wrong passwords from all addresses in a minute; beyond, only known addresses may try."""
_MINUTE = timedelta(minutes=1)
_MOST_ADDRESSES = 10_000
"""Remembered at once; the ones that failed longest ago are forgotten first."""


@dataclass(frozen=True, slots=True)
class SignInRateLimit:
    """How often somebody may try a password: each address for itself, and all of them together.

    Counts wrong passwords in bounded memory.
    """

    _failures: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """Wrong passwords in a row, and the instant of the last one, by network."""
    _known: dict[str, None] = field(default_factory=dict)
    """Networks from which somebody has signed in."""
    _recent: deque[datetime] = field(default_factory=lambda: deque(maxlen=MOST_TOGETHER))

    def wait(self, address: str, now: datetime) -> timedelta:
        """How long this address has to wait before its next try; zero if it need not."""
        network = _network(address)
        count, last = self._counted(network, now)
        wait = timedelta()
        if count >= FREE_TRIES:
            pause = min(_FIRST_WAIT * 2 ** min(count - FREE_TRIES, 20), LONGEST_WAIT)
            wait = last + pause - now
        if len(self._recent) == MOST_TOGETHER and network not in self._known:
            wait = max(wait, self._recent[0] + _MINUTE - now)
        return max(wait, timedelta())

    def failed(self, address: str, now: datetime) -> None:
        """A password was wrong."""
        network = _network(address)
        count, _ = self._counted(network, now)
        _put_last(self._failures, network, (count + 1, now))
        self._recent.append(now)

    def succeeded(self, address: str) -> None:
        """A password was right."""
        network = _network(address)
        self._failures.pop(network, None)
        _put_last(self._known, network, None)

    def _counted(self, network: str, now: datetime) -> tuple[int, datetime]:
        count, last = self._failures.get(network, (0, now))
        return (count, last) if now - last < _FORGET else (0, now)


def _put_last(found: dict[str, _T], network: str, value: _T) -> None:
    found.pop(network, None)
    found[network] = value
    if len(found) > _MOST_ADDRESSES:
        del found[next(iter(found))]


def _network(address: str) -> str:
    """The address, or the /64 of an IPv6 one: whoever has one of those has all of them."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address
