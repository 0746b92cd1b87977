"""E-mails to look at, one to oneself, and which ones an enrollment would get."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

from fastapi import Query, Request
from pydantic import AliasPath, Field

from reminders.db.audit import By
from reminders.domain.model import Message, ReminderStatus, StatusReason
from starter.api.models import (
    BlankIsAbsent,
    In,
    LocaleName,
    MaybeReason,
    Mirror,
    Out,
    QueryInstant,
    TypeName,
    ZoneName,
)
from starter.api.reminders import decided
from starter.api.routing import (
    BODY,
    CREATED,
    INVALID,
    Answering,
    Caller,
    Documented,
    v1_router,
)

if TYPE_CHECKING:  # they bring the templates along, which most commands start without
    from starter.services.mails import Mails, Scene, TestSent, Wanted
    from starter.services.rehearsal import Rehearsed, Script

router = v1_router("e-mails")

_A_YEAR = 366 * 24 * 60
_MINUTE = timedelta(minutes=1)
_NOTHING: Documented = {404: {"description": "There is no such session, user or rule"}}
_NOT_MADE: Documented = {
    409: {"description": "It cannot be made, or there is no test address; `detail` says the remedy"}
}


class PreviewFilters(In):
    """Which e-mail is meant; of `at`, `minutes_before` and `minutes_late` one at the most."""

    session_id: UUID | None = None
    """Absent means a sample session."""
    user_id: UUID | None = None
    """Absent means a sample attendee."""
    reminder_type: TypeName | None = Field(default=None, examples=["30min"])
    """Absent means the first rule that counts for the session."""
    at: QueryInstant | None = None
    """When it is sent; without any of the three, the rule's own instant."""
    minutes_before: int | None = Field(default=None, ge=0, le=_A_YEAR)
    """How long before the session starts."""
    minutes_late: int | None = Field(default=None, ge=0, le=_A_YEAR)
    """How long after the rule's own instant."""
    locale: Annotated[LocaleName | None, BlankIsAbsent] = Field(default=None, examples=["de-AT"])
    """Of the sample attendee."""
    time_zone: Annotated[ZoneName | None, BlankIsAbsent] = None
    """Of the sample attendee; absent means the session's zone."""

    def wanted(self) -> Wanted:
        """In the words of `starter.services.mails`."""
        from starter.services.mails import Wanted  # noqa: PLC0415 - see above

        before, late = self.minutes_before, self.minutes_late
        return Wanted(
            **self.model_dump(exclude={"minutes_before", "minutes_late", "reason"}),
            before=None if before is None else before * _MINUTE,
            late=None if late is None else late * _MINUTE,
        )


class TestSendBody(PreviewFilters):
    """Which e-mail to send to the test recipient."""

    reason: MaybeReason = None
    """For the audit log."""


class PreviewOut(Out):
    """An e-mail as an attendee would get it, but for links, which lead nowhere."""

    session_id: UUID | None
    """Null for the sample session."""
    reminder_type: str
    at: datetime
    """The instant by which it is worded."""
    start_time: datetime
    """Of the session."""
    sender: str = Field(examples=["Session Reminders <reminders@example.com>"])
    subject: str = Field(examples=["Reminder: Cardiology update starts tomorrow"])
    text: str
    html: str
    headers: dict[str, str]

    @classmethod
    def of(cls, scene: Scene, message: Message, session_id: UUID | None) -> Self:
        """The message as JSON, without the address."""
        return cls(
            session_id=session_id,
            reminder_type=scene.rule.reminder_type,
            at=scene.at,
            start_time=scene.session.starts_at,
            sender=message.sender,
            subject=message.subject,
            text=message.text,
            html=message.html,
            headers=dict(message.headers),
        )


class TestSentOut(Out):
    """A test e-mail that the provider took; it is at `VERIFIED_TEST_EMAIL`."""

    resend_email_id: str
    reminder_type: str
    at: datetime
    """The instant by which it is worded."""
    event_id: int
    """Of its entry in the audit log."""

    @classmethod
    def of(cls, scene: Scene, sent: TestSent) -> Self:
        """The receipt as JSON."""
        return cls(
            resend_email_id=sent.email_id,
            reminder_type=scene.rule.reminder_type,
            at=scene.at,
            event_id=sent.event_id,
        )


class RehearsedReminder(Mirror):
    """One reminder of a rehearsal."""

    reminder_type: str = Field(validation_alias=AliasPath("reminder", "reminder_type"))
    generation: int = Field(validation_alias=AliasPath("reminder", "generation"))
    due_at: datetime = Field(validation_alias=AliasPath("reminder", "due_at"))
    sent_at: datetime | None = Field(validation_alias=AliasPath("reminder", "sent_at"))
    """When the e-mail would go out; absent if none would."""
    subject: str | None
    """As the attendee gets it; `DELIVERY_MODE=redirect` puts their address before it."""
    email_status: ReminderStatus = Field(validation_alias=AliasPath("reminder", "status"))
    status_reason: StatusReason | None = Field(validation_alias=AliasPath("reminder", "reason"))
    decision: str = Field(default_factory=decided)
    """The same in a sentence."""


class RehearsalOut(Out):
    """What an enrollment would get."""

    start_time: datetime
    """Of the session, in the end."""
    time_zone: str
    enrolled_at: datetime
    reminders: list[RehearsedReminder]
    """By the instant that each goes out, or was due."""

    @classmethod
    def of(cls, script: Script, played: Sequence[Rehearsed]) -> Self:
        """What was rehearsed, and what became of it."""
        return cls(
            start_time=script.moves[-1].to if script.moves else script.session.starts_at,
            time_zone=script.session.time_zone,
            enrolled_at=script.enrolled_at,
            reminders=played,
        )


def _mails(request: Request) -> Mails:
    mails: Mails = request.app.state.mails
    return mails


@router.get(
    "/preview",
    summary="An e-mail as it would be sent",
    responses={**_NOTHING, **_NOT_MADE, **INVALID},
)
async def preview(
    filters: Annotated[PreviewFilters, Query()], parts: Answering, request: Request
) -> PreviewOut:
    """Made by the sending's own function: at any moment, for anybody. Links in it lead nowhere."""
    from starter.services.mails import scene  # noqa: PLC0415 - see above

    found = await scene(parts, filters.wanted())
    message = await asyncio.to_thread(_mails(request).preview, found)
    return PreviewOut.of(found, message, filters.session_id)


@router.post(
    "/test-sends",
    status_code=CREATED,
    summary="Send an e-mail to the test recipient",
    responses={
        **_NOTHING,
        **_NOT_MADE,
        **BODY,
        429: {"description": "Five a minute at the most; see `Retry-After`"},
        502: {"description": "The provider did not take it"},
    },
)
async def send_test(
    body: TestSendBody, parts: Answering, caller: Caller, request: Request
) -> TestSentOut:
    """Send it to `VERIFIED_TEST_EMAIL`, and to nobody else. Audited; each call sends one more."""
    from starter.services.mails import scene  # noqa: PLC0415 - see above

    found = await scene(parts, body.wanted())
    sent = await _mails(request).send_test(parts, found, By(caller, body.reason))
    return TestSentOut.of(found, sent)
