"""One accent colour per urgency, and the neutrals around it, for light and dark screens.

Every pair of text and background that the templates use has a contrast of at least 4.5:1
(WCAG 2.2, 1.4.3); a test computes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from reminders.mail.wording import Urgency


@dataclass(frozen=True, kw_only=True, slots=True)
class Colours:
    """The colours of one e-mail on one kind of screen."""

    page: str
    """Around the card."""
    card: str
    ink: str
    muted: str
    line: str
    accent: str
    on_accent: str
    """Text on the accent."""
    tint: str
    """The accent, so faint that text goes on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Palette:
    """The colours of one urgency."""

    light: Colours
    dark: Colours


def _palette(accent: str, tint: str, dark_accent: str, dark_tint: str) -> Palette:
    """An accent with the neutrals that all e-mails share."""
    return Palette(
        light=Colours(
            page="#f4f3f0",
            card="#ffffff",
            ink="#1c1e22",
            muted="#5d626b",
            line="#e5e3de",
            accent=accent,
            on_accent="#ffffff",
            tint=tint,
        ),
        dark=Colours(
            page="#121316",
            card="#1d1f23",
            ink="#f2f1ee",
            muted="#abafb8",
            line="#34373d",
            accent=dark_accent,
            on_accent="#121316",
            tint=dark_tint,
        ),
    )


PALETTES = {
    Urgency.CALM: _palette("#0f5c73", "#eaf2f5", "#86c9e0", "#1d2f36"),
    Urgency.SOON: _palette("#8a4b00", "#fbf2e5", "#f1b96e", "#332a1c"),
    Urgency.NOW: _palette("#b3261e", "#fceeec", "#ffa198", "#392322"),
}
