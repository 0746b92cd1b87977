"""Enrollments."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from starter.api.bodies.base import ReasonBody


class EnrollmentBody(ReasonBody):
    """Who takes part in what."""

    session_id: UUID = Field(examples=["6f9619ff-8b86-4011-b42d-00c04fc964ff"])
    user_id: UUID = Field(examples=["0b9e2f4c-7a39-4b73-8e0e-3a5a5f3f9f10"])
    enrollment_id: UUID | None = None
    """The platform's own id of the enrollment, if it has one."""
    status: Literal["confirmed", "pending"] = "confirmed"
    """`pending` while the platform awaits a confirmation: nothing is sent until the same call says
    `confirmed`. A confirmed enrollment stays confirmed."""
