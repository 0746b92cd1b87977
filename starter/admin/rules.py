"""Reminder rules: which e-mails go out and when; compared before they are changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Self
from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.domain.errors import (
    InvalidInputError,
    ReminderError,
    RuleExistsError,
    RuleNotFoundError,
    SameLeadError,
)
from reminders.domain.model import NOTICES, ReminderRule, Session
from reminders.domain.rules import RuleDiff, RuleFields
from reminders.mail.subject import LONGEST_TEMPLATE, SUBJECT_NAMES
from starter.admin.form import Form
from starter.admin.rendering import render
from starter.admin.routing import Sent, SignedIn, describe, error_page, page_router
from starter.api.routing import Answering
from starter.assembly import Parts
from starter.services.mails import Mails

router = page_router()

_VERBS = ("add", "change", "delete")
_FIRST_SUBJECT = "Reminder: {session_title} starts {time_left}"
"""What a new rule begins with."""


@dataclass(frozen=True, slots=True)
class _RuleForm:
    """A change of a rule as a form says it."""

    verb: str
    reminder_type: str
    session_id: UUID | None
    fields: RuleFields | None
    """Absent when the rule is to be deleted."""

    @classmethod
    def of(cls, form: Form) -> Self:
        """Read a form.

        Raises:
            InvalidInputError: If a field has nothing that it may have.
        """
        verb, session_id = form.text("verb"), form.uuid("session")
        if verb not in _VERBS:
            raise InvalidInputError("is none of add, change and delete", field="verb")
        reminder_type = form.required("reminder_type")
        if verb == "delete":
            return cls(verb, reminder_type, session_id, None)
        fields = RuleFields(
            lead=None
            if reminder_type in NOTICES
            else timedelta(minutes=form.number("minutes_before")),
            is_enabled=form.flag("is_enabled"),
            subject_template=form.required("email_subject_template", longest=LONGEST_TEMPLATE),
            display_name=form.text("display_name") or reminder_type,
            sort_order=form.number("sort_order"),
        )
        return cls(verb, reminder_type, session_id, fields)


@router.get("/rules")
async def rules(request: Request, parts: Answering, session: UUID | None = None) -> Response:
    """The rules for all sessions and those of single ones; or those that count for one session."""
    about = await parts.browser.session(session) if session else None
    found = await parts.rules.of_session(session) if session else await parts.rules.all()
    names = await parts.browser.names(rule.session_id for rule in found)
    return render(request, "rules.html", rules=found, session=about, names=names)


@router.get("/rules/edit")
async def edit(
    request: Request, parts: Answering, reminder_type: str = "", session: UUID | None = None
) -> Response:
    """A form with the rule as it is, or an empty one for a new rule."""
    about = await parts.browser.session(session) if session else None
    rule = await _rule(parts, reminder_type, session) if reminder_type else None
    return _edit_page(request, about, rule)


@router.post("/rules/diff")
async def diff(request: Request, parts: Answering, form: Sent) -> Response:
    """What the change would do, and the subject as people would get it; nothing is stored.

    What cannot be accepted comes back in its form, with what is wrong.
    """
    try:
        change = _RuleForm.of(form)
        found = await _diff(parts, change)
    except (InvalidInputError, RuleExistsError, SameLeadError) as error:
        return await _edit_again(request, parts, form, error)
    mails: Mails = request.app.state.mails
    return render(
        request,
        "rule_diff.html",
        change=change,
        session=await parts.browser.session(change.session_id) if change.session_id else None,
        diff=found,
        values=_values(found.change.after) if change.fields else {},
        seen=_seen(found.change.before),
        subjects={
            "before": await _subject(mails, found.change.before),
            "after": await _subject(mails, found.change.after),
        },
    )


@router.post("/rules/apply")
async def apply(request: Request, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Store the change and tell every workflow that it concerns. Safe to repeat."""
    change, reason = _RuleForm.of(form), form.reason()
    found = await parts.rules.store.proposed(change.reminder_type, change.session_id, change.fields)
    if not found.is_repeated and form.raw("seen") != _seen(found.before):
        return error_page(
            request,
            409,
            "Changed meanwhile",
            "Somebody has changed this rule since you looked. Nothing was stored: look again.",
            back="/rules",
        )
    if change.fields is None:
        receipt = await parts.rules.delete(
            change.reminder_type, change.session_id, by=By(operator.actor, reason)
        )
    else:
        # One that is there just so, because a button was pressed twice, is no conflict.
        is_new = change.verb == "add" and not found.is_repeated
        act = parts.rules.add if is_new else parts.rules.change
        receipt = await act(
            change.reminder_type, change.session_id, change.fields, by=By(operator.actor, reason)
        )
    return render(request, "rule_receipt.html", change=change, receipt=receipt, reason=reason)


def _seen(rule: ReminderRule | None) -> str:
    """What tells a rule from what it is by the time that a change is stored."""
    return sha256(repr(rule).encode()).hexdigest()


async def _diff(parts: Parts, change: _RuleForm) -> RuleDiff:
    """What a change would do.

    Raises:
        InvalidInputError: If the rule could not be stored so.
        RuleExistsError: If one that is to be added is there.
    """
    found = await parts.rules.diff(change.reminder_type, change.session_id, change.fields)
    before = found.change.before
    if change.verb == "add" and before is not None and before.session_id == change.session_id:
        raise RuleExistsError
    return found


def _edit_page(
    request: Request,
    session: Session | None,
    rule: ReminderRule | None,
    *,
    sent: Form | None = None,
    error: ReminderError | None = None,
) -> Response:
    """The form, with the fields as they were sent, or else as the rule has them."""
    values = _values(rule)
    return render(
        request,
        "rule_edit.html",
        http_status=error.status if error else 200,
        rule=rule,
        is_notice=rule is not None and rule.is_notice,
        session=session,
        names=SUBJECT_NAMES,
        longest_subject=LONGEST_TEMPLATE,
        values={name: sent.raw(name) for name in values} if sent else values,
        problem=error and describe(error),
    )


def _values(rule: ReminderRule | None) -> dict[str, str]:
    """What stands in the form's fields: a rule's, or what a new one begins with."""
    return {
        "reminder_type": rule.reminder_type if rule else "",
        "minutes_before": str(rule.lead // timedelta(minutes=1)) if rule else "",
        "is_enabled": "on" if not rule or rule.is_enabled else "",
        "email_subject_template": rule.subject_template if rule else _FIRST_SUBJECT,
        "display_name": rule.display_name if rule else "",
        "sort_order": str(rule.sort_order) if rule else "0",
    }


async def _edit_again(request: Request, parts: Parts, form: Form, error: ReminderError) -> Response:
    session_id = form.uuid("session")
    session = await parts.browser.session(session_id) if session_id else None
    is_new = form.raw("verb") == "add"
    rule = None if is_new else await _rule(parts, form.text("reminder_type"), session_id)
    return _edit_page(request, session, rule, sent=form, error=error)


async def _rule(parts: Parts, reminder_type: str, session_id: UUID | None) -> ReminderRule:
    """The rule that counts.

    Raises:
        RuleNotFoundError: If there is none.
    """
    found = await parts.rules.of_session(session_id)
    rule = next((rule for rule in found if rule.reminder_type == reminder_type), None)
    if rule is None:
        raise RuleNotFoundError(reminder_type)
    return rule


async def _subject(mails: Mails, rule: ReminderRule | None) -> str | None:
    """The subject of a sample e-mail, at the rule's own instant; `None` if it cannot be shown."""
    if rule is None:
        return None
    try:
        return (await asyncio.to_thread(mails.sample, rule)).subject
    except ReminderError as error:
        return f"({error})"
