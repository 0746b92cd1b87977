"""The inbox: pages on which people read what was accepted.

Server-rendered, without a script. Mail is untrusted: it is shown in a sandboxed frame under a
policy that loads nothing and runs nothing, and everywhere else it is escaped text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from devstack.provider.exchange import instant, rfc3339
from devstack.provider.store import Store, StoredEmail

PAGE = 50
"""E-mails on a page."""
REFRESH_SECONDS = 5
"""How often the newest page loads itself anew."""

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A link in the mail may open in a tab of its own; nothing else gets out of the frame.
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
_SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_HEAD = re.compile(r"<head(?:\s[^>]*)?>", re.IGNORECASE)
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)
# The policy lets nothing be loaded, but browsers connect in advance before they ask it.
_REACHING_OUT = re.compile(r"<(?=(?:link|base|i?frame|object|embed|portal)\b)", re.IGNORECASE)
_HTTP_EQUIV = re.compile(r"(?=http-equiv)", re.IGNORECASE)
_NEW_TAB = '<base target="_blank">'


class Inbox:
    """The pages."""

    _VIEWS: ClassVar = ("html", "text", "source")
    _SCHEMES: ClassVar = ("auto", "light", "dark")
    _WIDTHS: ClassVar = ("full", "360")

    def __init__(self, store: Store, *, now: Callable[[], datetime]) -> None:
        """Take the store to read from, and the clock for ages."""
        self._store = store
        self._now = now
        self._templates = Environment(
            loader=PackageLoader("devstack.provider"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> list[BaseRoute]:
        """The routes, for Starlette."""
        return [
            Route("/", self._home),
            Route("/inbox", self._list),
            Mount("/inbox/static", StaticFiles(packages=[("devstack.provider", "static")])),
            Route("/inbox/{id}", self._show),
            Route("/inbox/{id}/html", self._html),
        ]

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse("/inbox")

    async def _list(self, request: Request) -> Response:
        words = request.query_params.get("q", "").strip()
        text = request.query_params.get("page", "1")
        page = max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 8 else 1
        emails, total = self._store.search(words, limit=PAGE, offset=(page - 1) * PAGE)
        paused = request.query_params.get("live") == "0"
        newest = not words and page == 1
        return self._page(
            "list.html",
            rows=[self._row(email) for email in emails],
            words=words,
            total=total,
            first=(page - 1) * PAGE + 1,
            last=(page - 1) * PAGE + len(emails),
            newer=_link(q=words, page=page - 1) if page > 1 else None,
            older=_link(q=words, page=page + 1) if page * PAGE < total else None,
            newest=newest,
            refresh=REFRESH_SECONDS if newest and not paused else None,
        )

    async def _show(self, request: Request) -> Response:
        email = self._store.email(request.path_params["id"])
        if email is None:
            return self._page("missing.html", status=404)
        parts = self._store.parts(email)
        view = _choice(request, "view", self._VIEWS)
        if view == "html" and not parts.get("html"):
            view = "text"
        scheme = _choice(request, "scheme", self._SCHEMES)
        width = _choice(request, "width", self._WIDTHS)
        newer = self._store.emails_after(email.seq, 1)
        older = self._store.emails_before(email.seq, 1)

        def link(**changes: str) -> str:
            chosen = {"view": view, "scheme": scheme, "width": width, **changes}
            return _link(**{k: v for k, v in chosen.items() if v not in ("html", "auto", "full")})

        return self._page(
            "email.html",
            email=self._row(email),
            envelope=email.envelope,
            accepted_at=rfc3339(email.accepted_at),
            idempotency_key=email.idempotency_key,
            text=parts.get("text"),
            source=json.dumps(parts, ensure_ascii=False, indent=2),
            view=view,
            scheme=scheme,
            width=width,
            views=[(name, link(view=name)) for name in self._VIEWS],
            schemes=[(name, link(scheme=name)) for name in self._SCHEMES],
            widths=[(name, link(width=name)) for name in self._WIDTHS],
            newer=f"/inbox/{newer[0].id}{link()}" if newer else None,
            older=f"/inbox/{older[0].id}{link()}" if older else None,
        )

    async def _html(self, request: Request) -> Response:
        """The mail's own HTML, for the frame."""
        email = self._store.email(request.path_params["id"])
        if email is None:
            return self._page("missing.html", status=404)
        html = self._store.parts(email).get("html") or ""
        headers = {**_SAFE, "content-security-policy": _MAIL_POLICY}
        return HTMLResponse(_links_in_new_tabs(_inert(html)), headers=headers)

    def _row(self, email: StoredEmail) -> dict[str, Any]:
        tags = {tag["name"]: tag["value"] for tag in email.envelope["tags"]}
        at = instant(email.accepted_at)
        return {
            "id": email.id,
            "to": ", ".join(email.envelope["to"]),
            "subject": email.envelope["subject"] or "(no subject)",
            "last_event": email.last_event,
            "reminder": tags.pop("reminder_id", None),
            "tags": tags,
            "at": at,
            "age": _age(self._now(), at),
        }

    def _page(self, template: str, *, status: int = 200, **values: object) -> Response:
        page = self._templates.get_template(template).render(
            scheme=values.pop("scheme", "auto"), **values
        )
        headers = {**_SAFE, "content-security-policy": _PAGE_POLICY}
        return HTMLResponse(page, status_code=status, headers=headers)


def _link(**values: object) -> str:
    """A query string of the values that say something."""
    query = urlencode({k: v for k, v in values.items() if v not in ("", 1)})
    return f"?{query}" if query else "?"


def _choice(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """What was asked for, if it is one of the choices; else the first of them."""
    value = request.query_params.get(name, choices[0])
    return value if value in choices else choices[0]


def _inert(html: str) -> str:
    """The mail with the elements that lead elsewhere made unknown ones."""
    return _HTTP_EQUIV.sub("x-", _REACHING_OUT.sub("<x-", html))


def _links_in_new_tabs(html: str) -> str:
    """The mail with every link opening outside of the frame, which may not navigate."""
    place = _HEAD.search(html) or _DOCTYPE.match(html)
    at = place.end() if place else 0
    return html[:at] + _NEW_TAB + html[at:]


def _age(now: datetime, at: datetime) -> str:
    """How long ago, roughly."""
    seconds = max(0, int((now - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now" if seconds < 10 else f"{seconds} s ago"
