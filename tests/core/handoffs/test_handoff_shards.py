"""A slice that several processes deliver: frozen once, delivered by shards, finished when all of them are durable."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerobus_core import (
    ClientCredentials,
    ConfigurationError,
    Handoff,
    HandoffBusyError,
    NewFiles,
    NewItems,
    NewRows,
    Receipt,
    ShardsMissingError,
    SliceForgottenError,
    hand_over,
    ingest,
)
from zerobus_core.handoffs import Owner
from zerobus_core.handoffs import shards as shards_of_slices
from zerobus_local import LocalZerobus

CHILD = Path(__file__).with_name("slice_shard_child.py")
FILES, ROWS = 6, 200


class Slices:
    """A folder, a table, and the state of the handoff between them."""

    def __init__(self, zerobus: LocalZerobus, table: str, folder: Path) -> None:
        zerobus.create_table(f"CREATE TABLE {table} (id BIGINT, at STRING)")
        self.zerobus, self.table, self.folder = zerobus, table, folder
        (folder / "landing").mkdir()
        for number in range(FILES):
            self.write(number)

    def write(self, number: int) -> None:
        rows = range(number * ROWS, (number + 1) * ROWS)
        (self.folder / "landing" / f"{number}.jsonl").write_text("".join(f'{{"id": {row}}}\n' for row in rows))

    def handoff(self, run: str = "", *, chain: str = "", source: Any = None, later: float = 0.0) -> Handoff:
        """The handoff as one of many processes has it; ``later`` is how far its clock is ahead, in seconds."""
        return Handoff(
            self.zerobus.workspace,
            self.table,
            source or NewFiles(self.folder / "landing"),
            state=self.folder / "state" / "s.json",
            owner=Owner(key=run, chain=chain) if run else None,
            clock=lambda: datetime.now(UTC) + timedelta(seconds=later),
        )

    def run(self) -> Receipt:
        source = NewFiles(self.folder / "landing")
        return hand_over(self.zerobus.workspace, self.table, source, state=self.folder / "state" / "s.json")

    def counts(self) -> Counter[int]:
        return Counter(self.zerobus.read(self.table).column("id").to_pylist())

    def child(self, shard: dict[str, Any]) -> subprocess.Popen[bytes]:
        workspace = self.zerobus.workspace
        assert isinstance(workspace.credentials, ClientCredentials)
        environ = {
            **os.environ,
            "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
            "DATABRICKS_HOST": workspace.workspace_url,
            "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
            "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
        }
        job = {
            "table": self.table,
            "landing": str(self.folder / "landing"),
            "state": str(self.folder / "state" / "s.json"),
            "shard": shard,
        }
        return subprocess.Popen([sys.executable, str(CHILD), json.dumps(job)], env=environ, stdout=subprocess.DEVNULL)


@pytest.fixture
def slices(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> Slices:
    return Slices(zerobus, table_name, tmp_path)


def everything() -> Counter[int]:
    return Counter(range(FILES * ROWS))


def test_a_slice_is_delivered_by_shards_and_finished_by_the_last_task(slices: Slices) -> None:
    shards = slices.handoff("run1").split(3)
    assert len(shards) == 3
    assert all(len(json.dumps(shard)) < 600 for shard in shards)
    assert len({shard["fingerprint"] for shard in shards}) == 3
    slices.write(FILES)  # after the freeze: for the next run
    receipts = [slices.handoff().deliver_shard(shard).as_dict() for shard in json.loads(json.dumps(shards))]
    assert [receipt["rows_acked"] for receipt in receipts] == [400, 400, 400]
    state = slices.handoff().show()
    assert state["open"]["shards"] == 3, "shards never write the state"
    receipt = slices.handoff("run1").finish_shards(receipts)
    assert (receipt.rows_acked, receipt.shards, receipt.rows_resent) == (FILES * ROWS, 3, 0)
    assert receipt.handoff is not None
    assert (receipt.handoff["slice"], receipt.handoff["files"], receipt.handoff["to"]) == (shards[0]["slice"], 6, 6)
    assert slices.counts() == everything()
    assert slices.run().rows_acked == ROWS
    assert slices.handoff("run1").finish_shards(receipts).handoff["delivered_by"] == "run1"  # type: ignore[index]
    assert slices.handoff().show()["done"] == FILES + 1


@pytest.mark.timeout(180)
def test_only_the_shard_whose_process_was_killed_runs_again(slices: Slices) -> None:
    shards = slices.handoff("run1").split(3)
    slow = slices.zerobus.faults.add(action="delay_ack", seconds=0.1, table=slices.table)
    dying = slices.child(shards[1])
    others = [slices.handoff().deliver_shard(shards[index]) for index in (0, 2)]
    deadline = time.monotonic() + 60
    while sum(slices.counts().values()) < 800 + 100:
        assert time.monotonic() < deadline
        assert dying.poll() is None, "the shard has ended before it was killed"
        time.sleep(0.05)
    dying.kill()
    dying.wait()
    slices.zerobus.faults.remove(slow)
    with pytest.raises(ShardsMissingError, match="1 of 3 shards .*: 1"):
        slices.handoff("run1").finish_shards(others)
    assert slices.handoff().show()["done"] == 0
    again = slices.handoff().deliver_shard(shards[1])
    assert again.rows_skipped > 0
    receipt = slices.handoff("run1").finish_shards([*others, again])
    assert receipt.rows_read == receipt.rows_acked + receipt.rows_skipped == FILES * ROWS
    counts = slices.counts()
    assert set(counts) == set(everything())
    assert sum(counts.values()) - FILES * ROWS <= receipt.rows_resent


def test_finishing_before_all_shards_are_durable_is_refused_and_names_them(slices: Slices) -> None:
    shards = slices.handoff("run1").split(4)
    receipts = [slices.handoff().deliver_shard(shard) for shard in shards[:2]]
    with pytest.raises(ShardsMissingError, match=r"2 of 4 shards .*: 2, 3\."):
        slices.handoff("run1").finish_shards(receipts)
    untrue = {**receipts[0].as_dict(), "rows_acked": 0}
    with pytest.raises(ShardsMissingError, match="3 of 4 shards"):
        slices.handoff("run1").finish_shards([untrue, receipts[1]])
    with pytest.raises(ConfigurationError, match="two receipts for one shard"):
        slices.handoff("run1").finish_shards([*receipts, receipts[0]])
    whole = ingest(slices.zerobus.workspace, slices.table, [{"id": -1}])
    with pytest.raises(ConfigurationError, match="deliver_shard"):
        slices.handoff("run1").finish_shards([whole])
    assert slices.handoff().show()["done"] == 0


def test_another_run_is_busy_until_the_lease_of_the_shards_has_expired(slices: Slices) -> None:
    slices.handoff("run1").split(3)
    with pytest.raises(HandoffBusyError, match="run1 .its shards."):
        slices.handoff("run2").split(3)
    with pytest.raises(HandoffBusyError, match="run1"):
        slices.run()
    with pytest.raises(HandoffBusyError, match="run1"):  # retries wait for minutes: longer than a process's lease
        slices.handoff("run2", later=3_500).split(3)
    assert slices.handoff("run2", later=3_700).split(3)


def test_a_slice_that_shards_deliver_is_not_skipped_or_rewound_before_its_lease_ends(slices: Slices) -> None:
    """Its shards would go on sending, and the next run would send the same rows again."""
    shards = slices.handoff("run1").split(3)
    slices.handoff().deliver_shard(shards[0])
    before = slices.handoff().show()
    lease_ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()[:14]  # to the hour
    for change in (lambda: slices.handoff().skip(shards[0]["slice"]), lambda: slices.handoff().rewind(None)):
        with pytest.raises(HandoffBusyError, match=rf"run1 .its shards.*until {lease_ends}.*handoff release --lease"):
            change()
    assert slices.handoff().show() == before
    assert before["open"]["lease_ends_at"].startswith(lease_ends)
    slices.handoff(later=3_700).skip(shards[0]["slice"])
    assert slices.handoff(later=3_700).show()["history"][-1]["outcome"] == "skipped"


def test_a_process_that_delivers_a_slice_keeps_it_from_being_skipped_or_rewound(slices: Slices) -> None:
    held = slices.handoff("run1")
    bounds = held.freeze()
    assert bounds is not None
    with pytest.raises(HandoffBusyError, match=f"process {os.getpid()} .*until"):
        slices.handoff().rewind(None)
    with pytest.raises(HandoffBusyError, match="nothing was changed"):
        slices.handoff().skip(bounds.id)
    held.deliver()
    assert held.finish().rows_acked == FILES * ROWS
    slices.handoff().rewind(None)
    assert slices.run().rows_acked == FILES * ROWS


def test_a_lease_that_a_person_ends_lets_the_next_run_take_the_slice_up(slices: Slices) -> None:
    shards = slices.handoff("run1").split(3)
    slices.handoff().deliver_shard(shards[0])  # the worker of the others died for good
    with pytest.raises(SliceForgottenError, match="is not open"):
        slices.handoff().end_lease("000009-00000000")
    slices.handoff().end_lease(shards[0]["slice"])
    assert not slices.handoff().show()["open"]["is_held"]
    receipt = slices.run()
    assert (receipt.rows_skipped, receipt.rows_acked) == (400, 800)
    assert slices.counts() == everything()
    with pytest.raises(SliceForgottenError, match="no slice is open"):
        slices.handoff().end_lease()


def test_the_last_task_without_receipts_fails_if_the_slice_of_its_run_is_open(slices: Slices) -> None:
    """As after shards that all failed, if the last task runs whatever became of them."""
    slices.handoff("run1", later=-4_000).split(3)
    with pytest.raises(ShardsMissingError, match=r"3 of 3 shards .*: 0, 1, 2\."):
        slices.handoff("run1").finish_shards([])
    slices.handoff("run2").split(3)
    with pytest.raises(HandoffBusyError, match="run2 took over slice"):
        slices.handoff("run1").finish_shards([])
    other = slices.handoff("run3").finish_shards([])
    assert other.rows_read == 0, "a run that froze nothing has nothing to finish"


def test_each_save_of_a_shards_checkpoint_renews_the_lease(slices: Slices) -> None:
    late = slices.handoff("run1", later=-3_000)
    shards = late.split(3)
    slices.handoff().deliver_shard(shards[0])  # now, and 3,000 s after the split
    with pytest.raises(HandoffBusyError, match="run1"):
        slices.handoff("run2", later=3_000).split(3)


def test_a_run_that_takes_the_slice_up_sends_nothing_twice_and_the_old_shards_are_refused(slices: Slices) -> None:
    shards = slices.handoff("run1").split(3)
    slices.handoff().deliver_shard(shards[0])
    taken = slices.handoff("run2", later=4_000).split(8)
    assert [shard["of"] for shard in taken] == [3, 3, 3], "the slice keeps its shards"
    with pytest.raises(HandoffBusyError, match="run2 took over slice"):
        slices.handoff(later=4_000).deliver_shard(shards[1])
    receipts = [slices.handoff(later=4_000).deliver_shard(shard) for shard in taken]
    assert [receipt.rows_skipped for receipt in receipts] == [400, 0, 0]
    receipt = slices.handoff("run2", later=4_000).finish_shards(receipts)
    assert slices.counts() == everything()
    assert receipt.handoff is not None
    assert receipt.handoff["remaining"], "what came since belongs to the next run"
    late = slices.handoff(later=4_000).deliver_shard(shards[1])
    assert (late.rows_read, late.rows_acked) == (0, 0)
    assert "run2" in late.notes[0]


def test_a_run_without_shards_delivers_the_shards_of_the_slice_that_it_takes_up(slices: Slices) -> None:
    shards = slices.handoff("run1").split(3)
    slices.handoff().deliver_shard(shards[2])
    receipt = slices.handoff("run2", later=4_000).run()
    assert (receipt.rows_skipped, receipt.rows_acked) == (400, 800)
    assert slices.counts() == everything()


def test_a_slice_that_was_begun_as_a_whole_is_one_shard(slices: Slices) -> None:
    begun = slices.handoff("run1")
    begun.freeze()
    begun.deliver()  # and the process ends before finish()
    shards = slices.handoff("run1").split(3)
    assert len(shards) == 1
    again = slices.handoff().deliver_shard(shards[0])
    assert again.rows_skipped == FILES * ROWS
    assert slices.handoff("run1").finish_shards([again]).rows_skipped == FILES * ROWS
    assert slices.counts() == everything()


def test_a_run_that_is_cleared_sends_its_shards_once_more(slices: Slices) -> None:
    first = slices.handoff("run1", chain="a")
    receipts = [slices.handoff().deliver_shard(shard) for shard in first.split(2)]
    slices.handoff("run1", chain="other task").finish_shards(receipts)
    assert slices.handoff("run1", chain="a").split(2) == [], "a retry has nothing to do"
    shards = slices.handoff("run1", chain="b").split(2)
    receipts = [slices.handoff().deliver_shard(shard) for shard in shards]
    receipt = slices.handoff("run1", chain="other task").finish_shards(receipts)
    assert receipt.rows_redelivered == FILES * ROWS
    assert set(slices.counts().values()) == {2}
    assert slices.handoff("run1", chain="b").split(2) == []
    assert slices.handoff().show()["done"] == FILES


def test_a_released_file_is_left_out_and_other_shards_keep_what_is_durable(slices: Slices) -> None:
    shards = slices.handoff("run1").split(3)
    first = slices.handoff().deliver_shard(shards[0])
    number = next(number for number in range(FILES) if number * ROWS not in slices.counts())
    (slices.folder / "landing" / f"{number}.jsonl").write_text("damaged")
    slices.handoff().release(f"{number}.jsonl")
    receipts = [first, *(slices.handoff().deliver_shard(shard) for shard in shards[1:])]
    receipt = slices.handoff("run1").finish_shards(receipts)
    assert receipt.rows_acked == (FILES - 1) * ROWS
    assert slices.counts() == everything() - Counter(range(number * ROWS, (number + 1) * ROWS))


def test_parts_of_one_large_file_are_disjoint_and_complete(slices: Slices) -> None:
    landing = slices.folder / "landing"
    for number in range(FILES):
        (landing / f"{number}.jsonl").unlink()
    rows = pa.table({"id": list(range(10_000))})
    pq.write_table(rows, landing / "large.parquet", row_group_size=500)
    shards = slices.handoff("run1").split(4)
    assert len(shards) == 4
    slices.handoff("run1").finish_shards([slices.handoff().deliver_shard(shard) for shard in shards])
    assert slices.counts() == Counter(range(10_000))


def test_rows_are_split_by_ranges_of_the_column(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    slices = Slices(zerobus, table_name, tmp_path)
    database = tmp_path / "rows.db"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(database)

    def insert(*rows: tuple[int, str | None]) -> None:
        connection = connect()
        connection.executemany("INSERT INTO orders VALUES (?, ?)", rows)
        connection.commit()
        connection.close()

    connection = connect()
    connection.execute("CREATE TABLE orders (id INTEGER, at TEXT)")
    connection.close()
    insert(*((number, f"2026-01-{number % 20 + 1:02d}") for number in range(-100, 300)), (999, None))
    source = NewRows(connect, "SELECT * FROM orders", column="at", key="id", commits_in_order=True)
    shards = slices.handoff("run1", source=source).split(6)
    assert 2 <= len(shards) <= 6
    assert "2026" not in json.dumps(shards), "values stay in the state"
    insert((1_000, "2026-02-01"))  # after the slice
    receipts = [slices.handoff(source=source).deliver_shard(shard) for shard in shards]
    assert all(receipt.rows_acked for receipt in receipts)
    receipt = slices.handoff("run1", source=source).finish_shards(receipts)
    assert receipt.handoff is not None
    assert (receipt.handoff["to"], receipt.handoff["null_rows"]) == ("2026-01-20", 1)
    assert slices.counts() == Counter(range(-100, 300))
    rest = slices.handoff("run2", source=source).run()
    assert rest.rows_acked == 1


def test_items_cannot_be_split(slices: Slices) -> None:
    source = NewItems(lambda since, upto: ([{"id": 1}], "1"))
    with pytest.raises(ConfigurationError, match="cannot be split"):
        slices.handoff("run1", source=source).split(2)
    assert not (slices.folder / "state" / "s.json").exists(), "nothing was frozen"


def test_a_file_released_while_a_split_slice_is_taken_over_stays_released(slices: Slices) -> None:
    slices.handoff("run1").split(2)
    slices.handoff().release("1.jsonl")
    again = slices.handoff("run1")
    again.freeze()
    slices.handoff().release("2.jsonl")
    assert again._slice is not None
    taken = shards_of_slices.share(again._kept, again._slice, 2, {})
    assert slices.handoff().show()["open"]["left_out"] == ["1.jsonl", "2.jsonl"]
    described = shards_of_slices.describe(again._kept, taken)
    receipts = [slices.handoff().deliver_shard(shard) for shard in described]
    slices.handoff("run1").finish_shards(receipts)
    left_out = range(ROWS, 3 * ROWS)
    assert slices.counts() == Counter(row for row in everything() if row not in left_out)


def test_nothing_new_has_no_shards_and_the_last_task_says_so(slices: Slices) -> None:
    slices.run()
    assert slices.handoff("run1").split(3) == []
    receipt = slices.handoff("run1").finish_shards([])
    assert receipt.rows_read == 0
    assert "no file is new" in receipt.notes[0]


@pytest.mark.parametrize("n", [0, -1, 1.5, True, 1_001, "4"])
def test_a_number_of_shards_that_cannot_be_is_refused(slices: Slices, n: Any) -> None:
    with pytest.raises(ConfigurationError, match="n must be"):
        slices.handoff("run1").split(n)


def test_a_shard_that_was_changed_or_is_of_another_handoff_is_refused(slices: Slices) -> None:
    shard = slices.handoff("run1").split(3)[0]
    with pytest.raises(ConfigurationError, match="was changed"):
        slices.handoff().deliver_shard({**shard, "index": 1})
    with pytest.raises(ConfigurationError, match="deliver_shard"):
        ingest(slices.zerobus.workspace, slices.table, shard)
    slices.handoff().end_lease(shard["slice"])
    slices.handoff().skip(shard["slice"])
    assert slices.handoff().deliver_shard(shard).rows_read == 0
    slices.handoff().rewind(None)
    slices.handoff("run2").split(3)
    other = {**shard, "slice": "000009-00000000"}
    with pytest.raises(ConfigurationError, match="was changed"):
        slices.handoff().deliver_shard(other)


def test_a_shard_of_a_slice_that_is_gone_is_refused(slices: Slices) -> None:
    shard = slices.handoff("run1", later=-4_000).split(3)[0]
    slices.handoff().rewind(None)
    with pytest.raises(SliceForgottenError, match="is no longer open"):
        slices.handoff().deliver_shard(shard)
