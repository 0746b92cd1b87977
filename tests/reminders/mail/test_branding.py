"""Whose e-mail it is, and that it can be read whatever colours they bring."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.errors import ConfigurationError
from reminders.mail.branding import (
    PALETTES,
    READABLE,
    Branding,
    Palette,
    contrast,
    is_readable,
    palette_around,
)
from reminders.mail.render import MailRenderer
from reminders.mail.wording import Urgency
from tests.reminders.mail.cases import LINKS, FixedLinks, mail

BRAND = Branding(
    product_name="Uni & Friends",
    logo_url="https://uni.example/logo.png?a=1&b=2",
    postal_address="1 Main Street <Springfield>",
)


def assert_readable(palette: Palette) -> None:
    """Every text that the templates put on a background reaches 4.5:1, in light and dark."""
    for colours in (palette.light, palette.dark):
        on_card = product((colours.ink, colours.muted, colours.accent), (colours.card,))
        on_tint = product((colours.ink, colours.accent), (colours.tint,))
        on_page = product((colours.ink, colours.muted), (colours.page,))
        on_accent = product((colours.on_accent,), (colours.accent,))
        for text, background in (*on_card, *on_tint, *on_page, *on_accent):
            assert contrast(text, background) >= READABLE, (text, background)


def test_contrast_is_that_of_the_guidelines() -> None:
    """Black on white is 21:1, and a known grey is just readable (WCAG 2.2)."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("urgency", Urgency)
def test_every_text_can_be_read_on_its_background(urgency: Urgency) -> None:
    """All pairs of text and background reach a contrast of 4.5:1, in light and dark."""
    assert_readable(PALETTES[urgency])


@given(st.integers(0, 0xFFFFFF).map("#{:06x}".format).filter(is_readable))
def test_a_brands_colour_that_is_accepted_can_be_read(colour: str) -> None:
    """As it is on light screens, lightened on dark ones."""
    assert palette_around(colour).light.accent == colour
    assert_readable(palette_around(colour))


@pytest.mark.parametrize("colour", ["#808080", "#ffcc00", "#00aaff", "#ffffff"])
def test_a_brands_colour_that_cannot_be_read_is_refused(colour: str) -> None:
    """Too light for text on white, or for white text on it."""
    with pytest.raises(ConfigurationError, match=r"EMAIL_COLOR is .* a contrast of 4.5:1"):
        Branding(colour=colour)


def test_each_urgency_has_its_own_colour() -> None:
    """In light and dark."""
    for screen in ("light", "dark"):
        accents = {getattr(PALETTES[urgency], screen).accent for urgency in Urgency}
        assert len(accents) == len(Urgency)


def test_the_brand_is_in_both_parts() -> None:
    """Logo with the name as its text, the name in the reason, the address at the foot; escaped."""
    branded = mail(renderer=MailRenderer(brand=BRAND, links=FixedLinks()))
    assert 'alt="Uni &amp; Friends"' in branded.html
    assert 'src="https://uni.example/logo.png?a=1&amp;b=2"' in branded.html
    assert "1 Main Street &lt;Springfield&gt;" in branded.html
    assert "from Uni & Friends because" in branded.text
    assert branded.text.endswith(f"{LINKS.stop_url}\n\n1 Main Street <Springfield>\n")


def test_an_operators_colour_is_in_place_of_ours() -> None:
    """Whatever the urgency."""
    renderer = MailRenderer(brand=Branding(colour="#5b2a86"))
    assert "#5b2a86" in mail(renderer=renderer).html
    assert PALETTES[Urgency.SOON].light.accent not in mail(renderer=renderer).html


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"product_name": "Uni\nBcc: x"}, "EMAIL_PRODUCT_NAME"),
        ({"postal_address": "1 Main Street\n2nd floor"}, "EMAIL_POSTAL_ADDRESS"),
        ({"product_name": "Uni", "logo_url": "javascript:alert(1)"}, "EMAIL_LOGO_URL"),
        ({"product_name": "Uni", "logo_url": "logo.png"}, "EMAIL_LOGO_URL"),
        ({"logo_url": "https://uni.example/logo.png"}, "needs EMAIL_PRODUCT_NAME"),
        ({"colour": "red"}, "EMAIL_COLOR is 'red'; write #rrggbb"),
        ({"colour": "#fff;}"}, "EMAIL_COLOR is"),
    ],
)
def test_a_brand_that_cannot_be_shown_is_refused(fields: dict[str, object], problem: str) -> None:
    """At the start, with the remedy."""
    with pytest.raises(ConfigurationError, match=problem):
        Branding(**fields)  # type: ignore[arg-type]
