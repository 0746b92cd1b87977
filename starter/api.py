"""The HTTP API, version 1. Handlers fetch or delegate; what they raise, `problems` answers."""

from __future__ import annotations

from fastapi import APIRouter

from starter.routes import (
    configurations,
    delivery,
    enrollments,
    lookups,
    mails,
    preferences,
    reminders,
    sessions,
    sweeps,
    users,
)

router = APIRouter()
"""In the order of `/docs`."""

for _concern in (
    lookups,
    sessions,
    users,
    preferences,
    enrollments,
    reminders,
    configurations,
    mails,
    sweeps,
    delivery,
):
    router.include_router(_concern.router)
