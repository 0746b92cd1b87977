"""Reminder rules, and what a change of one does."""

from __future__ import annotations

from starter.api.rules import RuleChangeOut, RuleDiffOut, RuleListOut
from starter.cli import layout
from starter.cli.printing import receipts


def rules(answer: RuleListOut) -> None:
    """A list of rules."""
    layout.table(
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
        layout.lines(rule="deleted")
    if answer.changes is not None:
        receipts.changes(answer.changes)
    if answer.under_way is not None:
        layout.lines(
            state="stored, and no old instant fires; workers tell the workflows: reminders runs",
            sessions=f"{answer.under_way.sessions}, of which {answer.under_way.told} are at it",
        )


def rule_diff(answer: RuleDiffOut) -> None:
    """What a change of a rule would do."""
    for sentence in answer.in_words:
        layout.sentence(sentence)
    layout.table(
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
        layout.lines(more=f"{answer.more_sessions} further sessions")
