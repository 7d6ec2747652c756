"""Writes the figures of a run to docs/benchmarks.md and two pictures; keeps the rest of the page as it is."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .measuring import OURS, Figure
from .pictures import Bar, bar_chart
from .report import load, table

__all__ = ["page_with", "rate_chart", "ratio_chart", "write_page"]

_MARKS = ("<!-- figures: written by python -m benchmarks --page -->", "<!-- end of the figures -->")


def write_page(results: Path, docs: Path) -> None:
    """Put the figures from the JSON file ``results`` into the page and the pictures in the folder ``docs``."""
    document, figures = json.loads(results.read_text()), load(results)
    page = docs / "benchmarks.md"
    page.write_text(page_with(page.read_text(), document, figures))
    images = docs / "images"
    images.mkdir(exist_ok=True)
    (images / "benchmark_ratios.svg").write_text(ratio_chart(figures, _subtitle(document)))
    (images / "benchmark_rates.svg").write_text(rate_chart(figures, _subtitle(document)))


def page_with(page: str, document: dict[str, Any], figures: Sequence[Figure]) -> str:
    """Return the text of the page, with new figures between the two marks."""
    facts = document["machine"]
    kind = "quick run" if document.get("is_quick") else "run"
    about = (
        f"One {kind} on a {facts['cpus']}-core machine ({facts['cpu']}, Python {facts['python']}) whose load was "
        f"{facts['load_before']} before it began; {document['finished_at'][:10]}, commit {facts['commit']}, "
        f"{document['seconds']} s."
    )
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    skipped = "".join(f"\n\nSkipped: {name}, since {why}." for name, why in document["skipped"].items())
    inner = f"{_wrapped(about)}\n\n{_wrapped(f'Versions: {versions}.')}{skipped}\n\n{table(figures)}"
    pattern = re.escape(_MARKS[0]) + ".*" + re.escape(_MARKS[1])
    return re.sub(pattern, lambda _: f"{_MARKS[0]}\n\n{inner}\n\n{_MARKS[1]}", page, flags=re.DOTALL)


def ratio_chart(figures: Sequence[Figure], subtitle: str) -> str:
    """Return a chart of the ratios to the hand-written loop, with a line at 1."""
    bars = [
        Bar(figure.name, figure.ratio.median, f"{figure.ratio.median:.2f}")
        for figure in figures
        if figure.case == "rows" and figure.ratio is not None
    ]
    return bar_chart("Rows per second, as a multiple of a hand-written SDK loop", subtitle, bars, line_at=1.0)


def rate_chart(figures: Sequence[Figure], subtitle: str) -> str:
    """Return a chart of the rows per second of all ways to deliver that were measured."""
    bars = [
        Bar(
            f"{figure.name}: {way}" if way != OURS else f"{figure.name}: ours",
            spread.median,
            f"{spread.median:,.0f}",
            way == OURS,
        )
        for figure in figures
        if figure.case in {"readme", "dlt", "scaling"}
        for way, spread in figure.values.items()
    ]
    return bar_chart("Rows per second", subtitle, bars)


def _subtitle(document: dict[str, Any]) -> str:
    return (
        f"one run on a {document['machine']['cpus']}-core machine, {document['finished_at'][:10]}; the server shares it"
    )


def _wrapped(text: str, width: int = 120) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
