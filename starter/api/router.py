"""The HTTP API, version 1. Handlers fetch or delegate; what they raise, `problems` answers."""

from __future__ import annotations

from fastapi import APIRouter

from starter.api import delivery, enrollments, mails, preferences, reminders, sessions
from starter.api import operation as sweeps
from starter.api import people as users
from starter.api import reports as lookups
from starter.api import rules as configurations

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
