"""All pages, in the order of their navigation."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException

from reminders.settings import Settings
from starter.admin import (
    audit,
    enrollment,
    failed,
    ledger,
    overview,
    people,
    preview,
    rehearsal,
    resending,
    rules,
    runs,
    search,
    session,
    sessions,
    signing_in,
)
from starter.admin.door import Door
from starter.admin.guard import pages
from starter.admin.view import STATIC
from starter.api.reading import Files

_elsewhere = pages()


@_elsewhere.get("/{path:path}")
async def elsewhere(request: Request) -> None:
    """Whatever else is below `/admin`: a page that says so."""
    raise HTTPException(404, detail=f"There is no page {request.url.path}.")


def install(app: FastAPI, settings: Settings) -> None:
    """Give an application its pages, behind their door.

    Args:
        app: Has `Parts` as `app.state.parts` once it runs.
        settings: Of this process.
    """
    app.state.admin_door = Door(settings)
    router = APIRouter()
    for page in (
        signing_in.router,
        signing_in.inside,
        overview.router,
        search.router,
        sessions.router,
        session.router,
        enrollment.router,
        people.router,
        ledger.router,
        failed.router,
        resending.router,
        rules.router,
        preview.router,
        rehearsal.router,
        runs.router,
        audit.router,
        _elsewhere,
    ):
        router.include_router(page)
    app.include_router(router)
    app.mount("/static", Files(directory=STATIC), name="static")
