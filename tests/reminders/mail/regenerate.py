"""Writes the golden mails anew: `python -m tests.reminders.mail.regenerate`.

Then read the difference: it is what attendees will see change. Every case has its headers and its
text part; those that differ in their make-up have their HTML as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reminders.domain.model import Attendee, DeliveryFacts, Message, Notice, ReminderRule, Session
from reminders.mail.addressing import DeliveryMode
from reminders.mail.branding import Branding
from reminders.mail.compose import MailComposer
from reminders.mail.render import MailRenderer
from tests.reminders.mail.cases import ANA, BARE, FULL, LINKED, RENDERER, FixedLinks, facts, rule

GOLDEN = Path(__file__).parent / "golden"

TOMORROW = rule(timedelta(hours=24), "Reminder: {session_title} starts tomorrow")
SOON = rule(timedelta(hours=2), "Starting Soon: {session_title} in 2 hours")
HALF_HOUR = rule(timedelta(minutes=30), "Starting Now: {session_title} begins in 30 minutes")
"""Half an hour is not now, whatever the subject says that every installation begins with."""
NOW = rule(timedelta(minutes=10), "Starting Now: {session_title} begins {time_left}")
RULES = {"calm": TOMORROW, "soon": SOON, "half_hour": HALF_HOUR, "now": NOW}
PEOPLE = {
    "en": replace(ANA, locale="en", time_zone="America/Los_Angeles"),
    "de": replace(ANA, locale="de-AT", time_zone="Europe/Vienna"),
    "es": replace(ANA, locale="es_MX.UTF-8", time_zone="America/Mexico_City"),
    "fr": replace(ANA, locale="fr", time_zone="Asia/Tokyo"),
}
DST_SUNDAY = replace(
    BARE,
    title="Grand rounds",
    starts_at=datetime(2026, 11, 1, 9, 30, tzinfo=UTC),
    ends_at=datetime(2026, 11, 1, 10, 30, tzinfo=UTC),
    time_zone="America/New_York",
)
"""New York and Los Angeles have put their clocks back in this night: 01:30 comes a second time."""

BRANDED = MailRenderer(
    links=FixedLinks(),
    brand=Branding(
        product_name="Faculty of Medicine",
        logo_url="https://uni.example/logo.png",
        postal_address="Av. Prof. Egas Moniz, 1649-028 Lisbon, Portugal",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One e-mail to look at."""

    facts: DeliveryFacts
    left: timedelta
    """Until the start, at the instant of rendering."""
    renderer: MailRenderer = LINKED
    mode: DeliveryMode = DeliveryMode.LIVE
    has_html: bool = False
    """Whether its HTML is kept, too."""


def _case(
    reminder_rule: ReminderRule,
    attendee: Attendee = ANA,
    session: Session = FULL,
    *,
    left: timedelta | None = None,
    moved_from: datetime | None = None,
    renderer: MailRenderer = LINKED,
    mode: DeliveryMode = DeliveryMode.LIVE,
    has_html: bool = False,
) -> Case:
    return Case(
        facts=facts(
            session=session, attendee=attendee, reminder_rule=reminder_rule, moved_from=moved_from
        ),
        left=reminder_rule.lead if left is None else left,
        renderer=renderer,
        mode=mode,
        has_html=has_html,
    )


NEWS = {
    Notice.CANCELLED: "Cancelled: {session_title} on {start_date}, {start_time}",
    Notice.MOVED: "New time for {session_title}: {start_date}, {start_time}",
    Notice.CONFIRMED: "Confirmed: {session_title} on {start_date}, {start_time}",
}
"""The subjects that a new installation has."""


def _notices() -> Iterator[tuple[str, Case]]:
    """Every notice in every language, a week before the session; and what may be missing."""
    week, earlier = timedelta(days=7), FULL.starts_at - timedelta(days=1, hours=2)

    def notice(kind: Notice, person: Attendee = ANA, session: Session = FULL, **facts: Any) -> Case:
        told = replace(rule(timedelta(), NEWS[kind]), reminder_type=kind.value)
        case = _case(told, person, session, left=week, moved_from=facts.pop("moved_from", None))
        return replace(
            case,
            facts=replace(case.facts, **facts),
            has_html=person is PEOPLE["en"] or person is PEOPLE["de"],
        )

    for language, person in PEOPLE.items():
        yield f"{language}_notice_cancelled", notice(Notice.CANCELLED, person)
        yield f"{language}_notice_moved", notice(Notice.MOVED, person, moved_from=earlier)
        after_all = notice(Notice.MOVED, person, was_called_off=True)
        yield f"{language}_notice_after_all", replace(after_all, has_html=False)
        confirmed = notice(Notice.CONFIRMED, person)
        yield f"{language}_notice_confirmed", replace(confirmed, has_html=language == "en")
    bare = replace(notice(Notice.MOVED, ANA, BARE, moved_from=earlier), renderer=RENDERER)
    yield "bare_notice_moved", bare
    yield "notice_moved_untold_cancelled", notice(Notice.CANCELLED, moved_from=earlier)


def _cases() -> Iterator[tuple[str, Case]]:
    for language, person in PEOPLE.items():
        for urgency, reminder_rule in RULES.items():
            has_html = language == "en" and urgency != "half_hour"
            yield f"{language}_{urgency}", _case(reminder_rule, person, has_html=has_html)
        last_week = FULL.starts_at - timedelta(days=7)
        has_html = language == "de"
        yield (
            f"{language}_moved",
            _case(TOMORROW, person, moved_from=last_week, has_html=has_html),
        )
        yield f"{language}_late", _case(SOON, person, left=timedelta(hours=1, minutes=5))
        yield (
            f"{language}_own_subject",
            _case(rule(timedelta(hours=2), "{speaker_name}, {start_time}: {time_left}"), person),
        )
    for place in ("America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland"):
        name = place.rpartition("/")[2].lower()
        locale = {"los_angeles": "es-US", "kolkata": "en-IN", "auckland": "en-NZ"}[name]
        person = replace(ANA, time_zone=place, locale=locale)
        yield f"dst_sunday_{name}", _case(TOMORROW, person, DST_SUNDAY)
    plain = replace(ANA, full_name=None, time_zone=None, locale=None)
    yield "bare", _case(SOON, plain, BARE, renderer=RENDERER, has_html=True)
    yield "bare_with_links", _case(SOON, plain, BARE)
    noted = replace(BARE, join_url="Ring the bell twice", speaker_name="Dr. Inês Carvalho")
    yield "note_instead_of_link", _case(NOW, session=noted, left=timedelta(seconds=40))
    linked_notes = replace(BARE, preparation_notes="Read https://uni.example/a?b=1&c=2.\n\nBye.")
    yield "links_in_notes", _case(NOW, session=linked_notes, has_html=True)
    overnight = replace(FULL, ends_at=FULL.starts_at + timedelta(hours=15))
    yield "ends_the_next_day", _case(SOON, session=overnight)
    yield "redirected", _case(SOON, mode=DeliveryMode.REDIRECT)
    yield "branded", _case(SOON, renderer=BRANDED, has_html=True)
    yield from _notices()


CASES: dict[str, Case] = dict(_cases())
"""By the name of the golden files."""


def composed(case: Case) -> Message:
    """The e-mail of a case, as it is handed to the provider."""
    if case.facts.session is None:  # no case is without one
        raise LookupError
    composer = MailComposer(
        sender="Session Reminders <reminders@uni.example>",
        reply_to="help@uni.example",
        mode=case.mode,
        test_recipient="me@team.example",
        renderer=case.renderer,
    )
    return composer.compose(case.facts, now=case.facts.session.starts_at - case.left)


def rendered(name: str) -> dict[str, str]:
    """The golden files of a case: name and content."""
    case = CASES[name]
    message = composed(case)
    envelope = (
        ("From", message.sender),
        ("Reply-To", message.reply_to),
        ("To", message.to),
        ("Subject", message.subject),
        *message.headers,
    )
    head = "\n".join(f"{field}: {value}" for field, value in envelope)
    files = {f"{name}.txt": f"{head}\n\n{message.text}"}
    if case.has_html:
        files[f"{name}.html"] = message.html
    return files


def main() -> None:
    """Replace all golden mails."""
    GOLDEN.mkdir(exist_ok=True)
    for stale in GOLDEN.iterdir():
        stale.unlink()
    for case in CASES:
        for name, content in rendered(case).items():
            (GOLDEN / name).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
