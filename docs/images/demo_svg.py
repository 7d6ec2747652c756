"""Draws what the demo printed as a picture of a terminal.

python -m example_dags.demo | tee demo.txt
python docs/images/demo_svg.py demo.txt docs/images/demo.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_WIDTH = 110
# The template of rich, without the font that it fetches from a server.
_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_SVG = """<svg class="demo" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: FONT; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
""".replace("FONT", _FONT)


def main(printed: Path, picture: Path) -> None:
    """Draw the lines of ``printed`` into ``picture``."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), highlight=False)
    for line in printed.read_text().strip().splitlines():
        if not line.lstrip().startswith(("…", "the tables:")):
            console.print(_styled(line.rstrip()), no_wrap=True, overflow="ellipsis")
    svg = console.export_svg(title="make demo", theme=MONOKAI, code_format=_SVG, unique_id="demo")
    picture.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def _styled(line: str) -> Text:
    text = Text(line)
    if re.match(r"\d", line):
        text.stylize("bold")
    text.highlight_regex(r"^ +ok\b", "green")
    text.highlight_regex(r"^ +FAILED.*", "red")
    text.highlight_regex(r"^ +Proves:.*", "cyan")
    text.highlight_regex(r" at \d+ s$", "dim")
    return text


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
