"""Which texts become links, and where they lead: nowhere but to the web and to mailboxes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from markupsafe import escape

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
