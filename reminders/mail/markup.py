"""What others typed, as HTML: notes of a rich text editor, of which a safe subset stays, and links.

Links lead nowhere but to the web and to mailboxes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit

import nh3
from markupsafe import Markup, escape

from reminders.mail.plain_text import without_controls

_WRITTEN_BY_AN_EDITOR = re.compile(
    r"<(?:(?:p|br|ul|ol|li|div|blockquote)(?:\s[^<>]*)?/?|a\s(?:[^<>]*\s)?href=[^<>]*)>",
    re.IGNORECASE,
)
"""Text that people typed may say `x < y`, or `<b>`; an editor cannot do without one of these."""
_TAGS = {"p", "div", "br", "ul", "ol", "li", "a", "b", "strong", "em", "i", "blockquote"}
_BLOCKS = {"p", "div", "ul", "ol", "blockquote", "br", "li"}
_ELSE = re.compile(
    r"<(/?)(h[1-6]|tr|pre|caption|t[dh]|table|tbody|thead|tfoot)\b[^<>]*>", re.IGNORECASE
)
"""What no e-mail of ours keeps, and whose words would run together without it."""
_SCHEMES = {"http", "https", "mailto"}


def is_markup(text: str) -> bool:
    """Whether a text is HTML."""
    return _WRITTEN_BY_AN_EDITOR.search(text) is not None


def safe(text: str) -> Markup:
    """What of the HTML may stand in an e-mail: paragraphs, lists, emphasis and links."""
    cleaned = nh3.clean(
        _ELSE.sub(_instead, without_controls(text)),
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank", "style": "color:inherit"}},
    )
    return Markup(cleaned)  # noqa: S704 - that is what it was cleaned for


def _instead(tag: re.Match[str]) -> str:
    """Headings as bold paragraphs, rows as lines, cells with a space between them."""
    close, name = tag[1], tag[2].lower()
    if name in ("td", "th"):
        return " " if close else ""
    if name in ("tr", "pre", "caption"):
        return f"<{close}div>"
    return ("</strong></p>" if close else "<p><strong>") if name.startswith("h") else ""


def plain(text: str) -> str:
    """The same without tags: a line for each block and item, and where each link leads."""
    reader = _Reader()
    reader.feed(safe(text))
    reader.close()
    lines = [" ".join(line.split()) for line in "".join(reader.said).splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    """Reads what was cleaned."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A new line for what begins one; a link is remembered until its end."""
        if tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self.said)))
        elif tag in _BLOCKS:
            self.said.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        """An empty line after a paragraph; after a link, where it leads."""
        if tag == "a" and self._links:
            url, begins = self._links.pop()
            words = "".join(self.said[begins:]).strip()
            if url.removeprefix("mailto:") not in ("", words):
                self.said.append(f" ({url})")
        elif tag in ("p", "ul", "ol", "blockquote"):
            self.said.append("\n")

    def handle_data(self, data: str) -> None:
        """Words; their line breaks are the source's, and mean nothing."""
        self.said.append(re.sub(r"\s+", " ", data))


LONGEST_URL = 2_048
"""Characters; browsers and mail programs take at least as many."""

_CANDIDATE = re.compile(r"\b(?:https?://|mailto:)[^\s<>\"'`{}|\\^]+", re.IGNORECASE)
_MAILBOX = re.compile(r"mailto:[^\s@?&]{1,64}@[\w.-]{1,255}", re.IGNORECASE)
_TRAILING = ".,;:!?…"
"""Belongs to the sentence around a link."""
_ANCHOR = 100
"""Bytes of an `<a>` with its attributes, without the address."""
_BRACKETS = {")": "(", "]": "[", "»": "«", "”": "“"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a line; a link if it has a URL."""

    text: str
    url: str = ""


def is_web_address(text: str) -> bool:
    """Whether it is an http or https URL that a mail program will open as it is written.

    Anything else that mail programs know they would run, or open in another program.
    """
    try:
        parts = urlsplit(text)
        return (
            len(text) <= LONGEST_URL
            and text.isprintable()  # no line break, no bidirectional override
            and " " not in text
            and parts.scheme in ("http", "https")
            and bool(parts.hostname)
            # `https://bank.example@evil.example` shows one host and opens another.
            and "@" not in parts.netloc
        )
    except ValueError:  # a malformed IPv6 host
        return False


def pieces(line: str, *, room: int) -> tuple[Piece, ...]:
    """The line, cut where links begin and end; put together again it is the line.

    Args:
        line: Plain text.
        room: Bytes that links may add to the HTML; what does not fit stays text. See `added_by`.
    """
    found: list[Piece] = []
    at = 0
    for match in _CANDIDATE.finditer(line):
        url = _without_the_sentence(match[0])
        if not (is_web_address(url) or _MAILBOX.fullmatch(url)) or added_by(url) > room:
            continue
        if match.start() > at:
            found.append(Piece(line[at : match.start()]))
        found.append(Piece(url, url))
        at = match.start() + len(url)
        room -= added_by(url)
    if at < len(line) or not found:
        found.append(Piece(line[at:]))
    return tuple(found)


def added_by(url: str) -> int:
    """How many bytes a link adds to the HTML: its address once more, escaped, and its looks."""
    return len(escape(url).encode()) + _ANCHOR


def _without_the_sentence(url: str) -> str:
    """The URL without the full stop or the bracket that ends the sentence around it."""
    while url:
        last = url[-1]
        opens = _BRACKETS.get(last)
        if last not in _TRAILING and (opens is None or url.count(opens) >= url.count(last)):
            break
        url = url[:-1]
    return url
