"""The phrases of the notices: what has changed, said once, without counting the time that is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from gettext import NullTranslations

from reminders.domain.model import Notice


class News(StrEnum):
    """What a notice tells."""

    CANCELLED = "cancelled"
    MOVED = "moved"
    AFTER_ALL = "after_all"
    """It takes place after all, of which it was told that it does not."""
    CONFIRMED = "confirmed"


def news_of(notice: Notice, *, was_called_off: bool) -> News:
    """What a notice tells somebody.

    Args:
        notice: Which.
        was_called_off: Whether the e-mail before told them that the session was cancelled.
    """
    if notice is Notice.MOVED and was_called_off:
        return News.AFTER_ALL
    return News(notice.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewsTone:
    """How a notice speaks."""

    header: str
    subject: str
    """In place of the rule's own, with `{title}`, `{date}` and `{time}`."""
    announcement: str
    advice: str


def news_tones(words: NullTranslations) -> Mapping[News, NewsTone]:
    """Of every kind of news."""
    return {
        News.CANCELLED: NewsTone(
            header=words.gettext("Cancelled"),
            subject=words.gettext("Cancelled: {title} on {date}, {time}"),
            announcement=words.gettext("This session has been cancelled and will not take place."),
            advice=words.gettext("You do not need to do anything."),
        ),
        News.MOVED: NewsTone(
            header=words.gettext("New time"),
            subject=words.gettext("New time for {title}: {date}, {time}"),
            announcement=words.gettext("Your session has been moved to another time."),
            advice=words.gettext("Please note the new time below."),
        ),
        News.AFTER_ALL: NewsTone(
            header=words.gettext("Going ahead after all"),
            subject=words.gettext("Going ahead after all: {title} on {date}, {time}"),
            announcement=words.gettext(
                "We told you that this session was cancelled. It will take place after all."
            ),
            advice=words.gettext("Please note the time below."),
        ),
        News.CONFIRMED: NewsTone(
            header=words.gettext("Confirmed"),
            subject=words.gettext("Confirmed: {title} on {date}, {time}"),
            announcement=words.gettext("Your enrollment is confirmed."),
            advice=words.gettext("We look forward to seeing you."),
        ),
    }
