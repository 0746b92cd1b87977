"""All pages, in the order of their navigation."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from reminders.settings import Settings
from starter.admin import (
    account,
    audit,
    enrollments,
    mails,
    overview,
    people,
    reminders,
    rules,
    sessions,
)
from starter.admin.auth import AdminAuth
from starter.admin.rendering import STATIC
from starter.admin.routing import page_router, redirect
from starter.api.reading import Files

_elsewhere = page_router()


@_elsewhere.get("/{path:path}")
async def elsewhere(request: Request, path: str) -> Response:
    """Whatever else is below `/admin`: a page that says so; a page, if only a slash is too much."""
    if path.endswith("/") or not path:
        return redirect("/" + path.strip("/") if path.strip("/") else "")
    raise HTTPException(404, detail=f"There is no page {request.url.path}.")


def install(app: FastAPI, settings: Settings) -> None:
    """Give an application its pages.

    Args:
        app: Has `Parts` as `app.state.parts` once it runs.
        settings: Of this process.
    """
    app.state.admin_auth = AdminAuth(settings)
    for page in (
        account.router,
        account.signed_in,
        overview.router,
        sessions.router,
        enrollments.router,
        people.router,
        reminders.router,
        rules.router,
        mails.router,
        audit.router,
        _elsewhere,
    ):
        app.router.routes += page.routes
    app.mount("/static", Files(directory=STATIC), name="static")
