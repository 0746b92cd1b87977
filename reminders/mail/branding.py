"""Whose e-mails these are: name, logo, colours, postal address."""

from __future__ import annotations

from dataclasses import dataclass

from reminders.domain.errors import ConfigurationError
from reminders.mail.hyperlinks import is_web_address
from reminders.mail.palette import PALETTES, READABLE, Palette, is_readable, palette_around
from reminders.mail.plain_text import is_one_line
from reminders.mail.wording import Urgency


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
