"""People, as far as reminders need them: who they are, what they want, and their erasure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import BeforeValidator, Field

from reminders.db.audit import By
from reminders.db.preference_store import MOST_OPT_OUTS, Changed, Choices
from reminders.domain.errors import InvalidInputError
from reminders.domain.model import Attendee, OptOut, StatusReason
from reminders.mail.addressing import is_local
from starter.api.models import (
    BlankIsAbsent,
    EmailAddress,
    In,
    Line,
    LocaleName,
    Out,
    ReasonBody,
    TypeName,
    ZoneName,
)
from starter.api.routing import (
    BODY,
    CREATED,
    INVALID,
    PLATFORM_OWNED,
    Answering,
    Caller,
    Documented,
    created,
    v1_router,
)
from starter.services.people import ErasureReceipt

router = v1_router("users")

_NO_USER: Documented = {404: {"description": "There is no such user, or they were erased"}}


class UserBody(In):
    """A person, whole: what is left out is absent."""

    email: EmailAddress = Field(examples=["ana@hospital.example"])
    full_name: Annotated[Line | None, BlankIsAbsent] = None
    time_zone: Annotated[ZoneName | None, BlankIsAbsent] = None
    """Absent means the session's zone."""
    locale: Annotated[LocaleName | None, BlankIsAbsent] = Field(default=None, examples=["es-ES"])
    """BCP 47 or POSIX name; absent means `EMAIL_LOCALE`."""

    def to_attendee(self, user_id: UUID) -> Attendee:
        """In the domain's words, which are those of the fields."""
        return Attendee(user_id=user_id, **self.model_dump())


class OptOutBody(In):
    """What not to be reminded of; without both fields, of anything."""

    session_id: UUID | None = None
    """Absent means every session."""
    reminder_type: TypeName | None = Field(default=None, examples=["24h"])
    """Absent means every type."""


class PreferencesBody(ReasonBody):
    """A person's preferences, whole: what is left out is wanted again."""

    opt_outs: list[OptOutBody] = Field(max_length=MOST_OPT_OUTS)

    def to_opt_outs(self) -> frozenset[OptOut]:
        """In the domain's words."""
        return frozenset(OptOut(o.session_id, o.reminder_type) for o in self.opt_outs)


class ErasureOptions(ReasonBody):
    """How to erase."""

    dry_run: bool = False
    """Only count."""


class UserOut(Out):
    """A person was stored; what is stored about them is not repeated."""

    id: UUID


class OptOutOut(Out):
    """What a person is not to be reminded of; without both fields, of anything."""

    session_id: UUID | None
    """Null means every session."""
    reminder_type: str | None
    """Null means every type."""


def in_order(opt_outs: frozenset[OptOut]) -> list[OptOut]:
    """Opt-outs by what they are about, the widest first."""
    return sorted(opt_outs, key=lambda o: (str(o.session_id or ""), o.reminder_type or ""))


class PreferencesOut(Out):
    """A person's preferences."""

    user_id: UUID
    opt_outs: Annotated[list[OptOutOut], BeforeValidator(in_order)]
    """What they asked not to be reminded of."""
    withheld: list[StatusReason]
    """Why nothing goes to their address all the same: it bounced, or they reported spam. A new
    address ends it, and so does `unblock`."""

    @classmethod
    def of(cls, user_id: UUID, choices: Choices, **more: Any) -> Self:  # noqa: ANN401 - its fields
        """What they chose, and what else the JSON has."""
        return cls(user_id=user_id, opt_outs=choices.opt_outs, withheld=choices.withheld, **more)


class ChangedPreferences(PreferencesOut):
    """A person's preferences as they are now, and what the change did."""

    skipped: int
    """Reminders that waited and are not sent any more."""
    in_flight: int
    """Reminders that may already be with the provider."""
    scheduled: int
    """Reminders that wait, of all sessions ahead in which the person is enrolled."""

    @classmethod
    def after(cls, user_id: UUID, receipt: Changed) -> Self:
        """What they chose, and what that did."""
        return cls.of(
            user_id,
            receipt.choices,
            skipped=receipt.skipped,
            in_flight=receipt.in_flight,
            scheduled=receipt.scheduled,
        )


class ErasureOut(Out):
    """What erasing a person did, or would do: counts."""

    user_id: UUID
    dry_run: bool
    already_erased: bool
    """This person was erased before; the counts are of what has come since."""
    workflows: int
    """Workflows that were asked to end."""
    cancelled: int
    """Reminders that waited."""
    in_flight: int
    """Reminders with the provider; see `remains`."""
    kept: int
    """Rows of the ledger that stay, without anything that leads to the person."""
    enrollments: int
    preferences: int
    calendar_entries: int
    webhook_events: int
    """Events that no longer name the provider's e-mail."""
    audit_entries: int
    """Entries of the audit log that no longer have a reason in somebody's words."""
    remains: list[str]
    """What erasing here cannot reach."""

    @classmethod
    def of(cls, user_id: UUID, receipt: ErasureReceipt, *, dry_run: bool) -> Self:
        """What was erased, or would be."""
        return cls(
            user_id=user_id,
            dry_run=dry_run,
            already_erased=not receipt.erased.is_first,
            workflows=receipt.workflows,
            remains=receipt.remains,
            **asdict(receipt.erased),
        )


@router.put(
    "/users/{user_id}",
    summary="Create or change a user",
    responses={**created(UserOut, "They are new"), **PLATFORM_OWNED, **BODY},
)
async def put_user(user_id: UUID, body: UserBody, parts: Answering, response: Response) -> UserOut:
    """Store a person, whole. Safe to repeat; reminders go to the address of the moment.

    What was skipped because another address of theirs had bounced, or complained, is planned anew.
    """
    if parts.settings.delivery_mode == "live" and is_local(body.email):
        raise InvalidInputError("is of this machine: no provider delivers there", field="email")
    if await parts.preferences.put_user(body.to_attendee(user_id)):
        response.status_code = CREATED
    return UserOut(id=user_id)


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
    user_id: UUID, body: PreferencesBody, parts: Answering, caller: Caller
) -> ChangedPreferences:
    """Replace a user's preferences, whole. Safe to repeat.

    What waits and is not wanted ends as `skipped: opted_out`; what is wanted again and still lies
    ahead is planned anew. Sleeping workflows follow.
    """
    receipt = await parts.preferences.put(user_id, body.to_opt_outs(), by=By(caller, body.reason))
    return ChangedPreferences.after(user_id, receipt)


@router.post(
    "/users/{user_id}/unblock",
    summary="Remind a user again whose address bounced or complained",
    responses={**_NO_USER, **BODY},
)
async def unblock(
    user_id: UUID, body: ReasonBody, parts: Answering, caller: Caller
) -> ChangedPreferences:
    """For an address that works again, or a complaint that was taken back. Safe to repeat.

    What still lies ahead is planned anew. If it bounces again, it is blocked again.
    """
    receipt = await parts.preferences.unblock(user_id, by=By(caller, body.reason))
    return ChangedPreferences.after(user_id, receipt)


@router.delete(
    "/users/{user_id}",
    summary="Erase a user: address, name, preferences, enrollments",
    responses={404: {"description": "There is no such user, and never was"}, **INVALID},
)
async def erase(
    user_id: UUID, options: Annotated[ErasureOptions, Query()], parts: Answering, caller: Caller
) -> ErasureOut:
    """Erase a person, cancel what waits and end their workflows. Safe to repeat.

    The ledger keeps its rows, under an id that leads to nobody. Links in e-mails that this person
    has stop working. Storing the user anew brings the id back.
    """
    receipt = await parts.erasure.erase(
        user_id, by=By(caller, options.reason), dry_run=options.dry_run
    )
    return ErasureOut.of(user_id, receipt, dry_run=options.dry_run)
