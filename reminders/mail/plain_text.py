"""Text that other people typed, made fit for a header, a line or a paragraph.

Titles, names and notes come from forms and imports. A line break in a subject is a header
injection, a bidirectional override turns a file name or a link around, and a lone surrogate cannot
be encoded at all. Emoji, accents and right-to-left letters are ordinary text and pass untouched.
"""

from __future__ import annotations

import re

_DROPPED = re.compile(
    "["
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # C0 and C1 controls that are no white space
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # bidirectional marks, overrides, isolates
    "\ufeff\ufff9-\ufffb"  # byte order mark, interlinear annotation
    "\ud800-\udfff"  # lone surrogates: not encodable as UTF-8
    "]+"
)
_SEPARATORS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]")
"""White space that is more than a space: it breaks lines or columns."""
_HALF_AN_EMOJI = "\u200d\ufe0f"
"""Joiners that must not end a shortened text."""


def one_line(text: str, limit: int) -> str:
    """The text on one line: no controls, runs of white space as one space.

    Args:
        text: Anything.
        limit: Greatest length, in code points; longer texts end in an ellipsis.
    """
    return shortened(" ".join(_DROPPED.sub("", text).split()), limit)


def without_controls(text: str) -> str:
    """The text without what would turn it around, hide in it, or cannot be encoded."""
    return _DROPPED.sub("", text)


def is_one_line(text: str) -> bool:
    """Whether the text could stand in a header as it is."""
    return not (_DROPPED.search(text) or _SEPARATORS.search(text))


def paragraph(text: str, limit: int) -> tuple[str, ...]:
    """The text's own lines, each as `one_line`; runs of empty lines as one, none at the ends.

    Args:
        text: Anything.
        limit: Greatest length of all lines together, in code points.
    """
    lines: list[str] = []
    for raw in shortened(text.strip(), limit).splitlines():
        line = one_line(raw, limit)
        if line or (lines and lines[-1]):
            lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def shortened(text: str, limit: int) -> str:
    """The text, cut to `limit` code points and ending in an ellipsis if it was longer."""
    if len(text) <= limit:
        return text
    return text[: limit - 1].rstrip().rstrip(_HALF_AN_EMOJI) + "…"
