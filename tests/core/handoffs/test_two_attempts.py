"""Two attempts at one slice, of which the older one ends after the newer one was killed: who moves the state on?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.core.conftest import environment
from tests.core.handoffs.held_child import OPTIONS, HeldFiles
from zerobus_core import Handoff, NewFiles, Receipt, hand_over
from zerobus_core.errors import DeliverySupersededError
from zerobus_core.handoffs import Owner
from zerobus_local import LocalZerobus

ROOT = Path(__file__).parents[3]
OWNER = "dag/run/task"
ROWS = range(2_000)


class Attempts:
    """A folder of files, and attempts at its one slice; all but one in this process."""

    def __init__(self, zerobus: LocalZerobus, table: str, folder: Path, running: ExitStack) -> None:
        zerobus.create_table(f"CREATE TABLE {table} (id BIGINT)")
        self.zerobus, self.table, self.folder, self.running = zerobus, table, folder, running
        (folder / "landing").mkdir()
        for part in range(4):
            lines = "".join(f"{json.dumps({'id': number})}\n" for number in ROWS[part::4])
            (folder / "landing" / f"{part}.jsonl").write_text(lines)

    def older(self, chunks: int = -1, hold: Callable[[], None] = lambda: None) -> Handoff:
        source = HeldFiles(f"{self.folder}/landing/*.jsonl", chunks, hold)
        return Handoff(
            self.zerobus.workspace, self.table, source, state=self.folder / "s.json", owner=Owner(key=OWNER),
            options=OPTIONS,
        )  # fmt: skip

    def newer(self, chunks: int) -> subprocess.Popen[str]:
        """Another attempt of the same run, which has taken the slice up and is held after so many chunks."""
        child = subprocess.Popen(
            [
                sys.executable, "-m", "tests.core.handoffs.held_child", self.table, str(self.folder / "landing"),
                str(self.folder / "s.json"), OWNER, str(chunks),
            ],
            cwd=ROOT, env=os.environ | environment(self.zerobus.workspace), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.running.enter_context(child)
        self.running.callback(child.kill)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    def next_run(self) -> Receipt:
        source = NewFiles(f"{self.folder}/landing/*.jsonl")
        return hand_over(
            self.zerobus.workspace, self.table, source, state=self.folder / "s.json", options=OPTIONS
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads((self.folder / "s.json").read_text())
        return plain

    def ids(self) -> list[int]:
        return sorted(self.zerobus.read(self.table).column("id").to_pylist())


@pytest.fixture
def attempts(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> Iterator[Attempts]:
    with ExitStack() as running:
        yield Attempts(zerobus, table_name, tmp_path, running)


def test_an_older_attempt_with_every_row_durable_moves_the_state_on_after_the_newer_one_was_killed(
    attempts: Attempts,
) -> None:
    older = attempts.older()
    older.freeze()
    older.deliver()
    newer = attempts.newer(0)
    newer.kill()
    newer.wait()
    receipt = older.finish()
    assert (receipt.rows_acked, receipt.rows_resent) == (2_000, 0)
    assert attempts.state()["open"] is None
    assert attempts.next_run().rows_read == 0
    assert attempts.ids() == list(ROWS)


def test_an_older_attempt_that_was_superseded_leaves_the_slice_of_the_killed_one_to_the_next_run(
    attempts: Attempts,
) -> None:
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert go.wait(120)

    older = attempts.older(5, hold)
    older.freeze()
    errors: list[BaseException] = []

    def deliver() -> None:
        try:
            older.deliver()
        except DeliverySupersededError as error:
            errors.append(error)

    thread = threading.Thread(target=deliver)
    thread.start()
    assert held.wait(120)
    newer = attempts.newer(30)
    newer.kill()
    newer.wait()
    go.set()
    thread.join(120)
    assert [type(error) for error in errors] == [DeliverySupersededError]
    assert attempts.state()["open"] is not None, "rows are missing: nobody may have moved the state on"
    receipt = attempts.next_run()
    stored = attempts.ids()
    assert sorted(set(stored)) == list(ROWS)
    assert len(stored) - len(ROWS) <= receipt.rows_resent
    assert attempts.state()["open"] is None
    assert attempts.next_run().rows_read == 0


def test_a_newer_attempt_finds_that_the_older_one_has_moved_the_state_on(attempts: Attempts) -> None:
    older, newer = attempts.older(), attempts.older()
    older.freeze()
    older.deliver()
    newer.freeze()
    assert newer.deliver().rows_skipped == 2_000
    older.finish()
    before = attempts.state()
    receipt = newer.finish()
    assert attempts.state() == before
    assert (receipt.rows_acked, receipt.rows_skipped, receipt.rows_resent) == (0, 2_000, 0)
    assert attempts.ids() == list(ROWS)
