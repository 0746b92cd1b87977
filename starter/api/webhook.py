"""Where Resend reports what became of the e-mails. No API key: the signature says who calls."""

from __future__ import annotations

import logging
from contextlib import suppress

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from reminders.domain.errors import ServiceUnavailableError, WebhookSignatureError
from reminders.domain.model import ReminderStatus, WebhookRefusal
from reminders.mail import webhooks
from reminders.observability.metrics import ArrivalMetrics
from reminders.settings import Settings
from starter.api import reading
from starter.api.errors import WebhooksNotConfiguredError
from starter.assembly import Parts

logger = logging.getLogger(__name__)

PATH = "/webhooks/resend"
LARGEST_BODY = 256 * 1024
"""Bytes; events repeat the subject and every recipient, but no e-mail's text."""

_EVENT = {
    "required": True,
    "description": "An event, signed by the headers `svix-id`, `svix-timestamp`, `svix-signature`.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}

router = reading.router(tags=["webhooks"])


class Taken(BaseModel):
    """The event was taken in, is known already, or is of no interest."""


@router.post(
    PATH,
    summary="Take in an event of Resend",
    openapi_extra={"requestBody": _EVENT},
    responses={
        401: {"description": "Not signed with a known secret, or not just now"},
        404: {"description": "No `RESEND_WEBHOOK_SECRET` is set"},
        413: {"description": "The body is larger than 256 KiB"},
        422: {"description": "Signed, and yet no event"},
        503: {"description": "PostgreSQL is away; repeat the same call after `Retry-After`"},
    },
)
async def resend_webhook(request: Request) -> Taken:
    """Bring what became of an e-mail into the ledger. Safe to repeat, in any order.

    A permanent bounce or a complaint stops that person's remaining reminders.
    """
    parts: Parts = request.app.state.parts
    settings: Settings = request.app.state.settings
    secrets = [secret.get_secret_value() for secret in settings.resend_webhook_secret]
    try:
        event = webhooks.verify(await request.body(), request.headers, secrets, parts.clock.now())
    except ClientDisconnect as error:
        raise HTTPException(400, "The body ended early.") from error
    except WebhookSignatureError as error:
        await _note(request.app, error, is_configured=bool(secrets))
        if not secrets:
            msg = "Webhooks are not configured; set RESEND_WEBHOOK_SECRET."
            raise WebhooksNotConfiguredError(msg) from error
        raise
    if event.status is None:
        logger.info("a webhook of type %s is of no interest", event.type)
    elif await parts.provider_events.record(event) and event.status is ReminderStatus.DELIVERED:
        arrivals: ArrivalMetrics = request.app.state.arrivals
        arrivals.delivered(event.occurred_at - (event.accepted_at or event.occurred_at))
    return Taken()


async def _note(app: FastAPI, error: WebhookSignatureError, *, is_configured: bool) -> None:
    """Let logs, metrics and whoever examines know; what is nobody's signature is only counted."""
    why = error.why if is_configured or error.why is None else WebhookRefusal.NO_SECRET
    arrivals: ArrivalMetrics = app.state.arrivals
    arrivals.refused(why)
    logger.warning("a webhook was refused: %s", error.reason if is_configured else "no secret")
    if why is None:
        return
    parts: Parts = app.state.parts
    with suppress(ServiceUnavailableError):  # the caller is refused all the same
        await parts.webhook_refusals.note(why)
