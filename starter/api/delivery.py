"""Whether the provider takes e-mails at present, and going on once an operator has acted."""

from __future__ import annotations

from starter.api.answering import BODY, Answering, v1_router
from starter.api.answers.delivery import DeliveryStateOut, ResumedOut
from starter.api.bodies.base import ReasonBody

router = v1_router("delivery")


@router.get("/delivery", summary="Whether the provider takes e-mails, and its quotas")
async def delivery_state(parts: Answering) -> DeliveryStateOut:
    """The hold that keeps all workers from sending, if there is one, and what is left."""
    return DeliveryStateOut.of(await parts.provider.hold(), await parts.provider.quotas())


@router.post(
    "/delivery/resume", summary="Send again: key, sender or quota is mended", responses=BODY
)
async def resume(parts: Answering, body: ReasonBody | None = None) -> ResumedOut:
    """End the hold, so that everything that is still useful goes out. Safe to repeat.

    What waits comes back within a minute, after a used up quota within five. Without this call
    the provider is tried again by itself, as often. If it still refuses, it is held again.
    """
    reason = body.reason if body else None
    return ResumedOut(held_because=await parts.provider.resume(actor="api", reason=reason))
