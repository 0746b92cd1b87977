"""The e-mail as it would be sent, at any moment, to anybody.

There is no rendering of its own here: what the composer makes is what is sent, to the byte.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from reminders.domain.errors import InvalidInputError, NaiveInstantError
from reminders.domain.model import Attendee, Message, Notice, ReminderRule, Session
from reminders.domain.ports import Composer
from reminders.mail.samples import NOBODY, OWN_JOIN_URL, facts_about, sample_attendee


def preview(
    composer: Composer,
    *,
    session: Session,
    rule: ReminderRule,
    at: datetime,
    attendee: Attendee | None = None,
    locale: str | None = None,
    time_zone: str | None = None,
    moved_from: datetime | None = None,
    has_own_link: bool = False,
    reminder_id: UUID = NOBODY,
) -> Message:
    """What the composer would hand to the provider at an instant: subject, HTML, text, headers.

    `starts_at - lead` is the rule's own instant; three minutes later shows the e-mail that is late
    by three minutes.

    Args:
        composer: The one that sends, and so in its delivery mode: a redirected preview is addressed
            to the test recipient and has no stop link.
        session: Real or made up; starts at or after `at`.
        rule: Whose subject it gets.
        at: The instant of sending; aware.
        attendee: A real person; absent means a sample one.
        locale: Of the sample attendee.
        time_zone: Of the sample attendee; absent means the session's.
        moved_from: The start that an earlier e-mail named, to see what a moved session gets; aware.
            The notice of a move without one comes from the day before.
        has_own_link: Whether the attendee joins by a link of their own; another one stands for it.
        reminder_id: The ledger row that is previewed; the default belongs to none.

    Raises:
        InvalidInputError: If `at` is naive or after the start, or if an attendee is given together
            with a locale or a zone of a sample.
        InvalidAddressError: As the sending would.
        RenderError: As the sending would.
    """
    if at.utcoffset() is None:
        raise NaiveInstantError("at")
    if moved_from is not None and moved_from.utcoffset() is None:
        raise NaiveInstantError("moved_from")
    if at > session.starts_at:
        raise InvalidInputError(
            "the session has begun at that instant; choose one before"
            f" {session.starts_at.astimezone(UTC).isoformat()}",
            field="at",
        )
    if attendee is not None and (locale or time_zone):
        raise InvalidInputError(
            "locale and time zone are for a sample attendee; leave them out, or the attendee",
            field="locale" if locale else "time_zone",
        )
    if moved_from is None and rule.reminder_type == Notice.MOVED:
        moved_from = session.starts_at - timedelta(days=1)  # somewhere it has to come from
    person = attendee or sample_attendee(locale=locale, time_zone=time_zone)
    facts = facts_about(
        session,
        person,
        rule,
        reminder_id=reminder_id,
        moved_from=moved_from,
        own_join_url=OWN_JOIN_URL if has_own_link else None,
    )
    return composer.compose(facts, now=at)
