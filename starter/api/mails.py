"""E-mails to look at, and one to oneself."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends, Query, Request

from starter.api.answering import BODY, CREATED, INVALID, Answering, Documented, v1_router
from starter.api.answers.mails import PreviewOut, TestSentOut
from starter.api.bodies.mails import PreviewFilters, TestSendBody
from starter.services.mails import Mails, scene

router = v1_router("e-mails")

ACTOR = "api"
_NOTHING: Documented = {404: {"description": "There is no such session, user or rule"}}
_NOT_MADE: Documented = {
    409: {"description": "It cannot be made, or there is no test address; `detail` says the remedy"}
}


def _mails(request: Request) -> Mails:
    mails: Mails = request.app.state.mails
    return mails


Composing = Annotated[Mails, Depends(_mails)]


@router.get(
    "/preview",
    summary="An e-mail as it would be sent",
    responses={**_NOTHING, **_NOT_MADE, **INVALID},
)
async def preview(
    filters: Annotated[PreviewFilters, Query()], parts: Answering, mails: Composing
) -> PreviewOut:
    """Made by the sending's own function: at any moment, for anybody. Links in it lead nowhere."""
    found = await scene(parts, filters.wanted())
    message = await asyncio.to_thread(mails.preview, found)
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
async def send_test(body: TestSendBody, parts: Answering, mails: Composing) -> TestSentOut:
    """Send it to `VERIFIED_TEST_EMAIL`, and to nobody else. Audited; each call sends one more."""
    found = await scene(parts, body.wanted())
    sent = await mails.send_test(parts, found, actor=ACTOR, reason=body.reason)
    return TestSentOut.of(found, sent)
