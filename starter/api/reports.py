"""What operators look for: sessions, rosters, people, failures, the audit log, the day."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from starter.api.answering import BODY, INVALID, NO_SESSION, Answering, v1_router
from starter.api.answers.lookups import (
    CauseListOut,
    EventPageOut,
    OverviewOut,
    RosterPageOut,
    SessionPageOut,
    UserEnrollmentsOut,
    UserIdsOut,
)
from starter.api.bodies.lookups import (
    EventFilters,
    FailureFilters,
    RosterFilters,
    SessionFilters,
    UserSearch,
)
from starter.services import reports as lookups

router = v1_router("operators")


@router.get("/overview", summary="How things stand")
async def overview(parts: Answering) -> OverviewOut:
    """Today's figures, what is still to come, and the next 24 hours by hour."""
    return await lookups.overview(parts)


@router.get("/sessions", summary="Sessions, by title or id", responses={**INVALID})
async def sessions(filters: Annotated[SessionFilters, Query()], parts: Answering) -> SessionPageOut:
    """Upcoming ones, the next first; or past ones, the last first."""
    return await lookups.sessions(parts, filters)


@router.get(
    "/sessions/{session_id}/enrollments",
    summary="Who is enrolled in a session",
    responses={**NO_SESSION, **INVALID},
)
async def roster(
    session_id: UUID, filters: Annotated[RosterFilters, Query()], parts: Answering
) -> RosterPageOut:
    """Everybody, with the newest generation of each reminder."""
    return await lookups.roster(parts, session_id, filters)


@router.post("/users/search", summary="A user's id, by name or address", responses={**BODY})
async def users(body: UserSearch, parts: Answering) -> UserIdsOut:
    """Up to 20 ids; addresses and names are not told."""
    return await lookups.users(parts, body.query)


@router.get(
    "/users/{user_id}/enrollments",
    summary="What a user is or was enrolled in",
    responses={404: {"description": "There is no such user"}, **INVALID},
)
async def enrollments(user_id: UUID, parts: Answering) -> UserEnrollmentsOut:
    """The latest session first, with its reminders counted by status."""
    return await lookups.enrollments(parts, user_id)


@router.get("/failures", summary="Failed reminders by cause", responses={**INVALID})
async def failures(filters: Annotated[FailureFilters, Query()], parts: Answering) -> CauseListOut:
    """Of the last 30 days. `GET /v1/reminders?status_reason=` lists those of one cause."""
    return await lookups.failures(parts, filters.session_id)


@router.get("/events", summary="The audit log", responses={**INVALID})
async def events(filters: Annotated[EventFilters, Query()], parts: Answering) -> EventPageOut:
    """Who did what, when and why; the newest first."""
    return await lookups.events(parts, filters)
