"""Whether the provider takes e-mails at present, and going on once an operator has acted."""

from __future__ import annotations

import typer

from starter.api.operation import DeliveryStateOut, ResumedOut
from starter.assembly import Parts
from starter.cli.options import ACTOR, AsJson, Reason, show
from starter.cli.printing import delivery as printing
from starter.cli.running import ask

app = typer.Typer()
_delivery = typer.Typer(no_args_is_help=True, help="The provider: held or not, and its quotas.")
app.add_typer(_delivery, name="delivery")


@_delivery.command("show")
def show_delivery(*, as_json: AsJson = False) -> None:
    """Say whether the provider takes e-mails at present, and how much of its quotas is left."""

    async def told(parts: Parts) -> DeliveryStateOut:
        return DeliveryStateOut.of(await parts.provider.hold(), await parts.provider.quotas())

    show(ask(told), printing.delivery, as_json=as_json)


@_delivery.command()
def resume(
    reason: Reason = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Send again, now that key, sender or quota is mended: ends the hold for every worker."""

    async def resumed(parts: Parts) -> ResumedOut:
        return ResumedOut(held_because=await parts.provider.resume(actor=ACTOR, reason=reason))

    show(ask(resumed), printing.resumed, as_json=as_json)
