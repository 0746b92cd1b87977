"""E-mails to look at, at any moment and to anybody, and sessions and people who do not exist for it.

There is no rendering here: what the composer makes is what is sent, to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from reminders.domain.errors import InvalidInputError, NaiveInstantError
from reminders.domain.model import (
    Attendee,
    DeliveryFacts,
    EnrollmentStatus,
    Message,
    Notice,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
)
from reminders.domain.ports import Composer
from reminders.mail.links import AttendeeLinks

NOBODY = UUID(int=0)
"""The id of whatever does not exist."""

SESSION = Session(
    id=NOBODY,
    title="Sample session",
    starts_at=datetime(2030, 5, 14, 15, tzinfo=UTC),
    ends_at=datetime(2030, 5, 14, 16, 30, tzinfo=UTC),
    time_zone="Europe/Lisbon",
    speaker_name="Dr. Ada Sample",
    location="Lecture Hall B",
    join_url="https://meet.example.org/sample",
    preparation_notes="Please read https://example.org/case.\n\nHave paper and pencil at hand.",
)

OWN_JOIN_URL = "https://meet.example.org/a-link-of-their-own"
"""In place of a person's own link, wherever somebody else looks."""

LINKS = AttendeeLinks(
    google_url="https://calendar.example.org/google",
    outlook_url="https://calendar.example.org/outlook",
    outlook_work_url="https://calendar.example.org/outlook-work",
    ics_url="https://reminders.example.org/calendar/sample.ics",
    webcal_url="webcal://reminders.example.org/calendar/sample.ics",
    stop_url="https://reminders.example.org/stop/sample",
    one_click_url="https://reminders.example.org/stop/sample",
)

RULE = ReminderRule(
    reminder_type="sample",
    lead=timedelta(hours=2),
    is_enabled=True,
    subject_template="Starting Soon: {session_title} in 2 hours",
    display_name="Sample",
    sort_order=0,
)


def sample_attendee(*, locale: str | None = None, time_zone: str | None = None) -> Attendee:
    """A person with a name, an address that belongs to nobody, and this language and zone."""
    return Attendee(
        user_id=NOBODY,
        email="sample.attendee@example.com",
        full_name="Sample Attendee",
        time_zone=time_zone,
        locale=locale,
    )


def facts_about(
    session: Session,
    attendee: Attendee,
    rule: ReminderRule,
    *,
    reminder_id: UUID = NOBODY,
    moved_from: datetime | None = None,
    own_join_url: str | None = None,
    was_called_off: bool = False,
) -> DeliveryFacts:
    """What is true of a reminder at its sending, if these were it."""
    return DeliveryFacts(
        reminder=Reminder(
            id=reminder_id,
            session_id=session.id,
            user_id=attendee.user_id,
            reminder_type=rule.reminder_type,
            generation=1,
            due_at=session.starts_at - rule.lead,
            starts_at=session.starts_at,
            status=ReminderStatus.SCHEDULED,
        ),
        session=session,
        attendee=attendee,
        enrollment_status=EnrollmentStatus.CONFIRMED,
        rule=rule,
        next_due_at=None,
        moved_from=moved_from,
        own_join_url=own_join_url,
        was_called_off=was_called_off,
    )


def notice_rule(notice: Notice) -> ReminderRule:
    """The rule of a notice, for samples."""
    return replace(RULE, reminder_type=notice.value, lead=timedelta())


def sample_facts() -> Iterator[tuple[DeliveryFacts, AttendeeLinks | None, datetime]]:
    """E-mails that between them have, and lack, everything that an e-mail may have.

    Yields:
        The facts, the links beside them, and the instant of rendering.
    """
    bare = Session(id=NOBODY, title="Sample session", starts_at=SESSION.starts_at)
    noted = replace(SESSION, join_url="Ring the bell", ends_at=None)
    abroad = sample_attendee(time_zone="Asia/Tokyo")
    nameless = replace(sample_attendee(), full_name=None)
    yesterday = SESSION.starts_at - timedelta(days=1)
    for left in (timedelta(hours=24), timedelta(hours=2), timedelta(minutes=10)):
        now = SESSION.starts_at - left
        yield facts_about(SESSION, abroad, RULE), LINKS, now
        yield facts_about(SESSION, abroad, RULE, moved_from=yesterday), LINKS, now
        yield facts_about(noted, sample_attendee(), RULE, moved_from=yesterday), None, now
        yield facts_about(bare, nameless, RULE, was_called_off=True), None, now
    now = yesterday
    for notice in Notice:
        told = notice_rule(notice)
        yield facts_about(SESSION, abroad, told, moved_from=yesterday), LINKS, now
        yield facts_about(noted, sample_attendee(), told, moved_from=yesterday), None, now
        yield facts_about(bare, nameless, told, was_called_off=True), None, now


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
            The notice of a move to a sample attendee comes from the day before without one.
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
    if moved_from is None and attendee is None and rule.reminder_type == Notice.MOVED:
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
