"""When two e-mail addresses are the same mailbox."""

from __future__ import annotations

import unicodedata

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Left by spreadsheets and web pages, and part of no address."""


def visible(address: str) -> str:
    """An address without what nobody sees in it, or around it."""
    return address.translate(_INVISIBLE).strip()


def same_address(one: str, other: str) -> bool:
    """Whether two bare addresses are the same mailbox, as far as anybody but its server can tell.

    Whatever their case, and whether an international domain is written in Unicode or in ASCII.
    """
    return _comparable(one) == _comparable(other)


def _comparable(address: str) -> str:
    local, _, domain = visible(address).casefold().rpartition("@")
    labels = [_readable(label) for label in domain.split(".")]
    return unicodedata.normalize("NFKC", f"{local}@{'.'.join(labels)}").casefold()


def _readable(label: str) -> str:
    """A label of a domain in Unicode."""
    if not label.startswith("xn--"):
        return label
    try:
        return label.removeprefix("xn--").encode("ascii").decode("punycode")
    except UnicodeError:
        return label
