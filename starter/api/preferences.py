"""People's preferences, and people erased."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query

from starter.api.answering import BODY, INVALID, Answering, Documented, v1_router
from starter.api.answers.people import ChangedPreferences, ErasureOut, PreferencesOut
from starter.api.bodies.people import ErasureOptions, PreferencesBody

router = v1_router("users")

_ACTOR = "api"
_NO_USER: Documented = {404: {"description": "There is no such user, or they were erased"}}


@router.get(
    "/users/{user_id}/preferences",
    summary="What a user is not to be reminded of",
    responses={**_NO_USER, **INVALID},
)
async def preferences(user_id: UUID, parts: Answering) -> PreferencesOut:
    """What they, or the platform for them, asked for; and what their address does not allow."""
    return PreferencesOut.of(user_id, await parts.preferences.of(user_id))


@router.put(
    "/users/{user_id}/preferences",
    summary="Say what a user is not to be reminded of",
    responses={**_NO_USER, **BODY},
)
async def put_preferences(
    user_id: UUID, body: PreferencesBody, parts: Answering
) -> ChangedPreferences:
    """Replace a user's preferences, whole. Safe to repeat.

    What waits and is not wanted ends as `skipped: opted_out`; what is wanted again and still lies
    ahead is planned anew. Sleeping workflows are told.
    """
    receipt = await parts.preferences.put(
        user_id, body.to_opt_outs(), actor=_ACTOR, reason=body.reason
    )
    return ChangedPreferences.after(user_id, receipt)


@router.delete(
    "/users/{user_id}",
    summary="Erase a user: address, name, preferences, enrollments",
    responses={404: {"description": "There is no such user, and never was"}, **INVALID},
)
async def erase(
    user_id: UUID, options: Annotated[ErasureOptions, Query()], parts: Answering
) -> ErasureOut:
    """Erase a person, cancel what waits and end their workflows. Safe to repeat.

    The ledger keeps its rows, under an id that leads to nobody. Links in e-mails that this person
    has stop working. Storing the user anew brings the id back.
    """
    receipt = await parts.erasure.erase(
        user_id, actor=_ACTOR, reason=options.reason, dry_run=options.dry_run
    )
    return ErasureOut.of(user_id, receipt, dry_run=options.dry_run)
