"""Bar charts as SVG: a few lines of text that a diff can show, and no library."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from bench.measure import number

WIDTH, LABELS, VALUES = 760, 190, 110
"""Of the picture, of its left margin and of its right one, in pixels."""
ROW, BAR, TOP = 30, 18, 44

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2937 }
.title { font-weight: 600; font-size: 14px }
.ours { fill: #0f766e } .other { fill: #94a3b8 }
"""


def bars(title: str, values: Mapping[str, float], *, unit: str, ours: str) -> str:
    """Horizontal bars, one below the other.

    Args:
        title: Of the picture; also what screen readers say.
        values: Lengths by label, from 0; at least one.
        unit: Behind each value.
        ours: The label whose bar stands out.

    Returns:
        The text of an SVG file.
    """
    longest = max(values.values()) or 1.0
    height = TOP + ROW * len(values) + 10
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img">'
        ),
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        f'<text class="title" x="14" y="26">{escape(title)}</text>',
    ]
    for row, (label, value) in enumerate(values.items()):
        y = TOP + ROW * row
        length = max(value / longest * (WIDTH - LABELS - VALUES), 1)
        kind = "ours" if label == ours else "other"
        parts += [
            f'<text x="{LABELS - 10}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
            f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3"/>',
            f'<text x="{LABELS + length + 8:.1f}" y="{y + 14}">{number(value)} {escape(unit)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
