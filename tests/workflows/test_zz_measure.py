"""Measure."""
import time, asyncio
from datetime import timedelta
from dataclasses import replace
from tests.workflows.test_session_change import *
async def test_measure(stage):
    """M."""
    n=500
    session = await stage.session(starts_in=25 * HOUR)
    t=time.monotonic(); slots=asyncio.Semaphore(20)
    users=[await stage.attendee() for _ in range(n)]
    print("attendees", time.monotonic()-t); t=time.monotonic()
    async def one(u):
        async with slots: await stage.gateway.enroll(session.id,u)
    await asyncio.gather(*(one(u) for u in users))
    print("enroll", time.monotonic()-t); t=time.monotonic()
    moved = replace(session, starts_at=session.starts_at + HOUR)
    _, r = await stage.gateway.put_session(moved, wait=PATIENCE)
    print("move", time.monotonic()-t, r); t=time.monotonic()
    r = await stage.gateway.session_changed(session.id, wait=PATIENCE)
    print("nothing", time.monotonic()-t, r); t=time.monotonic()
    t=time.monotonic()
    for u in users: await stage.planner.replan(session.id,u)
    print("replan only", time.monotonic()-t); t=time.monotonic()
    r = await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    print("cancel", time.monotonic()-t, r); t=time.monotonic()
    await eventually(lambda: none_runs(stage, session), within=PATIENCE)
    print("ended", time.monotonic()-t); t=time.monotonic()
