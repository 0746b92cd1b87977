"""Enroll, cancel, and ask why."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from reminders.domain.errors import InvalidInputError
from starter.cli import tables
from starter.cli.options import (
    CHANGE_WAIT,
    AsJson,
    DryRun,
    ExitCode,
    Reason,
    Session,
    TellNobody,
    User,
    Yes,
    ask,
    by,
    fail,
    only_counted,
    show,
    show_named,
)
from starter.cli.progress import bar, waited_for
from starter.cli.reminders import with_generation
from starter.cli.sessions import print_under_way

if TYPE_CHECKING:
    from reminders.db.lookups import Names
    from reminders.domain.errors import ReminderError
    from starter.api.enrollments import EnrolleeBody, EnrollmentOut, EnrollmentsOut, StoryOut
    from starter.api.sessions import CancelReceiptOut
    from starter.assembly import Parts
    from starter.services.receipts import Enrolled

app = typer.Typer()


@app.command()
def enroll(
    session: Session,
    user: Annotated[
        UUID | None, typer.Argument(metavar="USER", help="Id of the user; absent with --from.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Enroll everybody in this file, CSV with a header or JSON lines, with the fields"
            " user_id, enrollment_id, status, join_url; `-` is standard input.",
        ),
    ] = None,
    skip: Annotated[
        int, typer.Option(min=0, metavar="N", help="With --from: go on behind so many entries.")
    ] = 0,
    *,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Enroll a user, or everybody in a file: plan the reminders, start the workflows. Safe to repeat."""
    from starter.api.enrollments import EnrollmentOut

    if (user is None) == (source is None):
        msg = "name either one USER or a file with --from"
        raise typer.BadParameter(msg)
    if skip and user is not None:
        msg = "goes with --from"
        raise typer.BadParameter(msg, param_hint="--skip")
    if user is None:
        _enroll_many(session, source or "", skip=skip, reason=reason, as_json=as_json)
        return
    enrolled = ask(lambda parts: parts.gateway.enroll(session, user, by=by(reason), by_hand=True))
    show(EnrollmentOut.of(enrolled), _print_enrollment, as_json=as_json)


def _enroll_many(
    session: UUID, source: str, *, skip: int, reason: str | None, as_json: bool
) -> None:
    """Enroll everybody in a file, a thousand at a time, and say where to go on after a break."""
    import asyncio

    from reminders.db.audit import Action
    from reminders.domain.errors import InvalidInputError, ServiceUnavailableError
    from starter.api.enrollments import AT_MOST, EnrollmentsOut

    try:
        roster = read_roster(source)
    except InvalidInputError as error:
        fail(error)
    if skip > len(roster):
        msg = f"--skip {skip} is more than the {len(roster)} entries that there are"
        fail(InvalidInputError(msg, field="--skip"))
    entries = roster[skip:]

    async def enrolled(parts: Parts) -> EnrollmentsOut:
        answers: list[Enrolled | ReminderError] = []
        people = [entry.enrollee() for _, entry in entries]
        try:
            with bar("enrollments", len(people), quiet=as_json) as shown:
                while len(answers) < len(people):
                    some = people[len(answers) : len(answers) + AT_MOST]
                    answers += await parts.gateway.enroll_many(
                        session, some, by(reason), on_progress=shown.advance
                    )
        except (ServiceUnavailableError, asyncio.CancelledError):
            done = skip + len(answers)
            typer.echo(f"reminders: {done} entries are done; go on with --skip {done}", err=True)
            raise
        found = EnrollmentsOut.of(people, answers)
        counts = found.model_dump(include={"enrolled", "unchanged", "refused"})
        event = by(reason).did(Action.ENROLLED, session_id=session, details=counts)
        await parts.audit.record(event)
        return found

    found = ask(enrolled)
    show(found, lambda answer: _print_many(answer, [line for line, _ in entries]), as_json=as_json)
    if found.refused:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def cancel(
    session: Session,
    user: Annotated[
        UUID | None, typer.Argument(metavar="USER", help="Only this user's enrollment.")
    ] = None,
    *,
    reason: Reason = None,
    tell_nobody: TellNobody = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a whole session with all its pending reminders, or unenroll one user."""
    from starter.api.sessions import CancelReceiptOut, UnderWayOut

    receipt = only_counted(
        lambda parts: parts.gateway.expected(session, user),
        lambda counts: (
            f"Cancel “{_title(session)}” and its {counts.cancelled} pending reminders,"
            f" and tell {'nobody' if tell_nobody or not counts.told else counts.told}?"
        ),
        dry_run=dry_run,
        yes=yes or user is not None,
    )
    if receipt is None and user is not None:
        receipt = ask(lambda parts: parts.gateway.unenroll(session, user, by(reason)))
    elif receipt is None:
        change = waited_for(
            lambda parts: parts.gateway.cancel_session(
                session, by(reason), tell_nobody=tell_nobody, wait=CHANGE_WAIT
            ),
            session,
            quiet=as_json,
        )
        if not change.is_done:
            show(UnderWayOut.of(change), print_under_way, as_json=as_json)
            return
        receipt = change.reminders
    show(
        CancelReceiptOut.of(receipt),
        lambda answer: _print_cancelled(answer, dry_run=dry_run),
        as_json=as_json,
    )


def _title(session: UUID) -> str:
    return tables.plain(ask(lambda parts: parts.browser.session(session)).title)


@app.command()
def why(session: Session, user: User, *, as_json: AsJson = False) -> None:
    """Explain why a user was, will be or was not reminded of a session."""
    from starter.api import enrollments

    show_named(
        lambda p: enrollments.why(session, user, p),
        _print_story,
        lambda story: [story],
        as_json=as_json,
    )


def _print_enrollment(answer: EnrollmentOut) -> None:
    """An enrollment's plan."""
    tables.lines(
        session=str(answer.session_status),
        enrollment=str(answer.enrollment_status),
        workflow=answer.workflow_id,
        run=answer.run_id,
    )
    tables.table(
        {
            "reminder": r.reminder_type,
            "due (UTC)": r.due_at,
            "status": r.email_status,
            "reason": r.status_reason,
            "id": r.id,
        }
        for r in answer.reminders
    )


def _print_many(answer: EnrollmentsOut, lines: Sequence[int]) -> None:
    """How many were enrolled, and who was not."""
    tables.row(
        {"enrolled": answer.enrolled, "unchanged": answer.unchanged, "refused": answer.refused}
    )
    if answer.refused:
        tables.table(
            {"line": line, "user": one.user_id, "refused because": one.error.detail}
            for line, one in zip(lines, answer.enrollments, strict=True)
            if one.error
        )


def _print_cancelled(answer: CancelReceiptOut, *, dry_run: bool) -> None:
    """What was cancelled, or would be."""
    tables.row(
        {
            "would be cancelled" if dry_run else "cancelled": answer.cancelled,
            "already sent": answer.already_sent,
            "in flight": answer.in_flight,
            "would be told" if dry_run else "told": answer.told,
        }
    )


def _workflow_status(status: str | None) -> str:
    from starter.services.receipts import UNKNOWN

    if status == UNKNOWN:
        return "status unknown: Temporal does not answer"
    return status or "not known to Temporal (any more)"


def _print_story(answer: StoryOut, names: Names) -> None:
    """The why of one enrollment."""
    workflow = answer.workflow
    tables.lines(
        session=f"{answer.session_id}, {answer.session_status}",
        title=names.sessions.get(answer.session_id),
        user=str(answer.user_id),
        name=names.people.get(answer.user_id),
        starts=f"{tables.plain(answer.start_time)} UTC",
        enrollment=str(answer.enrollment_status),
        workflow=f"{workflow.id}, {_workflow_status(workflow.status)}",
        run=workflow.run_id,
        link=workflow.url,
        reminders=(
            f"none{' but notices' if answer.reminders else ''}: {answer.nothing_planned}"
            if answer.nothing_planned
            else None
        ),
    )
    if not answer.reminders:
        return
    tables.table(
        {
            "reminder": with_generation(r),
            "due (UTC)": r.due_at,
            "decision": r.decision,
            "attempts": r.attempts,
            "sent (UTC)": r.sent_at,
            "provider's id": r.resend_email_id,
            "error": r.last_error,
            "id": r.id,
        }
        for r in answer.reminders
    )


MOST = 200_000
"""Entries of one file, all of which are looked at before anybody is enrolled."""
_SHOWN = 10
"""Lines that are wrong, at the most, of which the error tells."""
_OPTION = "--from"


def read_roster(name: str) -> Sequence[tuple[int, EnrolleeBody]]:
    """Who is to be enrolled, as a file says it: CSV or JSON lines, with the fields of the HTTP API.

    Args:
        name: Of the file; `-` is standard input.

    Returns:
        The entries, each with the number of the line that it ends on.

    Raises:
        InvalidInputError: If it cannot be read, or a line is wrong: names lines and fields, and no
            value.
    """
    from pydantic import ValidationError

    from starter.api.enrollments import EnrolleeBody

    found: list[tuple[int, EnrolleeBody]] = []
    wrong: list[str] = []
    try:
        source = nullcontext(sys.stdin) if name == "-" else _opened(name)
        with source as file:
            for line, entry in _entries(file):
                try:
                    found.append((line, EnrolleeBody.model_validate(entry)))
                except ValidationError as error:
                    first = error.errors()[0]
                    where = ".".join(str(part) for part in first["loc"]) or "the line"
                    wrong.append(f"line {line}: {where}: {first['msg']}")
                if len(found) > MOST:
                    raise InvalidInputError(
                        f"{name} has more than {MOST} entries; split it", field=_OPTION
                    )
                if len(wrong) == _SHOWN:
                    break
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInputError(f"{name} cannot be read: {reason}", field=_OPTION) from None
    if wrong:
        raise InvalidInputError(f"{name}: {'; '.join(wrong)}", field=_OPTION)
    if not found:
        raise InvalidInputError(f"{name} has no entries", field=_OPTION)
    return found


def _opened(name: str) -> IO[str]:
    return Path(name).open(encoding="utf-8-sig", newline="")


def _entries(file: IO[str]) -> Iterator[tuple[int, Any]]:
    """Each entry as it stands there; of CSV, empty cells are absent."""
    first = next(file, "")
    if first.lstrip().startswith(("{", "[")):
        yield from _json(chain([first], file))
        return
    columns = next(csv.reader([first]), [])
    rows = csv.DictReader(file, [column.strip() for column in columns], strict=True)
    for row in rows:
        # What stands beyond the last column has no name: it is refused by the one it gets here.
        cells = {name or "beyond the columns": str(cell or "") for name, cell in row.items()}
        filled = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
        yield 1 + rows.reader.line_num, filled


def _json(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    from pydantic_core import from_json

    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = from_json(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise InvalidInputError(
                f"line {number} is no JSON object; write one object a line", field=_OPTION
            )
        yield number, entry
