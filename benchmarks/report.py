"""Reports a run of the benchmarks: as a JSON file that also names the versions and the machine, and as a table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .measuring import OURS, Figure, Settings, Spread

__all__ = ["load", "machine", "save", "shown", "table"]

_PACKAGES = (
    "zerobus-orchestration", "databricks-zerobus-ingest-sdk", "protobuf", "pyarrow", "ptars", "orjson", "pandas",
    "deltalake", "grpcio",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Return facts about this machine and its software."""
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_mib": _total_memory_mib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "commit": _commit(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def save(path: Path, figures: Sequence[Figure], settings: Settings, skipped: dict[str, str], **facts: Any) -> None:
    """Write the results of a run as JSON; ``facts`` are more entries, such as what ``machine()`` returns."""
    document = {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_quick": settings.quick,
        **facts,
        "skipped": skipped,
        "figures": [figure.as_json() for figure in figures],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> list[Figure]:
    """Return the figures of a file that ``save`` wrote."""
    return [Figure.from_json(figure) for figure in json.loads(path.read_text())["figures"]]


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table, with each column as wide as its widest cell."""
    head = ("Case", "What", "Ours", "The other way", "Ratio", "Ratio by CPU", "Target")
    lines = [head, *(_cells(figure) for figure in figures)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    rows = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(rows)


def shown(figure: Figure) -> str:
    """Return one figure in one line, for a person who watches the run."""
    return "  ".join(cell for cell in _cells(figure)[1:] if cell)


def _cells(figure: Figure) -> tuple[str, ...]:
    others = [f"{way} {_value(spread, figure.unit)}" for way, spread in figure.values.items() if way != OURS]
    ours = figure.values.get(OURS)
    return (
        figure.case,
        figure.name,
        "" if ours is None else _value(ours, figure.unit),
        ", ".join(others),
        _ratio(figure.ratio),
        _ratio(figure.cpu_ratio),
        figure.verdict,
    )


def _value(spread: Spread, unit: str) -> str:
    digits = 0 if abs(spread.median) >= 100 else 2
    return f"{spread.median:,.{digits}f} {unit}"


def _ratio(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f}, n={spread.count})"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    here = Path(__file__).parent
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False, timeout=20
    )
    return asked.stdout.strip() or None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _total_memory_mib() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError):
        return None
