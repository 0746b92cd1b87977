"""People, as far as reminders need them."""

from __future__ import annotations

from uuid import UUID

from fastapi import Response

from starter.api.answering import BODY, CREATED, PLATFORM_OWNED, Answering, created, v1_router
from starter.api.answers.people import UserOut
from starter.api.bodies.people import UserBody

router = v1_router("users")


@router.put(
    "/users/{user_id}",
    summary="Create or change a user",
    responses={**created(UserOut, "They are new"), **PLATFORM_OWNED, **BODY},
)
async def put_user(user_id: UUID, body: UserBody, parts: Answering, response: Response) -> UserOut:
    """Store a person, whole. Safe to repeat; reminders go to the address of the moment."""
    if await parts.catalogue.put_user(body.to_attendee(user_id)):
        response.status_code = CREATED
    return UserOut(id=user_id)
