"""What becomes of an accepted e-mail: delivered, or what Resend's test addresses stand for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

Outcome = Literal["delivered", "bounced", "complained", "suppressed"]

_TEST_DOMAIN = "resend.dev"

EVENTS: dict[Outcome, tuple[str, ...]] = {
    "delivered": ("email.sent", "email.delivered"),
    "bounced": ("email.sent", "email.bounced"),
    "complained": ("email.sent", "email.delivered", "email.complained"),
    "suppressed": ("email.suppressed",),
}
"""Webhook events of an outcome, in the order in which they happen."""

_SEVERITY = tuple(EVENTS)

ORIGINS: dict[Outcome, str] = {"bounced": "bounce", "complained": "complaint"}
"""Outcomes that put the address on the suppression list, and the origin it has there."""


def outcome_of(address: str, suppressed: Collection[str]) -> Outcome:
    """What becomes of mail to one bare, lower-case address."""
    if address in suppressed:
        return "suppressed"
    local, _, domain = address.rpartition("@")
    if domain != _TEST_DOMAIN:
        return "delivered"
    # Labels work with all test addresses but `suppressed` (send-test-emails).
    match local.partition("+")[0]:
        case "bounced":
            return "bounced"
        case "complained":
            return "complained"
    return "suppressed" if local == "suppressed" else "delivered"


def worst(outcomes: Collection[Outcome]) -> Outcome:
    """The outcome an e-mail is known by when its recipients had several."""
    return max(outcomes, key=_SEVERITY.index)
