"""What the demo shows while it runs: sections, progress, receipts and checks; on a terminal and in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["Story"]

_LINE_EVERY = 5.0


class Story:
    """Reports what happens, and keeps account of the checks.

    On a terminal it draws bars that vanish when they are done; anywhere else it prints a line every five seconds.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.passed = 0
        self.failures: list[str] = []
        self._sections = 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._started

    def section(self, title: str) -> None:
        """Begin the next part."""
        self._sections += 1
        self.console.print(f"\n[bold]{self._sections}  {title}[/bold]  [dim]at {self.seconds:.0f} s[/dim]")

    def tell(self, text: str) -> None:
        """Say something."""
        self.console.print(f"   {text}", markup=False)

    def equal(self, what: str, expected: Any, seen: Any) -> None:
        """Check that two values are equal, and show both."""
        self.holds(what, expected == seen, expected, seen)

    def holds(self, what: str, good: bool, expected: Any, seen: Any) -> None:
        """Check a condition, and show what was expected and what was seen."""
        if good:
            self.passed += 1
        else:
            self.failures.append(f"{what}: expected {_text(expected)}, seen {_text(seen)}")
        verdict = "[green]ok[/green]    " if good else "[bold red]FAILED[/bold red]"
        self.console.print(f"   {verdict} {what}: expected {_text(expected)}, seen {_text(seen)}")

    def mapping(self, values: Mapping[str, Any]) -> None:
        """Show names and values, a receipt for example."""
        width = max(map(len, values), default=0)
        for name, value in values.items():
            self.tell(f"  {name:{width}}  {_text(value)}")

    def table(self, columns: list[str], rows: list[list[str]]) -> None:
        """Show a table of texts."""
        table = Table(box=None, padding=(0, 2), pad_edge=False)
        for name in columns:
            table.add_column(f"     {name}" if name == columns[0] else name)
        for first, *rest in rows:
            table.add_row(f"     {first}", *rest)
        self.console.print(table)

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show that something goes on, and how far it has come; call the function with the rows so far."""
        started = time.monotonic()
        live = self.console.is_terminal
        columns = [TextColumn("   {task.description}"), BarColumn(), TimeElapsedColumn()]
        if total is not None:
            columns.insert(2, MofNCompleteColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not live) as bar:
            task = bar.add_task(what, total=total)
            next_line = started if not live else float("inf")

            def update(done: int) -> None:
                nonlocal next_line
                bar.update(task, completed=done)
                if time.monotonic() >= next_line:
                    next_line = time.monotonic() + _LINE_EVERY
                    rows = "" if total is None else f": {done:,} of {total:,} rows"
                    self.tell(f"… {what}{rows} ({time.monotonic() - started:.0f} s)")

            yield update
        self.tell(f"{what}: {time.monotonic() - started:.1f} s")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
