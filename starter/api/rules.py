"""Reminder rules, live: listed, added, changed, deleted, and compared beforehand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import BeforeValidator, Field, StringConstraints

from reminders.db.audit import By
from reminders.domain.errors import InvalidInputError
from reminders.domain.model import StatusReason
from reminders.domain.rules import (
    LARGEST_ORDER,
    LONGEST_LEAD,
    LONGEST_NAME,
    Counts,
    Fate,
    Range,
    RuleDiff,
    RuleFields,
)
from reminders.mail.subject import LONGEST_TEMPLATE
from starter.api.models import In, MaybeReason, Mirror, Out
from starter.api.routing import (
    ACCEPTED,
    BODY,
    CONFLICT,
    CREATED,
    INVALID,
    NO_SESSION,
    Answering,
    Caller,
    Documented,
    under_way,
    v1_router,
)
from starter.api.sessions import ChangesOut
from starter.services.reasons import are, some
from starter.services.rules import RuleReceipt

router = v1_router("reminder configurations")

MOST_MINUTES = LONGEST_LEAD // timedelta(minutes=1)
MOST_SESSIONS = 50
"""Sessions of a diff that are listed one by one."""
_NO_RULE: Documented = {404: {"description": "There is no such rule, or no such session"}}

_Of = Annotated[UUID | None, Query(description="The only session it is about.")]
Minutes = Annotated[int, Field(strict=True, ge=1, le=MOST_MINUTES, examples=[1440])]
Flag = Annotated[bool, Field(strict=True)]
Subject = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_TEMPLATE),
    Field(examples=["Reminder: {session_title} starts tomorrow"]),
]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_NAME), Field(examples=["1 Day Before"])
]
Order = Annotated[int, Field(strict=True, ge=0, le=LARGEST_ORDER)]
TypeName = Annotated[str, StringConstraints(min_length=1, max_length=32), Field(examples=["24h"])]


class _Rule(In):
    minutes_before: Minutes | None = None
    """How long before the start it goes out; not of a notice."""
    is_enabled: Flag | None = None
    email_subject_template: Subject | None = None
    """Text with `{session_title}` and the other names that a subject may use."""
    display_name: Name | None = None
    sort_order: Order | None = None

    def fields(self) -> RuleFields:
        """In the domain's words."""
        minutes = self.minutes_before
        return RuleFields(
            lead=None if minutes is None else timedelta(minutes=minutes),
            is_enabled=self.is_enabled,
            subject_template=self.email_subject_template,
            display_name=self.display_name,
            sort_order=self.sort_order,
        )


class RulePatch(_Rule):
    """What is to change of a rule; what is left out stays."""

    reason: MaybeReason = None
    """Why, for the audit log."""


class RuleBody(RulePatch):
    """A new rule; it needs at least `minutes_before` and `email_subject_template`."""

    reminder_type: TypeName
    session_id: UUID | None = None
    """The only session it is for; absent means every session."""


class RuleDiffBody(_Rule):
    """A change as it would be: of the rule that there is, of a new one, or its deletion."""

    reminder_type: TypeName
    session_id: UUID | None = None
    """The only session it would be about; absent means every session."""
    delete: Flag = False
    """Whether the rule would be deleted."""


def _minutes(lead: timedelta) -> int:
    return lead // timedelta(minutes=1)


class RuleOut(Mirror):
    """A rule: a kind of reminder that every enrollment gets, or a notice (0 `minutes_before`)."""

    reminder_type: str = Field(examples=["24h"])
    session_id: UUID | None
    """The only session it is for; null means every session without one of its own."""
    minutes_before: Annotated[int, BeforeValidator(_minutes)] = Field(
        validation_alias="lead", examples=[1440]
    )
    is_enabled: bool
    email_subject_template: str = Field(
        validation_alias="subject_template", examples=["Reminder: {session_title} starts tomorrow"]
    )
    display_name: str = Field(examples=["1 Day Before"])
    sort_order: int


class RuleListOut(Out):
    """Rules, in their order."""

    items: list[RuleOut]


class SpreadOut(Mirror):
    """Sessions that the change is being brought to. What is stored counts already: no old instant can fire."""

    sessions: int
    """Sessions with enrollments that lie ahead."""
    told: int = Field(validation_alias="begun")
    """Of these, those whose `SessionChangeWorkflow` has begun; `GET /v1/runs` has its counts. The
    others follow, at the latest by the next sweep."""


class RuleChangeOut(Out):
    """A change of a rule, stored, and what it did to those who are enrolled."""

    configuration: RuleOut | None
    """The rule that counts now; null when there is none of this type any more."""
    changes: ChangesOut | None
    """Of all sessions together. Null while `under_way`."""
    under_way: SpreadOut | None
    """Null when it has reached everybody."""

    @classmethod
    def of(cls, receipt: RuleReceipt) -> Self:
        """The rule, with what is known of the change by now."""
        counts = receipt.counts
        return cls(
            configuration=receipt.change.after,
            changes=counts,
            under_way=None if counts else SpreadOut.of(receipt),
        )


class FatesOut(Out):
    """Reminders of the rule's type, one an enrollment, by what would become of them."""

    moved: int
    """They wait, and would be due at another instant."""
    planned: int
    """They would be scheduled newly."""
    skipped: dict[StatusReason, int]
    """They would be recorded as skipped, by reason: nobody is mailed for the past."""
    switched_off: int
    """They wait, and would be skipped as `rule_disabled`."""
    already_sent: int
    """They went out, and stay as they are."""
    left_alone: int
    """Of people whose reminders were called off or stopped."""
    unchanged: int


class SessionFatesOut(FatesOut):
    """The same for one session."""

    session_id: UUID
    start_time: datetime


class RuleDiffOut(Out):
    """What a change of a rule would do; nothing was stored."""

    before: RuleOut | None
    after: RuleOut | None
    in_words: list[str]
    total: FatesOut
    moved_from: Range | None
    moved_to: Range | None
    planned_for: Range | None
    enrollments: int
    """Confirmed enrollments of sessions ahead that were looked at."""
    sessions: list[SessionFatesOut]
    """The nearest ones in which something would change."""
    more_sessions: int
    """How many more there are of these."""
    is_complete: bool
    """False when there are too many sessions ahead to look at; the nearest are counted."""

    @classmethod
    def of(cls, diff: RuleDiff) -> Self:
        """The diff, in counts and in words."""
        return cls(
            before=diff.change.before,
            after=diff.change.after,
            in_words=in_words(diff),
            total=_fates(diff.total),
            moved_from=diff.moved_from,
            moved_to=diff.moved_to,
            planned_for=diff.planned_for,
            enrollments=diff.looked_at,
            sessions=[
                {"session_id": session_id, "start_time": starts_at, **_fates(counts)}
                for session_id, starts_at, counts in diff.sessions[:MOST_SESSIONS]
            ],
            more_sessions=max(len(diff.sessions) - MOST_SESSIONS, 0),
            is_complete=diff.is_complete,
        )


def in_words(diff: RuleDiff) -> tuple[str, ...]:
    """A diff in sentences; the last one says that nobody is mailed for the past."""
    fates = diff.total.fates
    said = []
    if (moved := fates[Fate.MOVED]) and diff.moved_from and diff.moved_to:
        moves = f"{some(moved, 'waiting reminder')} {'moves' if moved == 1 else 'move'}"
        said.append(f"{moves} from {_span(diff.moved_from)} to {_span(diff.moved_to)}.")
    if (planned := fates[Fate.PLANNED]) and diff.planned_for:
        said.append(f"{are(planned, 'reminder')} newly planned, due {_span(diff.planned_for)}.")
    if off := fates[Fate.SWITCHED_OFF]:
        said.append(f"{are(off, 'waiting reminder')} not sent: the rule is off.")
    said += [
        f"{are(count, 'reminder')} recorded as skipped ({reason}) and not sent."
        for reason, count in sorted(diff.total.skipped.items())
    ]
    if sent := fates[Fate.ALREADY_SENT]:
        has = "has been sent, and is" if sent == 1 else "have been sent, and are"
        said.append(f"{some(sent, 'reminder')} {has} not sent again.")
    if not said:
        said.append("Nothing that is planned changes.")
    if not diff.is_complete:
        said.append("There are more sessions ahead than were counted; the nearest were.")
    return (*said, "Nobody gets an e-mail for the past: what was due before now is never sent.")


def _span(found: Range) -> str:
    earliest, latest = (f"{i:%Y-%m-%d %H:%M}" for i in (found.earliest, found.latest))
    return f"{earliest} UTC" if earliest == latest else f"between {earliest} and {latest} UTC"


def _fates(counts: Counts) -> dict[str, Any]:
    every: dict[str, Any] = {fate.value: counts.fates[fate] for fate in Fate}
    return {**every, "skipped": dict(counts.skipped)}


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
    return RuleListOut(items=rules)


@router.post(
    "/reminder-configurations",
    status_code=CREATED,
    summary="Add a rule, for every session or for one",
    responses={**NO_SESSION, **CONFLICT, **BODY},
)
async def add_rule(
    body: RuleBody, parts: Answering, caller: Caller, response: Response
) -> RuleChangeOut:
    """Store it, and plan every enrollment that it concerns anew.

    What is past due by it is recorded as skipped and never sent. `changes` has the counts; when
    that takes longer than a few seconds, `under_way` says how far it is.
    """
    receipt = await parts.rules.add(
        body.reminder_type, body.session_id, body.fields(), by=By(caller, body.reason)
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
    fields = body.fields()
    if body.delete and fields != RuleFields():
        raise InvalidInputError("takes no other fields of the rule", field="delete")
    asked = None if body.delete else fields
    return RuleDiffOut.of(await parts.rules.diff(body.reminder_type, body.session_id, asked))


@router.patch(
    "/reminder-configurations/{reminder_type}",
    summary="Change a rule, or switch it on or off",
    responses={**under_way(RuleChangeOut), **_NO_RULE, **CONFLICT, **BODY},
)
async def change_rule(
    reminder_type: TypeName,
    body: RulePatch,
    *,
    parts: Answering,
    caller: Caller,
    response: Response,
    session_id: _Of = None,
) -> RuleChangeOut:
    """Store what is given, and plan every enrollment that it concerns anew. Safe to repeat.

    With `session_id`, that session gets a rule of its own in place of the one for all.
    """
    receipt = await parts.rules.change(
        reminder_type, session_id, body.fields(), by=By(caller, body.reason)
    )
    return _answer(receipt, response)


@router.delete(
    "/reminder-configurations/{reminder_type}",
    summary="Delete a rule",
    responses={**under_way(RuleChangeOut), **_NO_RULE, **CONFLICT, **INVALID},
)
async def delete_rule(
    reminder_type: TypeName,
    parts: Answering,
    caller: Caller,
    response: Response,
    session_id: _Of = None,
) -> RuleChangeOut:
    """Delete it; what waits because of it is recorded as skipped.

    With `session_id`, that session's own rule goes, and the one for all counts there again.
    """
    return _answer(await parts.rules.delete(reminder_type, session_id, by=By(caller)), response)
