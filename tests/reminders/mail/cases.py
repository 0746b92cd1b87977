"""Sessions and attendees to write e-mails about, with defaults that read as prose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from reminders.domain.model import (
    Attendee,
    DeliveryFacts,
    EnrollmentStatus,
    Message,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
)
from reminders.mail.links import AttendeeLinks
from reminders.mail.render import MailRenderer, RenderedMail

REMINDER_ID = UUID("11111111-1111-4111-8111-111111111111")
SESSION_ID = UUID("22222222-2222-4222-8222-222222222222")
USER_ID = UUID("33333333-3333-4333-8333-333333333333")

FULL = Session(
    id=SESSION_ID,
    title="Managing Atrial Fibrillation: what's new & why",
    starts_at=datetime(2026, 12, 1, 15, tzinfo=UTC),
    ends_at=datetime(2026, 12, 1, 16, 30, tzinfo=UTC),
    time_zone="Europe/Lisbon",
    speaker_name="Dr. Inês Carvalho",
    location="Lecture Hall B",
    join_url="https://meet.uni.example/j/82719?pwd=Zk1a&lang=en",
    preparation_notes="Please read the case report (3 pages).\r\n\r\n\r\nHave an ECG ruler at hand.",
)
BARE = Session(
    id=SESSION_ID, title="Journal club", starts_at=FULL.starts_at, time_zone="Europe/Lisbon"
)
ANA = Attendee(
    user_id=USER_ID,
    email="ana@uni.edu",
    full_name="Ana Sousa",
    time_zone="Europe/Lisbon",
    locale="en-GB",
)
LINKS = AttendeeLinks(
    google_url="https://calendar.google.example/render?text=AF&dates=20261201T150000Z",
    outlook_url="https://outlook.example/compose?subject=AF&startdt=2026-12-01T15:00:00Z",
    outlook_work_url="https://work.example/compose?subject=AF&startdt=2026-12-01T15:00:00Z",
    ics_url="https://reminders.uni.example/calendar/c4.ics",
    webcal_url="webcal://reminders.uni.example/calendar/c4.ics",
    stop_url="https://reminders.uni.example/stop/t0k3n",
    one_click_url="https://reminders.uni.example/stop/t0k3n?one-click",
)


class FixedLinks:
    """The same links for everybody; a `LinkMaker`."""

    def links(self, session: Session, user_id: UUID) -> AttendeeLinks:
        """The links."""
        return LINKS


RENDERER = MailRenderer()
LINKED = MailRenderer(links=FixedLinks())


def short_id(value: str | None) -> str:
    """A test id for a text that is too long or too strange for one."""
    return ascii(value)[:40]


def rule(lead: timedelta, subject_template: str = "Reminder: {session_title}") -> ReminderRule:
    """A reminder rule."""
    return ReminderRule(
        reminder_type="any",
        lead=lead,
        is_enabled=True,
        subject_template=subject_template,
        display_name="Any",
        sort_order=1,
    )


def facts(
    *,
    session: Session = FULL,
    attendee: Attendee = ANA,
    reminder_rule: ReminderRule | None = None,
    moved_from: datetime | None = None,
) -> DeliveryFacts:
    """What is true of a reminder about to be sent."""
    reminder_rule = reminder_rule or rule(timedelta(hours=2))
    return DeliveryFacts(
        reminder=Reminder(
            id=REMINDER_ID,
            session_id=SESSION_ID,
            user_id=USER_ID,
            reminder_type=reminder_rule.reminder_type,
            generation=1,
            due_at=session.starts_at - reminder_rule.lead,
            starts_at=session.starts_at,
            status=ReminderStatus.SCHEDULED,
        ),
        session=session,
        attendee=attendee,
        enrollment_status=EnrollmentStatus.CONFIRMED,
        rule=reminder_rule,
        next_due_at=None,
        moved_from=moved_from,
    )


def message(number: int = 1, **changes: object) -> Message:
    """A composed e-mail; equal numbers give equal e-mails."""
    email = Message(
        reminder_id=UUID(int=number),
        sender="Reminders <reminders@uni.example>",
        to=f"person{number}@uni.edu",
        subject="Starting Soon: Saúde — “now” \u2028 🩺",
        html="<p>Olá & 'bye'</p>\n",
        text="Olá\n",
        headers=(("X-Entity-Ref-ID", str(UUID(int=number))),),
    )
    return replace(email, **changes)  # type: ignore[arg-type]


def mail(
    left: timedelta = timedelta(hours=2),
    *,
    session: Session = FULL,
    attendee: Attendee = ANA,
    reminder_rule: ReminderRule | None = None,
    moved_from: datetime | None = None,
    renderer: MailRenderer = RENDERER,
) -> RenderedMail:
    """The e-mail about a session that starts in `left`."""
    delivery = facts(
        session=session, attendee=attendee, reminder_rule=reminder_rule, moved_from=moved_from
    )
    return renderer.render(delivery, now=session.starts_at - left)


@dataclass
class FixedClock:
    """A clock that stands still."""

    at: datetime = datetime(2026, 11, 23, 18, 15, tzinfo=UTC)

    def now(self) -> datetime:
        """The instant it stands at."""
        return self.at
