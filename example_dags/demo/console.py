"""Shows sections, progress and checks while the demo runs, on a terminal or in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["Story"]

_LINE_EVERY = 10.0


class Story:
    """Prints what happens, and counts the checks.

    On a terminal, progress is a bar that disappears at its end; elsewhere it is a line every ten seconds.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.passed = 0
        self.failures: list[str] = []
        self._sections = 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """The seconds since the demo began."""
        return time.monotonic() - self._started

    def section(self, title: str, proves: str) -> None:
        """Begin the next section, and print what it proves."""
        self._sections += 1
        self.console.print(f"\n[bold]{self._sections}  {title}[/bold]  [dim]at {self.seconds:.0f} s[/dim]")
        self.tell(f"Proves: {proves}")

    def tell(self, text: str) -> None:
        """Print a line of text."""
        self.console.print(f"   {text}", markup=False)

    def equal(self, what: str, expected: Any, seen: Any) -> None:
        """Check that two values are equal, and show the value."""
        self.holds(what, expected == seen, seen, expected)

    def holds(self, what: str, good: bool, seen: Any, expected: Any) -> None:
        """Check a condition; show what was seen, and what was expected if the condition does not hold."""
        if good:
            self.passed += 1
            self.console.print(f"   [green]ok[/green]   {what}: {_text(seen)}")
            return
        self.failures.append(f"{what}: expected {_text(expected)}, seen {_text(seen)}")
        self.console.print(f"   [bold red]FAILED[/bold red] {self.failures[-1]}")

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show the progress of the ``with`` block, which calls the yielded function with the number of rows so far."""
        started = time.monotonic()
        live = self.console.is_terminal
        columns = [TextColumn("   {task.description}"), BarColumn(), TimeElapsedColumn()]
        if total is not None:
            columns.insert(2, MofNCompleteColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not live) as bar:
            task = bar.add_task(what, total=total)
            next_line = started + _LINE_EVERY if not live else float("inf")

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
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
