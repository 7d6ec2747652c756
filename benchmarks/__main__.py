"""``make bench``: measures what deliveries cost, compared with alternatives; writes a table and a JSON file.

    python -m benchmarks [--quick] [--only NAME] [--page]

Each case runs in a process of its own. When the time limit of a case is over, the process is stopped together with its
server and its children. The exit code is 1 if a case failed. A missed target is printed, but is not a failure.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .cases import CASES
from .measuring import Figure, Settings
from .one_case import read_lines
from .page import write_page
from .report import machine, save, shown, table

_ROOT = Path(__file__).parents[1]
# Seconds that --hundred-million adds to the time limit of the case "memory".
_HUNDRED_MILLION_SECONDS = 900.0


def main(arguments: list[str] | None = None) -> int:
    """Run the cases, and return the exit code."""
    given = _parser().parse_args(arguments)
    settings = Settings(quick=given.quick, hundred_million=given.hundred_million)
    facts, started = machine(), time.monotonic()
    figures: list[Figure] = []
    skipped: dict[str, str] = {}
    failed: list[str] = []
    for name in given.only or CASES:
        print(f"\n# {name}: {CASES[name].about}", flush=True)
        found, why_not, has_failed = run_case(name, settings)
        figures += found
        if why_not:
            skipped[name] = why_not
            print(f"{'FAILED' if has_failed else 'skipped'}: {why_not}", flush=True)
        if has_failed:
            failed.append(name)
    seconds = round(time.monotonic() - started)
    print(f"\n{table(figures)}\n\n{seconds} s; all figures are in {given.json}")
    save(given.json, figures, settings, skipped, machine=facts, seconds=seconds)
    if given.page:
        write_page(given.json, _ROOT / "docs")
    return 1 if failed else 0


def run_case(name: str, settings: Settings) -> tuple[list[Figure], str, bool]:
    """Run one case; return its figures, the reason if any are missing (or ""), and whether it has failed."""
    limit = CASES[name].limit + (_HUNDRED_MILLION_SECONDS if name == "memory" and settings.hundred_million else 0.0)
    # A server that was killed a moment ago may still be writing a file.
    with tempfile.TemporaryDirectory(prefix="zerobus-bench-", ignore_cleanup_errors=True) as folder:
        out = Path(folder) / "figures"
        command = [sys.executable, "-m", "benchmarks.one_case", name, str(out)]
        command += ["--quick"] * settings.quick + ["--hundred-million"] * settings.hundred_million
        # TMPDIR is the folder that is removed here, so no file stays even if the case is killed. RUST_LOG=off keeps the
        # SDK from logging.
        variables = {"RUST_LOG": "off"} | os.environ | {"TMPDIR": folder}
        process = subprocess.Popen(command, cwd=_ROOT, env=variables, start_new_session=True)
        why_not = ""
        try:
            code = process.wait(limit)
            if code:
                why_not = f"it ended with code {code}"
        except subprocess.TimeoutExpired:
            why_not = f"it was stopped after {limit:.0f} s"
        finally:
            _end(process)
        figures, skipped = read_lines(out)
    for figure in figures:
        print(shown(figure), flush=True)
    return figures, skipped or why_not, not skipped and bool(why_not)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children if they still run; the local server ends when its parent has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows and turns, in about two minutes")
    parser.add_argument(
        "--only", action="append", choices=list(CASES), metavar="NAME", help="run only this case; can be repeated"
    )
    parser.add_argument(
        "--hundred-million", action="store_true", help="also measure the peak memory of 100 million rows (minutes)"
    )
    parser.add_argument("--json", type=Path, default=_ROOT / ".bench" / "results.json", help="file for the figures")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md and its pictures from this run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
