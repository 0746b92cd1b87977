"""Reminder rules, live: listed, added, changed, deleted, and compared beforehand."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from starter.api.answering import (
    ACCEPTED,
    BODY,
    CONFLICT,
    CREATED,
    INVALID,
    NO_SESSION,
    Answering,
    Documented,
    under_way,
    v1_router,
)
from starter.api.answers.configurations import RuleChangeOut, RuleDiffOut, RuleListOut, RuleOut
from starter.api.bodies.configurations import RuleBody, RuleDiffBody, RulePatch, TypeName
from starter.services.rules import RuleReceipt

router = v1_router("reminder configurations")

ACTOR = "api"
_Of = Annotated[UUID | None, Query(description="The only session it is about.")]
_NO_RULE: Documented = {404: {"description": "There is no such rule, or no such session"}}


def _answer(receipt: RuleReceipt, response: Response, done: int | None = None) -> RuleChangeOut:
    if done is not None:
        response.status_code = done
    elif receipt.counts is None:
        response.status_code = ACCEPTED
    return RuleChangeOut.of(receipt)


@router.get(
    "/reminder-configurations",
    summary="The rules: which reminders an enrollment gets",
    responses={**NO_SESSION, **INVALID},
)
async def list_rules(parts: Answering, session_id: _Of = None) -> RuleListOut:
    """The rules for every session, then those of single sessions, the newest first (up to 500).

    With `session_id`, the rules that count for that session; its own ones carry its id.
    """
    if session_id is None:
        rules = await parts.rules.all()
    else:
        rules = await parts.rules.of_session(session_id)
    return RuleListOut(items=[RuleOut.of(rule) for rule in rules])


@router.post(
    "/reminder-configurations",
    status_code=CREATED,
    summary="Add a rule, for every session or for one",
    responses={**NO_SESSION, **CONFLICT, **BODY},
)
async def add_rule(body: RuleBody, parts: Answering, response: Response) -> RuleChangeOut:
    """Store it, and plan every enrollment that it concerns anew.

    What is past due by it is recorded as skipped and never sent. `changes` has the counts; when
    that takes longer than a few seconds, `under_way` says how far it is.
    """
    receipt = await parts.rules.add(
        body.reminder_type, body.session_id, body.fields(), actor=ACTOR, reason=body.reason
    )
    return _answer(receipt, response, CREATED)


@router.post(
    "/reminder-configurations/diff",
    summary="What a change of a rule would do",
    responses={**_NO_RULE, **CONFLICT, **BODY},
)
async def diff_rule(body: RuleDiffBody, parts: Answering) -> RuleDiffOut:
    """Who would move, be newly planned, be skipped or be switched off. Nothing is stored.

    Takes the fields of a new or a changed rule, or `delete`.
    """
    fields = None if body.delete else body.fields()
    return RuleDiffOut.of(await parts.rules.diff(body.reminder_type, body.session_id, fields))


@router.patch(
    "/reminder-configurations/{reminder_type}",
    summary="Change a rule, or switch it on or off",
    responses={**under_way(RuleChangeOut), **_NO_RULE, **CONFLICT, **BODY},
)
async def change_rule(
    reminder_type: TypeName,
    body: RulePatch,
    parts: Answering,
    response: Response,
    session_id: _Of = None,
) -> RuleChangeOut:
    """Store what is given, and plan every enrollment that it concerns anew. Safe to repeat.

    With `session_id`, that session gets a rule of its own in place of the one for all.
    """
    receipt = await parts.rules.change(
        reminder_type, session_id, body.fields(), actor=ACTOR, reason=body.reason
    )
    return _answer(receipt, response)


@router.delete(
    "/reminder-configurations/{reminder_type}",
    summary="Delete a rule",
    responses={**under_way(RuleChangeOut), **_NO_RULE, **CONFLICT, **INVALID},
)
async def delete_rule(
    reminder_type: TypeName, parts: Answering, response: Response, session_id: _Of = None
) -> RuleChangeOut:
    """Delete it; what waits because of it is recorded as skipped.

    With `session_id`, that session's own rule goes, and the one for all counts there again.
    """
    return _answer(await parts.rules.delete(reminder_type, session_id, actor=ACTOR), response)
