"""Draws bar charts as SVG that is readable on light and dark pages, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Bar", "bar_chart"]

# Widths in pixels: of the longest bar, of one letter in a label (7.4 is about the largest average), and of the text
# after a bar.
_BARS = 360
_LETTER = 7.4
_VALUE = 150
_ROW = 26
_TOP = 54
_COLOURS = {"ours": "#3f51b5", "other": "#9e9e9e"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    label: str
    value: float
    text: str
    """The text of the value, which is written next to the bar."""
    is_ours: bool = True


def bar_chart(title: str, subtitle: str, bars: Sequence[Bar], *, line_at: float | None = None) -> str:
    """Return an SVG document of horizontal bars, with a dashed line at ``line_at`` if that is given."""
    height = _TOP + _ROW * len(bars) + 16
    most = max([bar.value for bar in bars] + [line_at or 0.0]) or 1.0
    left = 20 + round(_LETTER * max((len(bar.label) for bar in bars), default=0))
    width = left + _BARS + _VALUE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="16" font-weight="bold" fill="#212121">{escape(title)}</text>',
        f'<text x="12" y="41" fill="#616161">{escape(subtitle)}</text>',
    ]
    for number, bar in enumerate(bars):
        top = _TOP + _ROW * number
        length = max(1.0, _BARS * bar.value / most)
        colour = _COLOURS["ours" if bar.is_ours else "other"]
        parts += [
            f'<text x="{left - 8}" y="{top + 17}" text-anchor="end" fill="#212121">{escape(bar.label)}</text>',
            f'<rect x="{left}" y="{top + 4}" width="{length:.1f}" height="{_ROW - 8}" rx="2" fill="{colour}"/>',
            f'<text x="{left + length + 6:.1f}" y="{top + 17}" fill="#424242">{escape(bar.text)}</text>',
        ]
    if line_at is not None:
        at = left + _BARS * line_at / most
        where = f'x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{height - 12}"'
        parts.append(f'<line {where} stroke="#d32f2f" stroke-dasharray="4 3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"
