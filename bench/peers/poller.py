"""The practical limit: a hand-written poller that takes a hundred due rows, and posts one batch.

Rows are leased, so that several may run and a crash loses none. No cancelling, no moving, no plan,
nobody to ask why: it only sends, and as fast as the provider takes it.
"""

from __future__ import annotations

import asyncio

from bench.peers import rows
from bench.peers.mail import async_client, message, ready

BATCH = 100
POLL_SECONDS = 0.1
REFUSED_SECONDS = 0.25
"""How long to leave a provider alone that said 429."""

TAKE = """
UPDATE reminders SET leased_until = now() + interval '30 s' WHERE id IN (
    SELECT id FROM reminders
     WHERE sent_at IS NULL AND due_at <= now()
       AND (leased_until IS NULL OR leased_until < now())
     ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, recipient
"""

enroll = rows.enroll


def work() -> None:
    """Poll until killed."""
    asyncio.run(_work())


async def _work() -> None:
    connection = await rows.connected()
    await connection.execute(rows.SCHEMA)
    ready()
    async with async_client() as resend:
        while True:
            taken = sorted(await connection.fetch(TAKE, BATCH), key=lambda row: row["id"])
            if not taken:
                await asyncio.sleep(POLL_SECONDS)
                continue
            ids = [row["id"] for row in taken]
            answer = await resend.post(
                "/emails/batch",
                json=[message(row["recipient"]) for row in taken],
                headers={"Idempotency-Key": f"batch/{ids[0]}-{ids[-1]}-{len(ids)}"},
            )
            if answer.is_success:
                await connection.execute(
                    "UPDATE reminders SET sent_at = now() WHERE id = ANY($1)", ids
                )
                continue
            await connection.execute(
                "UPDATE reminders SET leased_until = NULL WHERE id = ANY($1)", ids
            )
            await asyncio.sleep(REFUSED_SECONDS)
