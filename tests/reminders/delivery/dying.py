"""A process that delivers reminders and is killed, or stopped for a while, at a given step.

`python -m tests.reminders.delivery.dying STEP [SIGNAL]`, with the reminders as JSON on standard
input and the settings in the environment. The signal is `SIGKILL` unless another is named.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from pydantic import TypeAdapter

from reminders import settings
from reminders.delivery.policy import Step
from reminders.domain.contracts import DeliverReminderInput
from tests.reminders.delivery.dispatch import a_pipeline, deliver

REMINDERS = TypeAdapter(list[DeliverReminderInput])


async def main(deadly: Step, blow: signal.Signals) -> None:
    """Deliver until the step is first reached."""
    pending = [deadly]

    def die(reached: Step) -> None:
        if reached in pending:
            pending.clear()
            os.kill(os.getpid(), blow)

    reminders = REMINDERS.validate_json(sys.stdin.buffer.read())
    async with a_pipeline(settings.load(), on_step=die) as pipeline:
        await deliver(pipeline, reminders)


if __name__ == "__main__":
    asyncio.run(main(Step(sys.argv[1]), signal.Signals[(sys.argv[2:] or ["SIGKILL"])[0]]))
