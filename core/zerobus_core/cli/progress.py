"""Progress of a delivery on stderr: a bar on a terminal, otherwise a line every ten seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from ..wording import plural

if TYPE_CHECKING:
    from ..receipt import Progress

__all__ = ["shown_progress"]

_LINE_EVERY = 10.0


@contextmanager
def shown_progress(*, quiet: bool) -> Generator[Callable[[Progress], None] | None]:
    """Show progress inside the ``with`` block, unless ``quiet`` is set.

    Yields the value to pass to ``ingest`` as ``on_progress``.
    """
    if quiet:
        yield None
    elif sys.stderr is not None and sys.stderr.isatty():  # it is None if it was closed
        with _bar() as show:
            yield show
    else:
        yield _lines()


def _lines() -> Callable[[Progress], None]:
    shown_at = 0.0

    def show(progress: Progress) -> None:
        nonlocal shown_at
        if progress.elapsed_s - shown_at >= _LINE_EVERY:
            shown_at = progress.elapsed_s
            of_all = "" if progress.total_rows is None else f" of {progress.total_rows:,}"
            rows = plural(_durable(progress), "row")
            click.echo(f"{progress.table}: {_durable(progress):,} {rows}{of_all} durable; {_rates(progress)}", err=True)

    return show


@contextmanager
def _bar() -> Generator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    # In a narrow terminal the name, and then what happens, are cut short; the bar and the count never are.
    columns = (
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True, min_width=1)),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rates]}", table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis")),
    )
    with Bars(*columns, console=Console(stderr=True), expand=True) as bars:
        task = bars.add_task("", total=None, rates="", count="")

        def show(progress: Progress) -> None:
            of_all = "" if progress.total_rows is None else f"/{progress.total_rows:,}"
            bars.update(
                task,
                description=progress.table,
                total=progress.total_rows,
                completed=_durable(progress),
                count=f"{_durable(progress):,}{of_all}",
                rates=_rates(progress),
            )

        yield show


def _durable(progress: Progress) -> int:
    return progress.rows_acked + progress.rows_skipped


def _rates(progress: Progress) -> str:
    dead = f", {progress.rows_dead_lettered:,} bad" if progress.rows_dead_lettered else ""
    trouble = f"; trying again after: {progress.last_error}" if progress.last_error else ""
    if progress.is_connecting:
        return f"connecting{trouble}"
    return (
        f"{progress.rows_per_s:,.0f} rows/s, {progress.unacked_rows:,} in flight on {progress.streams} "
        f"{plural(progress.streams, 'stream')}{dead}{trouble}"
    )
