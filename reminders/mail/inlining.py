"""Style sheets into style attributes: once for each template, not for each e-mail.

Gmail drops much of what stands in `<style>`, Outlook renders with Word: what must show is an
attribute. A template is HTML with holes, and an inliner that knows HTML would fill or move them. So
the holes are covered with words and comments that HTML leaves alone, the HTML is inlined, and the
holes are opened again, each exactly where it was, or the template is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from css_inline import CSSInliner
from jinja2 import BaseLoader, Environment

from reminders.domain.errors import ConfigurationError

STYLE_SHEET = "_base/style.css"
"""A Jinja template itself; it sees the palette, as `light` and `dark`."""

_HOLE = re.compile(
    r"(?P<comment>\{#.*?#\})|(?P<text>\{\{.*?\}\})|(?P<tag>\{%.*?%\})|(?P<aside><!--.*?-->)"
    r"|(?P<open><[A-Za-z/!])|(?P<close>>)",
    re.DOTALL,
)
_COVER = re.compile(r"<!--zj(\d+)jz-->|zj(\d+)jz")
_SHAPE = re.compile(
    r"<!--zj\d+jz-->|<!--.*?-->|<(?P<tag>/?[A-Za-z][A-Za-z0-9]*)[^>]*>|zj\d+jz", re.DOTALL
)
_IMPLIED = ("", "html", "head", "body", "tbody", "style")
"""Elements that the inliner adds, moves or drops; and what is no element."""
_AT_RULES = re.compile(r"<head>(<style>.*?</style>)", re.DOTALL)

_INLINER = CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


@dataclass(frozen=True, eq=False)
class InliningLoader(BaseLoader):
    """Loads templates; those of HTML with the style sheet written into their attributes."""

    loader: BaseLoader
    """Finds the sources."""
    css: str
    """For every element, whichever template it is in."""

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """The inlined source of a template.

        Raises:
            TemplateNotFound: If there is none.
            ConfigurationError: If its HTML is not well nested, so that parts of it would move.
        """
        source, path, is_up_to_date = self.loader.get_source(environment, template)
        if template.endswith(".html"):
            source = inlined(source, self.css, name=template)
        return source, path, is_up_to_date

    def list_templates(self) -> list[str]:
        """What there is."""
        return self.loader.list_templates()


def inlined(source: str, css: str, *, name: str) -> str:
    """A template of HTML with a style sheet written into its attributes.

    Args:
        source: A whole document, or a part that may stand in a body.
        css: The style sheet; at-rules are kept for those who understand them, in the whole document.
        name: Of the template, for the error.

    Raises:
        ConfigurationError: If its HTML is not well nested.
    """
    covered, holes = _cover(source)
    if "<html" in covered:
        html = _INLINER.inline(covered.replace("</head>", f"<style>{css}</style></head>", 1))
        # The inliner puts them first, where the character set must be.
        if rules := _AT_RULES.search(html):
            html = html.replace(rules[1], "", 1).replace("</head>", f"{rules[1]}\n</head>", 1)
    else:
        html = _INLINER.inline_fragment(covered, css)
    for (expected, line), (actual, _) in zip_longest(
        _shape(covered), _shape(html), fillvalue=("", 0)
    ):
        if expected != actual:
            what = _COVER.sub(
                lambda match: holes[int(match[1] or match[2])], str(expected or actual)
            )
            raise ConfigurationError(
                f"{name}, line {line or covered.count(chr(10)) + 1}: the HTML is not well nested"
                f" or not closed at {what}"
            )
    return _COVER.sub(lambda match: holes[int(match[1] or match[2])], html)


def _cover(source: str) -> tuple[str, list[str]]:
    """The template with its holes covered, and what the holes were; lines stay where they are."""
    holes: list[str] = []
    is_in_tag = False

    def covered(found: re.Match[str]) -> str:
        nonlocal is_in_tag
        kind = found.lastgroup
        if kind == "comment":
            return "\n" * found[0].count("\n")
        if kind in ("text", "tag"):
            cover = f"zj{len(holes)}jz"
            holes.append(found[0])
            return cover if kind == "text" or is_in_tag else f"<!--{cover}-->"
        if kind in ("open", "close"):
            is_in_tag = kind == "open"
        return found[0]

    return _HOLE.sub(covered, source), holes


def _shape(html: str) -> Iterator[tuple[str, int]]:
    """Tags and covers in their order, each with its line; without what the inliner may add."""
    for found in _SHAPE.finditer(html):
        # The inliner sorts the attributes of an element; that harms nobody.
        covers = "".join(sorted(match[0] for match in _COVER.finditer(found[0])))
        tag = (found["tag"] or "").lower()
        if text := covers if tag.lstrip("/") in _IMPLIED else f"<{tag}>{covers}":
            yield text, html.count("\n", 0, found.start()) + 1
