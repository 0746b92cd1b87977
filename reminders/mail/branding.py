"""Whose e-mails these are: name, logo, postal address, and colours for light and dark screens.

One accent colour per urgency, and the neutrals around it. Every pair of text and background that the
templates use has a contrast of at least 4.5:1 (WCAG 2.2, 1.4.3); a test computes them. A brand's own
colour with which that is not so is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reminders.domain.errors import ConfigurationError
from reminders.mail.markup import is_web_address
from reminders.mail.plain_text import is_one_line
from reminders.mail.wording import Urgency

READABLE = 4.5
"""The least contrast of text (WCAG 2.2, 1.4.3)."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_WHITE = "#ffffff"


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
            page="#f3f2ee",
            card=_CARD,
            ink="#1c1e22",
            muted="#5d626b",
            line="#e5e3de",
            accent=accent,
            on_accent=_WHITE,
            tint=tint,
        ),
        dark=Colours(
            page="#121316",
            card=_DARK_CARD,
            ink="#f2f1ee",
            muted="#abafb8",
            line="#34373d",
            accent=dark_accent,
            on_accent="#121316",
            tint=dark_tint,
        ),
    )


_CARD = _WHITE
_DARK_CARD = "#1d1f23"

PALETTES: Mapping[Urgency, Palette] = {
    Urgency.CALM: _palette("#0f5c73", "#eaf2f5", "#86c9e0", "#1d2f36"),
    Urgency.SOON: _palette("#8a4b00", "#fbf2e5", "#f1b96e", "#332a1c"),
    Urgency.NOW: _palette("#b3261e", "#fceeec", "#ffa198", "#392322"),
}
"""Ours, chosen by eye."""


def is_readable(colour: str) -> bool:
    """Whether it is `#rrggbb`, and can be read on our light backgrounds, as these on it."""
    if not _HEX.fullmatch(colour):
        return False
    return min(contrast(colour, background) for background in (_CARD, _tint(colour))) >= READABLE


def palette_around(accent: str) -> Palette:
    """A palette with a brand's own colour, lightened for dark screens.

    Args:
        accent: One that `is_readable`; then its lighter one is on every dark background.
    """
    return _palette(
        accent, _tint(accent), mixed(accent, _WHITE, 0.4), mixed(accent, _DARK_CARD, 0.14)
    )


def _tint(accent: str) -> str:
    return mixed(accent, _CARD, 0.08)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two `#rrggbb` colours, from 1 to 21 (WCAG 2.2)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    """So much of one colour in the other.

    Args:
        one: `#rrggbb`.
        other: `#rrggbb`.
        share: From 0, nothing but the other, to 1, nothing but the one.
    """
    pairs = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _luminance(colour: str) -> float:
    parts = (channel / 255 for channel in _channels(colour))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@dataclass(frozen=True, kw_only=True, slots=True)
class Branding:
    """What an operator may say about the look without a template."""

    product_name: str = ""
    """Above the card and in the sentence that says why; empty shows none."""
    logo_url: str = ""
    """Shown in place of the name, which becomes its text; 40 pixels high."""
    postal_address: str = ""
    """At the foot, as laws on commercial e-mail may demand."""
    colour: str | None = None
    """`#rrggbb` in place of ours, which differ by urgency."""

    def __post_init__(self) -> None:
        """Refuse what could not be shown.

        Raises:
            ConfigurationError: Names what is wrong, and how it should be written.
        """
        for name, text in (
            ("EMAIL_PRODUCT_NAME", self.product_name),
            ("EMAIL_POSTAL_ADDRESS", self.postal_address),
        ):
            if not is_one_line(text):
                raise ConfigurationError(f"{name} must be one line of text")
        if self.logo_url and not is_web_address(self.logo_url):
            raise ConfigurationError(
                "EMAIL_LOGO_URL must be a web address, such as https://uni.example/logo.png"
            )
        if self.logo_url and not self.product_name:
            raise ConfigurationError(
                "EMAIL_LOGO_URL needs EMAIL_PRODUCT_NAME, which is read where pictures are not shown"
            )
        if self.colour is not None and not is_readable(self.colour):
            raise ConfigurationError(
                f"EMAIL_COLOR is {self.colour[:20]!r}; write #rrggbb, such as #0f5c73, dark enough to"
                f" be read on white: a contrast of {READABLE}:1"
            )

    def palette(self, urgency: Urgency) -> Palette:
        """The colours of one urgency: the brand's own, which is the same for all, or ours."""
        return PALETTES[urgency] if self.colour is None else palette_around(self.colour)
