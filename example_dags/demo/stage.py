"""The objects and functions that several acts of the demo use: the server, Airflow, the flights, and checks."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from example_dags.demo.console import Story
from example_dags.demo.delta import checksum, checksums, row_count
from example_dags.demo.hosts import Airflow, Child
from zerobus_local import LocalZerobusProcess

__all__ = ["DagRun", "Stage", "compare", "last_error", "show_receipt"]

_RUN_TIMEOUT = 300.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The objects that every act with Airflow uses."""

    story: Story
    home: Path
    server: LocalZerobusProcess
    airflow: Airflow
    runs: Child
    flights: pa.Table

    @property
    def rows(self) -> int:
        """The number of flights to push."""
        return int(self.flights.num_rows)


class DagRun:
    """One run of the Dag, started in the child process."""

    def __init__(self, stage: Stage, table: str, path: Path) -> None:
        self._stage = stage
        self._path = path
        self._runs_before = stage.airflow.run_count()
        self._receipt = stage.home / f"{table}.json"
        stage.runs.send({"table": table, "rows": stage.rows, "receipt": str(self._receipt)})

    @property
    def receipt(self) -> dict[str, Any] | None:
        """The receipt that the task after the push got; None if that task did not run."""
        return json.loads(self._receipt.read_text()) if self._receipt.exists() else None

    def is_over(self) -> bool:
        """Return whether the Dag run has ended, successfully or not."""
        airflow = self._stage.airflow
        return airflow.run_count() > self._runs_before and airflow.run_state() in {"success", "failed"}

    def watch(self, what: str, until: Callable[[], bool], *, interval: float = 0.25) -> None:
        """Show the number of rows in the Delta table until ``until()`` is true or the run is over."""
        ends = time.monotonic() + _RUN_TIMEOUT
        with self._stage.story.progress(what, self._stage.rows) as show:
            while not (until() or self.is_over()):
                self._stage.runs.check()
                if time.monotonic() > ends:
                    raise TimeoutError(f"the Dag run took more than {_RUN_TIMEOUT:g} s; see {self._stage.runs.log}")
                show(row_count(self._path))
                time.sleep(interval)
            show(row_count(self._path))

    def kill_the_server_in_the_middle(self) -> int:
        """Kill the server once a fifth of the rows is durable, and return the number of rows in the Delta table."""
        stage = self._stage
        self.watch("a fifth of the rows is durable", lambda: row_count(self._path) * 5 >= stage.rows, interval=0.03)
        pid = stage.server.pid
        stage.server.kill()
        rows = row_count(self._path)
        stage.story.holds(
            f"kill -9 {pid} of the server; rows in the table then, of {stage.rows:,}",
            0 < rows < stage.rows,
            rows,
            "some of them",
        )
        return rows


def show_receipt(story: Story, receipt: Mapping[str, Any]) -> None:
    """Print the most important figures of a receipt: rows, seconds and rows per second."""
    if receipt:
        rows, seconds = receipt["rows_acked"], receipt["duration_s"]
        story.tell(f"receipt: {rows:,} rows acknowledged in {seconds:.1f} s, {rows / seconds:,.0f} rows a second")


def compare(story: Story, expected: pa.Table, seen: pa.Table) -> None:
    """Check that two tables have equal numbers of rows, and equal checksums of each column and of all rows.

    ``expected`` is the source; it is cast to the types of the Delta table ``seen``.
    """
    expected = expected.cast(seen.schema)
    story.equal("rows in the Delta table, each counted once", expected.num_rows, seen.num_rows)
    theirs, ours = checksums(expected), checksums(seen)
    equal = [name for name in theirs if theirs[name] == ours.get(name)]
    story.equal("columns whose checksum equals that of the source", len(theirs), len(equal))
    for name in sorted(set(theirs) - set(equal)):
        story.tell(f"column {name}: source {theirs[name]}, Delta table {ours.get(name)}")
    story.equal("checksum of all rows, equal to that of the source", checksum(expected), checksum(seen))


def last_error(log: Path) -> str:
    """Return the last error message in the log, or "nothing"."""
    said = re.findall(r"^\w+(?:\.\w+)*Error: (.*)$", log.read_text(errors="replace"), re.MULTILINE)
    return said[-1] if said else "nothing"
