"""A mail as a mail program parses it."""

from __future__ import annotations

from html.parser import HTMLParser


class Outline(HTMLParser):
    """Tags, attribute names and comments of a document, without its texts."""

    def __init__(self, html: str) -> None:
        """Read the document."""
        super().__init__()
        self.found: list[object] = []
        self.texts: list[str] = []
        self.links: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note tag and attributes."""
        if tag != "br":
            self.found.append((tag, [name for name, _ in attrs]))
        self.links |= {value for name, value in attrs if name == "href" and value}

    def handle_endtag(self, tag: str) -> None:
        """Note the end."""
        self.found.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        """Note the comment."""
        self.found.append(data)

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.texts.append(data)
