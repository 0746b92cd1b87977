"""What commands print: tables for people, JSON for programs.

Text that other people typed is shown as it is, never as markup, and without what would steer a
terminal. Addresses are not shown at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from reminders.model import ReminderStatus
from starter.answers.delivery import DeliveryStateOut, ResumedOut
from starter.answers.enrollments import EnrollmentOut, StoryOut
from starter.answers.health import Readiness
from starter.answers.people import ChangedPreferences, ErasureOut, PreferencesOut
from starter.answers.receipts import CancelReceiptOut
from starter.answers.rehearsal import RehearsalOut
from starter.answers.reminders import RedriveOut, ReminderOut, ReminderPageOut
from starter.answers.runs import RunOut, RunPageOut, SweepOut
from starter.answers.sessions import ChangesOut, SessionWithCounts, UnderWayOut
from starter.builds import Builds
from starter.configurations import RuleChangeOut, RuleDiffOut, RuleListOut
from starter.diagnosis import Level
from starter.lookups import (
    CauseListOut,
    EventPageOut,
    OverviewOut,
    RosterPageOut,
    SessionPageOut,
    UserEnrollmentsOut,
    UserIdsOut,
)
from starter.restoring import Reconciled
from starter.terminal import tables

if TYPE_CHECKING:  # they bring the templates along
    from starter.previews import PreviewOut, TestSentOut

_LEVELS = {Level.OK: "ok", Level.WARNING: "warning", Level.RED: "RED"}
_BAR = 40
"""Characters of the longest bar."""
_WIDTH_OF_FILES = 1000
"""Columns where the output is no terminal, so that nothing is cut off."""


def as_json(answer: BaseModel) -> None:
    """One JSON object."""
    print(answer.model_dump_json(indent=2))  # noqa: T201 - what the command is for


def enrollment(answer: EnrollmentOut) -> None:
    """An enrollment's plan."""
    _lines(workflow=answer.workflow_id, run=answer.run_id)
    _table(
        ("reminder", "due (UTC)", "status", "reason", "id"),
        (
            (r.reminder_type, r.due_at, r.email_status, r.status_reason, str(r.id))
            for r in answer.reminders
        ),
    )


def receipt(answer: CancelReceiptOut, *, dry_run: bool) -> None:
    """What was called off, or would be."""
    _table(
        ("would be cancelled" if dry_run else "cancelled", "already sent", "in flight"),
        [(str(answer.cancelled), str(answer.already_sent), str(answer.in_flight))],
    )


def changes(answer: ChangesOut) -> None:
    """What a session's change did."""
    _table(
        ("enrollments", "confirmed", "not confirmed", "cancelled", "already sent", "in flight"),
        [
            tuple(
                str(count)
                for count in (
                    answer.enrollments,
                    answer.replanned,
                    answer.unconfirmed,
                    answer.cancelled,
                    answer.already_sent,
                    answer.in_flight,
                )
            )
        ],
    )


def under_way(answer: UnderWayOut) -> None:
    """Who is at it; the ledger holds already."""
    _lines(
        state="stored, and nothing goes out that it forbids; a worker tells the workflows",
        workflow=answer.workflow_id,
        run=answer.run_id,
    )


def story(answer: StoryOut) -> None:
    """The why of one enrollment."""
    workflow = answer.workflow
    _lines(
        session=f"{answer.session_id}, {answer.session_status}",
        starts=_shown(answer.start_time) + " UTC",
        enrollment=str(answer.enrollment_status),
        workflow=f"{workflow.id}, {workflow.status or 'not known to Temporal'}",
        run=workflow.run_id,
        link=workflow.url,
    )
    _table(
        (
            "reminder",
            "due (UTC)",
            "decision",
            "attempts",
            "sent (UTC)",
            "provider's id",
            "error",
            "id",
        ),
        (
            (
                _with_generation(r),
                r.due_at,
                r.decision,
                str(r.attempts),
                r.sent_at,
                r.resend_email_id,
                r.last_error,
                str(r.id),
            )
            for r in answer.reminders
        ),
    )


def reminders(answer: ReminderPageOut) -> None:
    """A list of reminders."""
    _table(
        ("due (UTC)", "reminder", "status", "reason", "session", "user", "id"),
        (
            (
                r.due_at,
                _with_generation(r),
                r.email_status,
                r.status_reason,
                str(r.session_id),
                str(r.user_id),
                str(r.id),
            )
            for r in answer.items
        ),
    )
    if answer.next_cursor:
        _lines(more=f"--cursor {answer.next_cursor}")


def redrive(answer: RedriveOut) -> None:
    """What a redrive did, or would do."""
    left = ", ".join(f"{why} {count}" for why, count in sorted(answer.left_alone.items()))
    _table(
        ("failed", "would be sent again" if answer.dry_run else "planned again", "left alone"),
        [(str(answer.found), str(answer.resent), left or "0")],
    )


def rules(answer: RuleListOut) -> None:
    """A list of rules."""
    _table(
        ("type", "minutes before", "state", "name", "subject", "only for session"),
        (
            (
                r.reminder_type,
                str(r.minutes_before),
                "on" if r.is_enabled else "off",
                r.display_name,
                r.email_subject_template,
                str(r.session_id) if r.session_id else None,
            )
            for r in answer.items
        ),
    )


def rule_change(answer: RuleChangeOut) -> None:
    """A rule as it is now, and what the change did."""
    if answer.configuration is not None:
        rules(RuleListOut(items=[answer.configuration]))
    else:
        _lines(rule="deleted")
    if answer.changes is not None:
        changes(answer.changes)
    if answer.under_way is not None:
        _lines(
            state="stored, and no old instant fires; workers tell the workflows: reminders runs",
            sessions=f"{answer.under_way.sessions}, of which {answer.under_way.told} are at it",
        )


def rule_diff(answer: RuleDiffOut) -> None:
    """What a change of a rule would do."""
    for sentence in answer.in_words:
        _console().print(Text(sentence), soft_wrap=True)
    _table(
        ("starts (UTC)", "session", "moved", "planned", "skipped", "switched off"),
        (
            (
                s.start_time,
                str(s.session_id),
                str(s.moved),
                str(s.planned),
                ", ".join(f"{why} {count}" for why, count in sorted(s.skipped.items())) or "0",
                str(s.switched_off),
            )
            for s in answer.sessions
        ),
    )
    if answer.more_sessions:
        _lines(more=f"{answer.more_sessions} further sessions")


def session(answer: SessionWithCounts) -> None:
    """A session and its counts."""
    _lines(
        session=str(answer.id),
        title=answer.title,
        starts=_shown(answer.start_time) + f" UTC, announced in {answer.time_zone}",
        status=str(answer.status),
    )
    counted = {status: count for status, count in answer.counts.items() if count}
    _table(("status", "reminders"), ((status, str(n)) for status, n in counted.items()))


def preferences(answer: PreferencesOut) -> None:
    """What a person is not to be reminded of."""
    _lines(user=str(answer.user_id), withheld=", ".join(answer.withheld) or None)
    if not answer.opt_outs:
        _lines(stopped="nothing")
        return
    _table(
        ("not reminded of", "type"),
        (
            (
                str(o.session_id) if o.session_id else "every session",
                o.reminder_type or "every type",
            )
            for o in answer.opt_outs
        ),
    )


def changed_preferences(answer: ChangedPreferences) -> None:
    """Preferences, and what their change did."""
    preferences(answer)
    _table(
        ("skipped", "in flight", "still scheduled"),
        [(str(answer.skipped), str(answer.in_flight), str(answer.scheduled))],
    )


def erasure(answer: ErasureOut) -> None:
    """What was erased, or would be."""
    _table(
        ("would be erased" if answer.dry_run else "erased", ""),
        (
            (name, str(count))
            for name, count in (
                ("workflows ended", answer.workflows),
                ("reminders cancelled", answer.cancelled),
                ("reminders in flight", answer.in_flight),
                ("enrollments", answer.enrollments),
                ("preferences", answer.preferences),
                ("calendar entries", answer.calendar_entries),
                ("webhook events, anonymised", answer.webhook_events),
                ("audit entries, reasons blanked", answer.audit_entries),
                ("ledger rows, anonymised and kept", answer.kept),
            )
        ),
    )
    if answer.already_erased:
        _lines(note="this user was erased before; these are what has come since")
    for sentence in answer.remains:
        _lines(remains=sentence)


def sweep(answer: SweepOut) -> None:
    """A sweep that runs."""
    how = "was started" if answer.started else "was running already"
    _lines(sweep=f"{answer.workflow_id}, {how}", run=answer.run_id)


def run(answer: RunOut) -> None:
    """What one run did."""
    _lines(run=f"{answer.workflow_id}, {answer.status}", link=answer.url)
    kinds = (answer.result or {}).get("results", {})
    _table(
        ("kind", "found", "repaired", "fine", "failed", "reminders", "note"),
        (
            (
                kind,
                *(
                    str(counts.get(n, 0))
                    for n in ("found", "repaired", "unchanged", "failed", "reminders")
                ),
                counts.get("error") or ("stopped early" if counts.get("stopped_early") else ""),
            )
            for kind, counts in kinds.items()
        ),
    )


def runs(answer: RunPageOut) -> None:
    """A list of runs."""
    _table(
        ("started (UTC)", "ended (UTC)", "workflow", "status", "result"),
        (
            (r.started_at, r.closed_at, r.workflow_id, r.status, _totals(r.result))
            for r in answer.items
        ),
    )
    if answer.next_cursor:
        _lines(more=f"--cursor {answer.next_cursor}")


def _totals(result: dict[str, Any] | None) -> str:
    """The counts of a run on one line."""
    counted = (f"{n} {v}" for n, v in (result or {}).items() if isinstance(v, int))
    return ", ".join(counted)


def rehearsal(answer: RehearsalOut) -> None:
    """What would go out, and what would not."""
    _lines(
        session=f"starts {_shown(answer.start_time)} UTC, announced in {answer.time_zone}",
        enrolled=f"{_shown(answer.enrolled_at)} UTC",
    )
    _table(
        ("reminder", "goes out (UTC)", "due (UTC)", "subject, or why not"),
        (
            (
                f"{r.reminder_type} ({r.generation})" if r.generation > 1 else r.reminder_type,
                r.sent_at or "-",
                r.due_at,
                r.subject or r.decision,
            )
            for r in answer.reminders
        ),
    )


def preview(answer: PreviewOut) -> None:
    """An e-mail: its head, and its text."""
    _lines(
        reminder=answer.reminder_type,
        at=f"{_shown(answer.at)} UTC, {_lead(answer.start_time - answer.at)} before the start",
        sender=answer.sender,
        subject=answer.subject,
        **dict(answer.headers),
    )
    console = _console()
    console.print()
    for line in answer.text.splitlines():
        console.print(Text(_shown(line)), soft_wrap=True)


def test_sent(answer: TestSentOut) -> None:
    """What was sent to the test recipient."""
    _lines(
        sent=f"{answer.reminder_type}, as at {_shown(answer.at)} UTC, to VERIFIED_TEST_EMAIL",
        provider=answer.resend_email_id,
        audit=f"entry {answer.event_id}",
    )


def _lead(left: timedelta) -> str:
    """How long before, without zeros: `1 d 2 h 30 min`."""
    minutes = round(left.total_seconds() / 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 min"


def overview(answer: OverviewOut) -> None:
    """How things stand, and a bar an hour."""
    _table(
        ("today: sent", "late", "failed", "waiting", "overdue", "in doubt", "failed, can be sent"),
        [
            tuple(
                str(count)
                for count in (
                    answer.sent_today,
                    answer.late_today,
                    answer.failed_today,
                    answer.waiting,
                    answer.overdue,
                    answer.in_doubt,
                    answer.redrivable,
                )
            )
        ],
    )
    most = max((hour.reminders for hour in answer.next_hours), default=0)
    _table(
        ("hour (UTC)", "due", ""),
        (
            (
                f"{hour.begins_at:%Y-%m-%d %H:00}",
                str(hour.reminders),
                "█" * -(-hour.reminders * _BAR // most) if most else "",
            )
            for hour in answer.next_hours
        ),
    )


def sessions(answer: SessionPageOut) -> None:
    """A list of sessions."""
    _table(
        ("starts (UTC)", "session", "title", "status", "enrolled", "reminders"),
        (
            (s.start_time, str(s.id), s.title, s.status, str(s.enrolled), _by_status(s.counts))
            for s in answer.items
        ),
    )
    _more(answer.next_cursor)


def roster(answer: RosterPageOut) -> None:
    """Who is enrolled in a session."""
    _table(
        ("user", "enrollment", "reminders"),
        (
            (
                str(entry.user_id),
                entry.enrollment_status,
                ", ".join(f"{r.reminder_type} {r.email_status}" for r in entry.reminders),
            )
            for entry in answer.items
        ),
    )
    _more(answer.next_cursor)


def enrollments(answer: UserEnrollmentsOut) -> None:
    """What a person is or was enrolled in."""
    _table(
        ("starts (UTC)", "session", "title", "enrollment", "reminders"),
        (
            (s.start_time, str(s.session_id), s.title, s.enrollment_status, _by_status(s.counts))
            for s in answer.items
        ),
    )


def user_ids(answer: UserIdsOut) -> None:
    """Who was found."""
    _table(("user",), ((str(user_id),) for user_id in answer.items))
    if answer.is_cut:
        _lines(more="there are more; look more precisely")


def failures(answer: CauseListOut) -> None:
    """Failures by cause."""
    _table(
        ("cause", "reminders", "sessions", "can still be sent", "latest due (UTC)", "meaning"),
        (
            (
                c.status_reason or "-",
                str(c.reminders),
                str(c.sessions),
                str(c.redrivable),
                c.newest_due_at,
                c.meaning,
            )
            for c in answer.items
        ),
    )


def events(answer: EventPageOut) -> None:
    """Entries of the audit log."""
    _table(
        ("when (UTC)", "who", "what", "why", "session", "user"),
        (
            (
                e.happened_at,
                e.actor,
                e.action.replace("_", " "),
                e.reason,
                str(e.session_id or ""),
                str(e.user_id or ""),
            )
            for e in answer.items
        ),
    )
    _more(answer.next_cursor)


def _by_status(counts: Mapping[ReminderStatus, int]) -> str:
    return ", ".join(f"{status} {counts[status]}" for status in ReminderStatus if status in counts)


def _more(cursor: str | None) -> None:
    if cursor:
        _lines(more=f"--cursor {cursor}")


def diagnosis(answer: Readiness) -> None:
    """All checks, and what to do."""
    _table(
        ("", "check", "found", "remedy"),
        ((_LEVELS[c.level], c.name, c.detail, c.remedy) for c in answer.checks),
    )
    if answer.cause:
        _lines(cause=answer.cause)


def _with_generation(reminder: ReminderOut) -> str:
    again = f" ({reminder.generation})" if reminder.generation > 1 else ""
    return reminder.reminder_type + again


def _console() -> Console:
    """Made anew: standard output may have been redirected since."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)


def delivery(answer: DeliveryStateOut) -> None:
    """Whether the provider takes e-mails, and its quotas."""
    held = answer.held_because
    _lines(delivery=f"held ({held}), tried again {answer.held_until}" if held else "going on")
    _table(
        ("quota", "used", "limit", "renewed (UTC)", "as of (UTC)"),
        (
            (
                q.name,
                str(q.used),
                "none" if q.limit is None else str(q.limit),
                q.resets_at,
                q.checked_at,
            )
            for q in answer.quotas
        ),
    )


def resumed(answer: ResumedOut) -> None:
    """Whether there was anything to resume."""
    was = answer.held_because
    _lines(delivery=f"goes on; it was held ({was})" if was else "was not held")


def builds(answer: Builds) -> None:
    """Sleepers by the build of the workers that has run them last."""
    _table(
        ("build", "routed by version", "sleepers"),
        ((b.build, "yes" if b.is_versioned else "no", str(b.sleepers)) for b in answer.builds),
    )
    if not answer.is_complete:
        _lines(note="there are more sleepers than were looked at; these are the first of them")


def reconciled(answer: Reconciled) -> None:
    """What became of the reminders that a restored ledger had as pending."""
    _lines(pending=str(answer.looked_at), waiting=str(answer.still_waiting))
    _table(("became", "reminders"), ((name, str(count)) for name, count in answer.ended.items()))


def _lines(**values: str | None) -> None:
    console = _console()
    for name, value in values.items():
        if value is not None:
            console.print(Text(f"{name:<10} {_shown(value)}"), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str | datetime | None]]) -> None:
    """A table, for a command that prints its own."""
    _table(columns, rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str | datetime | None]]) -> None:
    tables.shown(_console(), columns, [[_shown(cell) for cell in row] for row in rows])


def _shown(value: str | datetime | None) -> str:
    """A value for a terminal: instants to the second, no control characters."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "".join(c if c.isprintable() else " " for c in value or "")
