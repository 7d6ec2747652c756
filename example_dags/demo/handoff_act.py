"""The handoff act of the demo: files arrive, and each run delivers the new files, even after a ``kill -9``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from example_dags.demo import source
from example_dags.demo.console import Story
from example_dags.demo.delta import read, row_count, without_repeats
from example_dags.demo.hosts import Child, workspace_environ
from example_dags.demo.stage import compare
from zerobus_local import LocalZerobusProcess

__all__ = ["hand_over_new_files"]

_TABLE = "main.default.flights_by_file"
_ROWS_PER_FILE = 5_000
_RUN_TIMEOUT = 120.0


def hand_over_new_files(story: Story, home: Path, server: LocalZerobusProcess, flights: pa.Table) -> None:
    """Run the handoff four times: with two new files, with none, with three until it is killed, and its retry."""
    story.section(
        "A handoff in plain Python: files arrive, and each run delivers what is new",
        "no file is missed, no later run sends a delivered file again, and a run that was killed sends only the rest.",
    )
    path = server.create_table(source.flights_sql(_TABLE)).path
    act = _Act(home / "handoff", server)
    files = [flights.slice(number * _ROWS_PER_FILE, _ROWS_PER_FILE) for number in range(6)]
    act.land(files[:2], first=1)
    with story.progress("first run, two new files"):
        receipt = act.run()
    story.equal("rows of the first run", 2 * _ROWS_PER_FILE, receipt["rows_acked"])
    with story.progress("second run, no new file"):
        receipt = act.run()
    story.equal("rows of the second run", 0, receipt["rows_acked"])
    act.land(files[2:5], first=3)
    with story.progress("third run, three new files, until it is killed"):
        landed = act.kill_in_the_middle(path) - 2 * _ROWS_PER_FILE
    story.holds("rows in the table after kill -9, of the run's 15,000", 0 < landed < 3 * _ROWS_PER_FILE, landed, "some")
    act.land(files[5:], first=6)
    with story.progress("its retry, after one more file has arrived"):
        receipt = act.run()
    delivered = read(path)
    twice = delivered.num_rows - 6 * _ROWS_PER_FILE
    resent = receipt["rows_resent"]
    story.holds(f"rows in the table twice (the receipt says at most {resent:,})", 0 <= twice <= resent, twice, resent)
    compare(story, flights.slice(0, 6 * _ROWS_PER_FILE), without_repeats(delivered))


class _Act:
    """The folder in which files arrive, and the runs that deliver them."""

    def __init__(self, home: Path, server: LocalZerobusProcess) -> None:
        self._home = home
        self._landing = home / "landing"
        self._landing.mkdir(parents=True)
        self._environ = workspace_environ(server.workspace)
        self._runs = 0

    def land(self, tables: list[pa.Table], *, first: int) -> None:
        """Write files to the folder, numbered from ``first``."""
        for number, table in enumerate(tables, first):
            pq.write_table(table, self._landing / f"flights-{number}.parquet")

    def run(self) -> dict[str, Any]:
        """Run the handoff to its end, and return the receipt."""
        with self._start() as child:
            child.wait(child.has_ended, lambda: None)
        receipt: dict[str, Any] = json.loads(self._receipt.read_text())
        return receipt

    def kill_in_the_middle(self, path: Path) -> int:
        """Start a run, kill it once it has made 4,000 rows durable, and return the number of rows in the table."""
        before, ends = row_count(path), time.monotonic() + _RUN_TIMEOUT
        with self._start() as child:
            while row_count(path) < before + 4_000 and not child.has_ended():
                if time.monotonic() > ends:
                    raise TimeoutError(f"no rows came in {_RUN_TIMEOUT:g} s; see {child.log}")
                time.sleep(0.03)
            child.check()
            child.kill()
        return row_count(path)

    @property
    def _receipt(self) -> Path:
        return self._home / f"receipt-{self._runs}.json"

    def _start(self) -> Child:
        self._runs += 1
        arguments = [str(self._landing), _TABLE, str(self._receipt)]
        return Child(
            ["-m", "example_dags.demo.handoff_run", *arguments], environ=self._environ, log=self._home / "runs.log"
        )
