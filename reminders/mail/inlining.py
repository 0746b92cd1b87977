"""Style sheets into style attributes: once for each template, not for each e-mail.

Gmail drops much of what stands in `<style>`, Outlook renders with Word: what must show is an
attribute. A template is HTML with holes, and an inliner that knows HTML would fill or move them. So
the holes are covered with words and comments that HTML leaves alone, the HTML is inlined, and the
holes are opened again, each exactly where it was, or the template is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from css_inline import CSSInliner
from jinja2 import BaseLoader, Environment

from reminders.errors import ConfigurationError

STYLE_SHEET = "_base/style.css"
"""A Jinja template itself; it sees the palette, as `light` and `dark`."""

_HOLE = re.compile(
    r"(?P<comment>\{#.*?#\})|(?P<text>\{\{.*?\}\})|(?P<tag>\{%.*?%\})|(?P<aside><!--.*?-->)"
    r"|(?P<open><[A-Za-z/!])|(?P<close>>)",
    re.DOTALL,
)
_COVER = re.compile(r"<!--zj(\d+)jz-->|zj(\d+)jz")
_AT_RULES = re.compile(r"<head>(<style>.*?</style>)", re.DOTALL)

_INLINER = CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


class InliningLoader(BaseLoader):
    """Loads templates; those of HTML with the style sheet written into their attributes."""

    def __init__(self, loader: BaseLoader, css: str) -> None:
        """Wrap the loader that finds the sources.

        Args:
            loader: Finds the sources.
            css: For every element, whichever template it is in.
        """
        self._loader = loader
        self._css = css

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """The inlined source of a template.

        Raises:
            TemplateNotFound: If there is none.
            ConfigurationError: If its HTML is not well nested, so that parts of it would move.
        """
        source, path, is_up_to_date = self._loader.get_source(environment, template)
        if template.endswith(".html"):
            source = inlined(source, self._css, name=template)
        return source, path, is_up_to_date

    def list_templates(self) -> list[str]:
        """What there is."""
        return self._loader.list_templates()


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
    found = [int(first or second) for first, second in _COVER.findall(html)]
    # The inliner sorts the attributes of an element; nothing else may change its place.
    in_order = _in_runs(found, holes)
    for expected, actual in zip(range(len(holes)), [*in_order, -1], strict=False):
        if expected != actual:
            hole = holes[expected]
            raise ConfigurationError(
                f"{name}, line {hole.line}: the HTML around {hole.source} is not well nested"
            )
    return _COVER.sub(lambda match: holes[int(match[1] or match[2])].source, html)


@dataclass(frozen=True, slots=True)
class _Hole:
    """What Jinja fills or acts upon."""

    source: str
    line: int
    is_in_tag: bool
    """Whether it belongs to an attribute."""


def _cover(source: str) -> tuple[str, list[_Hole]]:
    """The template with its holes covered; and the holes."""
    holes: list[_Hole] = []
    is_in_tag = False

    def covered(found: re.Match[str]) -> str:
        nonlocal is_in_tag
        kind = found.lastgroup
        if kind == "comment":
            return ""
        if kind in ("text", "tag"):
            cover = f"zj{len(holes)}jz"
            line = source.count("\n", 0, found.start()) + 1
            holes.append(_Hole(found[0], line, is_in_tag))
            return cover if kind == "text" or is_in_tag else f"<!--{cover}-->"
        if kind in ("open", "close"):
            is_in_tag = kind == "open"
        return found[0]

    return _HOLE.sub(covered, source), holes


def _in_runs(found: list[int], holes: list[_Hole]) -> list[int]:
    """The numbers of holes as found, but neighbours that belong to attributes in ascending order."""
    runs = groupby(found, key=lambda number: holes[number].is_in_tag)
    return [number for in_tags, run in runs for number in (sorted(run) if in_tags else run)]
