"""Who may see the pages, and whether a form was sent from one of them."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from hashlib import sha256
from urllib.parse import urlsplit

from fastapi import Request, Response

from reminders.clock import SystemClock
from reminders.domain.ports import Clock
from reminders.settings import Settings
from starter.admin.form import Form
from starter.admin.throttle import Throttle
from starter.admin.visitors import COOKIE, Visitor, Visitors, signing_key
from starter.api.hosts import is_of_another_origin, is_this_machine

CSRF_FIELD = "csrf"
PATH = "/admin"
"""Everything is below it, the cookie too."""

_FOREIGN = "The form is from another session, or too old. Go back, reload the page, repeat."
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers by which a proxy gives itself away."""


class SignInNeededError(Exception):
    """Nobody is signed in."""


class RefusedError(Exception):
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
class Admitted:
    """Somebody who may see the pages."""

    visitor: Visitor
    new_cookie: Visitor | None
    """What the cookie is to say from now on; absent if it may stay."""


class Door:
    """Lets operators in, one process's worth."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        """Guard the pages by these settings."""
        self._settings = settings
        self._clock = clock or SystemClock()
        self._visitors = Visitors(signing_key(settings), self._clock)
        self._throttle = Throttle()

    @property
    def access(self) -> Access:
        """How the pages are reached here."""
        if self._settings.admin_password is not None:
            return Access.SIGN_IN
        if self._settings.api_keys or self._settings.delivery_mode == "live":
            return Access.CLOSED
        return Access.THIS_MACHINE

    def admit(self, request: Request) -> Admitted:
        """Who asks.

        Raises:
            SignInNeededError: If nobody is signed in.
            RefusedError: If the pages are closed, or open to this machine only.
        """
        if self.access is Access.CLOSED:
            msg = "Set ADMIN_USERNAME and ADMIN_PASSWORD, and restart the API, to use these pages."
            raise RefusedError(msg)
        if self.access is Access.THIS_MACHINE and not _is_at_this_machine(request):
            msg = (
                "Without ADMIN_USERNAME and ADMIN_PASSWORD these pages are for this machine only:"
                " open them on it, at 127.0.0.1."
            )
            raise RefusedError(msg)
        visitor = self._visitors.read(request.cookies.get(COOKIE))
        if visitor is not None:
            # A page that polls in a forgotten window is nobody at work.
            polls = "hx-request" in request.headers and request.method == "GET"
            return Admitted(visitor, None if polls else self._visitors.renewed(visitor))
        if self.access is Access.THIS_MACHINE:
            visitor = self._visitors.begin("local")
            return Admitted(visitor, visitor)
        raise SignInNeededError

    def wait(self, request: Request) -> timedelta:
        """How long whoever asks has to wait before trying a password."""
        return self._throttle.wait(_address(request), self._clock.now())

    def sign_in(self, request: Request, username: str, password: str) -> Visitor | None:
        """A new session; `None` if name or password are wrong."""
        address = _address(request)
        right = self._settings.admin_password
        if right is None:
            return None
        # Both are always compared, in a time that tells nothing about either.
        is_right = _equal(username, self._settings.admin_username or "") & _equal(
            password, right.get_secret_value()
        )
        if not is_right:
            self._throttle.failed(address, self._clock.now())
            return None
        self._throttle.succeeded(address)
        return self._visitors.begin(username)

    def sign_out(self, visitor: Visitor) -> None:
        """End a session."""
        self._visitors.end(visitor)

    def csrf_token(self, visitor: Visitor) -> str:
        """What the forms of this session carry."""
        return self._visitors.csrf_token(visitor)

    def check_form(self, request: Request, visitor: Visitor, form: Form) -> None:
        """Let a form pass that was sent from one of our pages in this session.

        Raises:
            RefusedError: If it was not.
        """
        self.check_origin(request)
        token = form.raw(CSRF_FIELD)
        if not hmac.compare_digest(token.encode(), self.csrf_token(visitor).encode()):
            raise RefusedError(_FOREIGN)

    def check_origin(self, request: Request) -> None:
        """Let a request pass that no other site has a browser make.

        Raises:
            RefusedError: If another site did.
        """
        public = urlsplit(self._settings.public_base_url or "").netloc
        if is_of_another_origin(request.headers, also=public):
            msg = "The form was sent from another site."
            raise RefusedError(msg)

    def write_cookie(self, request: Request, response: Response, visitor: Visitor) -> None:
        """Have the browser keep a session."""
        response.set_cookie(
            COOKIE,
            self._visitors.cookie(visitor),
            path=PATH,
            httponly=True,
            samesite="strict",
            secure=self._is_secure(request),
        )

    def clear_cookie(self, request: Request, response: Response) -> None:
        """Have the browser forget its session."""
        response.delete_cookie(
            COOKIE, path=PATH, httponly=True, samesite="strict", secure=self._is_secure(request)
        )

    def _is_secure(self, request: Request) -> bool:
        public = self._settings.public_base_url or ""
        return request.url.scheme == "https" or public.startswith("https:")


def _is_at_this_machine(request: Request) -> bool:
    """Whether a browser on this machine asks, and not a proxy on behalf of somebody elsewhere."""
    return is_this_machine(request) and not any(h in request.headers for h in _FORWARDED)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _equal(given: str, right: str) -> bool:
    digests = [sha256(s.encode(errors="surrogatepass")).digest() for s in (given, right)]
    return hmac.compare_digest(*digests)
