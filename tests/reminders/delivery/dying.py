"""A process that delivers reminders and is killed at a given step, as a power failure would.

`python -m tests.reminders.delivery.dying STEP`, with the reminders as JSON on standard input and
the settings in the environment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from pydantic import TypeAdapter

from reminders import settings
from reminders.contracts import DeliverReminderInput
from reminders.delivery.policy import Step
from tests.reminders.delivery.dispatch import a_pipeline, deliver

REMINDERS = TypeAdapter(list[DeliverReminderInput])


async def main(deadly: Step) -> None:
    """Deliver until the step is reached."""

    def die(reached: Step) -> None:
        if reached is deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    reminders = REMINDERS.validate_json(sys.stdin.buffer.read())
    async with a_pipeline(settings.load(), on_step=die) as pipeline:
        await deliver(pipeline, reminders)


if __name__ == "__main__":
    asyncio.run(main(Step(sys.argv[1])))
