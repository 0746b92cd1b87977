"""What the templates of a notice show: the session as a reminder would, and what is new."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from reminders.domain.model import Attendee, Session
from reminders.mail.links import AttendeeLinks
from reminders.mail.locales import first_known_zone
from reminders.mail.notice_wording import News
from reminders.mail.plain_text import shortened
from reminders.mail.view import SUBJECT_TITLE, MailView, appointment
from reminders.mail.wording import Urgency, Wording


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticeView(MailView):
    """Everything the templates of a notice may show: plain text, not escaped."""

    news: News


def notice_view(
    view: MailView,
    news: News,
    *,
    session: Session,
    attendee: Attendee,
    moved_from: datetime | None,
    words: Wording,
    links: AttendeeLinks | None,
) -> NoticeView:
    """What a notice shows.

    Args:
        view: What a reminder of the session would show at this instant.
        news: What it tells.
        session: Of the notice.
        attendee: Who reads it.
        moved_from: The start that they knew until now, if it is another one; aware.
        words: In the attendee's language.
        links: Absent where there is no public address.
    """
    tone, labels = words.news[news], words.labels
    own, home = (
        first_known_zone(attendee.time_zone, session.time_zone),
        first_known_zone(session.time_zone),
    )
    is_cancelled = news is News.CANCELLED
    if is_cancelled and moved_from is not None:
        # It was moved, and cancelled before anybody was told: they know the time of before.
        session = replace(session, starts_at=moved_from, ends_at=None)
    starts = session.starts_at.astimezone(own)
    differs = session.starts_at.astimezone(home).utcoffset() != starts.utcoffset()
    when = appointment(words, session.starts_at, session.ends_at, own)
    before = None if is_cancelled or news is News.CONFIRMED else view.moved_from
    was_elsewhere = (
        before is not None
        and moved_from is not None
        and (moved_from.astimezone(home).utcoffset() != moved_from.astimezone(own).utcoffset())
    )
    replaces = news is not News.CONFIRMED
    # Who has the entry needs it changed, not once more; that is what the file does.
    calendars = ((labels.calendar_file, links.ics_url),) if links and replaces else view.calendars
    fields = {name: getattr(view, name) for name in MailView.__slots__}
    fields |= {
        "subject": tone.subject.format(
            title=shortened(view.title, SUBJECT_TITLE),
            date=words.formats.date(starts),
            time=words.formats.clock_time(starts),
        ),
        "header": tone.header,
        "announcement": tone.announcement,
        "advice": tone.advice,
        "start_date": words.formats.date(starts),
        "start_time": words.formats.clock_time(starts),
        "weekday": words.formats.short_weekday(starts),
        "day": str(starts.day),
        "month": words.formats.short_month(starts),
        "when": when,
        "elsewhere": (
            appointment(words, session.starts_at, session.ends_at, home) if differs else None
        ),
        "moved_from": (
            appointment(words, moved_from, None, own) if before and moved_from else None
        ),
        "join_url": "" if is_cancelled else view.join_url,
        "details": tuple(
            row for row in view.details if not (is_cancelled and row[0] == labels.join)
        ),
        "notes": view.notes if news is News.CONFIRMED else (),
        "notes_html": view.notes_html if news is News.CONFIRMED else None,
        "calendars": calendars,
        "calendar_label": labels.calendar_update if replaces else labels.calendar,
        "is_struck": is_cancelled,
        "moved_from_elsewhere": (
            appointment(words, moved_from, None, home) if was_elsewhere and moved_from else None
        ),
        "call_to_action": words.tones[Urgency.CALM].call_to_action,
    }
    return NoticeView(**fields, news=news)
