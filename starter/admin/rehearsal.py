"""A rehearsal: which e-mails an enrollment would get, played by the real workflow.

In a process of its own, as `reminders rehearse`: it starts a Temporal server and a worker, which an
API that answers requests has no business with. One at a time, and no longer than a minute.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

from fastapi import Request, Response

from reminders.embedded.process import EmbeddedServerError
from reminders.embedded.temporal import find_temporal
from reminders.errors import ConflictError, InvalidInputError
from reminders.model import SessionStatus
from starter.admin.form import Form
from starter.admin.guard import Answering, Sent, pages
from starter.admin.view import render
from starter.answers.rehearsal import RehearsalOut

router = pages()

LONGEST = 60
"""Seconds; a rehearsal takes a few."""
_ONE_AT_A_TIME = asyncio.Lock()
_COMMAND = "from starter.cli import main; main()"


@router.get("/rehearsal")
async def rehearsal_page(request: Request, session: UUID | None = None) -> Response:
    """What to rehearse; or that this machine has no server to do it on."""
    return render(
        request, "rehearsal.html", session=session or "", user="", missing=_missing(), played=None
    )


@router.post("/rehearsal")
async def rehearse(request: Request, parts: Answering, form: Sent) -> Response:
    """Play it, and show every e-mail with its instant and its subject. Nothing is sent."""
    session, user = _uuid(form, "session"), _uuid(form, "user")
    if session is None:
        raise InvalidInputError("must be filled in", field="session")
    if (await parts.catalogue.session(session)).status is SessionStatus.CANCELLED:
        msg = "The session is cancelled, so nobody is reminded; hold it after all, then rehearse."
        raise ConflictError(msg)
    if user is not None:
        await parts.catalogue.user(user)
    if (missing := _missing()) is not None:
        raise ConflictError(missing)
    if _ONE_AT_A_TIME.locked():
        raise ConflictError("Another rehearsal is under way; come again in a minute.")
    async with _ONE_AT_A_TIME:
        played = await _played(session, user)
    return render(
        request, "rehearsal.html", session=session, user=user or "", missing=None, played=played
    )


async def _played(session: UUID, user: UUID | None) -> RehearsalOut:
    """What the command answers.

    Raises:
        ConflictError: If it fails, in its own words, or takes too long.
    """
    words = ["rehearse", str(session), "--json", *(["--user", str(user)] if user else [])]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _COMMAND,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LONGEST):
            answer, complaint = await process.communicate()
    except TimeoutError:
        msg = f"It took longer than {LONGEST} s; try `reminders rehearse` in a terminal."
        raise ConflictError(msg) from None
    finally:
        if process.returncode is None:
            process.terminate()  # it ends its server, too
            await process.wait()
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["it failed"]
        raise ConflictError(lines[-1].removeprefix("reminders: "))
    return RehearsalOut.model_validate_json(answer)


def _missing() -> str | None:
    """Why it cannot be done on this machine; `None` if it can."""
    try:
        find_temporal()
    except EmbeddedServerError as error:
        return str(error)
    return None


def _uuid(form: Form, name: str) -> UUID | None:
    text = form.text(name)
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidInputError("is no id", field=name) from error
