"""The templates: ours, those of an operator in their place, compiled once and checked at the start.

An operator's folder overrides ours by name, file by file; what it does not have, ours has. A
template in it may build on the one it replaces, which is still there under `ours/`.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from css_inline import CSSInliner
from jinja2 import (
    BaseLoader,
    BytecodeCache,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
)
from jinja2.bccache import Bucket

from reminders.domain.errors import ConfigurationError
from reminders.mail.branding import Palette
from reminders.mail.wording import Urgency

OURS = Path(__file__).parent / "templates"
REMINDER, NOTICE = "session_reminder", "session_notice"
"""The mails: folders with a file for each part."""
SUBJECT, HTML, TEXT = "subject.txt", "body.html", "body.txt"
"""The parts of a mail: files in its folder."""
_ENDINGS = (".html", ".txt", ".css")
MOST_COMPILED = 100
"""Templates whose code is kept: ours are a dozen, those of HTML once for each urgency."""


class _Compiled(BytecodeCache):
    """What this process has compiled: a rehearsal makes a composer anew, while the API answers.

    By name and checksum of the source, so that a template that was edited is compiled.
    """

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """See `BytecodeCache.load_bytecode`."""
        code = self._code.get((bucket.key, bucket.checksum))
        if code is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """See `BytecodeCache.dump_bytecode`."""
        if len(self._code) >= MOST_COMPILED:
            self._code.clear()
        self._code[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


_COMPILED = {autoescape: _Compiled() for autoescape in (True, False)}
"""Apart, for code that escapes is other code."""


class Templates:
    """The parts of a mail as compiled templates; strict, and never read from disk again."""

    def __init__(
        self, mail: str, palettes: Mapping[Urgency, Palette], *, theirs: Path | None = None
    ) -> None:
        """Compile them, the HTML once for each palette, with the styles in its attributes.

        Args:
            mail: Its folder.
            palettes: The colours of each urgency.
            theirs: An operator's folder, whose templates go before ours.

        Raises:
            ConfigurationError: If a template cannot be compiled; names file and line.
        """
        self.mail = mail
        self._theirs = theirs
        self._loader = _loader(theirs)
        plain = _environment(self._loader, autoescape=False)
        self.subject = self._compiled(plain, SUBJECT)
        self.text = self._compiled(plain, TEXT)
        self.html = {
            urgency: self._compiled(self._inlining(plain, palette), HTML)
            for urgency, palette in palettes.items()
        }
        # As it is on disk: what it says about lines is true. Only for looking for mistakes.
        self._uninlined = self._compiled(_environment(self._loader, autoescape=True), HTML)

    def check(self, render: Callable[[Template], object]) -> None:
        """Try every template, so that what is wrong with one is found now and not when it is due.

        Args:
            render: Fills a template with what an e-mail may be made of.

        Raises:
            ConfigurationError: If one fails; names file and line.
        """
        for template in (self.subject, self.text, self._uninlined, *self.html.values()):
            try:
                render(template)
            except Exception as error:  # whatever a template does
                raise ConfigurationError(self._said(error)) from error

    def _compiled(self, environment: Environment, part: str) -> Template:
        try:
            # With what it extends, which is otherwise read when it is first rendered.
            template = environment.get_template(f"{self.mail}/{part}")
        except TemplateError as error:
            raise ConfigurationError(self._said(error)) from error
        return template

    def _inlining(self, plain: Environment, palette: Palette) -> Environment:
        try:
            css = plain.get_template(STYLE_SHEET).render(light=palette.light, dark=palette.dark)
        except Exception as error:  # whatever a template does
            raise ConfigurationError(self._said(error)) from error
        return _environment(InliningLoader(self._loader, css), autoescape=True)

    def _said(self, error: Exception) -> str:
        """What went wrong, where in which file."""
        where = ""
        if isinstance(error, TemplateSyntaxError):
            where = f"{error.filename or error.name}, line {error.lineno}: "
        else:
            roots = tuple(str(root) for root in (self._theirs, OURS) if root)
            for frame in traceback.extract_tb(error.__traceback__):
                if frame.filename.startswith(roots) and frame.filename.endswith(_ENDINGS):
                    where = f"{frame.filename}, line {frame.lineno}: "
        return f"e-mail template {where}{error or type(error).__name__}"


def _loader(theirs: Path | None) -> BaseLoader:
    ours = FileSystemLoader(OURS)
    if theirs is None:
        return ours
    if not theirs.is_dir():
        raise ConfigurationError(f"EMAIL_TEMPLATES_DIR does not exist: {theirs}")
    known = [path.relative_to(OURS).as_posix() for path in sorted(OURS.rglob("*.*"))]
    if not any((theirs / name).is_file() for name in known) and not (theirs / "locale").is_dir():
        raise ConfigurationError(
            f"EMAIL_TEMPLATES_DIR, {theirs}, has none of the e-mail templates: {', '.join(known)}; and no locale/"
        )
    return ChoiceLoader([FileSystemLoader(theirs), ours, PrefixLoader({"ours": ours})])


def _environment(loader: BaseLoader, *, autoescape: bool) -> Environment:
    """A strict Jinja environment that never looks at the disk again once a template is compiled."""
    return Environment(
        loader=loader,
        autoescape=autoescape,  # noqa: S701 -- the text part and the subject are no markup
        undefined=StrictUndefined,
        auto_reload=False,
        bytecode_cache=_COMPILED[autoescape],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


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
    """Style sheets into style attributes: once for each template, not for each e-mail.

    Gmail drops much of what stands in `<style>`, Outlook renders with Word: what must show is an
    attribute. A template is HTML with holes, and an inliner that knows HTML would fill or move them.
    So the holes are covered with words and comments that HTML leaves alone, the HTML is inlined, and
    the holes are opened again, each exactly where it was, or the template is refused.
    """

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
