"""Who sleeps on which build of the workers."""

from __future__ import annotations

import typer

from starter.assembly import Parts
from starter.builds import Builds, sleepers
from starter.commands.options import AsJson, show
from starter.terminal.printing import builds as printing
from starter.terminal.running import ask

app = typer.Typer()


@app.command()
def builds(*, as_json: AsJson = False) -> None:
    """Count the sleeping enrollments by the newest build of the workers that has run them."""

    async def counted(parts: Parts) -> Builds:
        return await sleepers(parts.client)

    show(ask(counted), printing.builds, as_json=as_json)
