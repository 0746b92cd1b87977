"""The templates: ours, those of an operator in their place, compiled once and checked at the start.

An operator's folder overrides ours by name, file by file; what it does not have, ours has. A
template in it may build on the one it replaces, which is still there under `ours/`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

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
from reminders.mail.inlining import STYLE_SHEET, InliningLoader
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
        """Nothing yet."""
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
