"""The promises of the storage: acknowledged rows are there, whatever happens to the process."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import threading
import time
from contextlib import closing

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from zerobus.sdk.shared import RecordType, StreamConfigurationOptions, TableProperties, ZerobusException
from zerobus.sdk.sync import ZerobusSdk

from zerobus_local.catalog.catalog import Catalog
from zerobus_local.errors import InvalidRequest, UnknownOutcome, UnknownTable
from zerobus_local.process import LocalZerobusProcess
from zerobus_local.storage.compaction import CROWDED
from zerobus_local.storage.insert import insert_json_rows
from zerobus_local.storage.storage import Storage, StorageClosedError


@pytest.fixture
def catalog(tmp_path):
    return Catalog(tmp_path / "data")


@pytest.fixture
def storage(catalog):
    made = Storage(catalog, commit_delay=0.01)
    yield made
    made.close()


def table_of(catalog: Catalog, columns: str):
    catalog.execute(f"CREATE TABLE main.default.t ({columns})")
    return catalog.table("main.default.t")


def stored(table) -> list[dict[str, object]]:
    return DeltaTable(table.path).to_pyarrow_table().to_pylist()


def test_a_rest_insert_returns_when_the_rows_are_in_the_table(catalog, storage):
    table = table_of(catalog, "id BIGINT")
    version = insert_json_rows(storage, table, [{"id": 1}, {"id": 2}])
    assert version == DeltaTable(table.path).version()
    assert stored(table) == [{"id": 1}, {"id": 2}]


def test_polars_duckdb_and_deltalake_read_the_same_rows_out_of_the_folder(catalog, storage):
    table = table_of(
        catalog,
        "id BIGINT NOT NULL, name STRING, price DECIMAL(5,2), at TIMESTAMP, day DATE, tags ARRAY<STRING>, "
        "place STRUCT<x: INT>, ok BOOLEAN, raw BINARY",
    )
    full = {
        "id": 1, "name": "ü", "price": "1.25", "at": 1_767_225_600_000_000, "day": 20_454, "tags": ["a", None],
        "place": {"x": 1}, "ok": True, "raw": "AP8=",
    }  # fmt: skip
    insert_json_rows(storage, table, [full, {"id": 2}])
    insert_json_rows(storage, table, [{"id": 3}])
    expected = sorted(stored(table), key=lambda row: row["id"])
    assert [row["id"] for row in expected] == [1, 2, 3]
    assert pl.read_delta(table.path).sort("id").to_dicts() == expected
    dataset = DeltaTable(table.path).to_pyarrow_dataset()  # what DuckDB reads without its extension
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        relation = connection.register("t", dataset).sql("SELECT * FROM t ORDER BY id")
        assert relation.to_arrow_table().to_pylist() == expected


def test_a_rest_insert_with_a_bad_row_stores_nothing(catalog, storage):
    table = table_of(catalog, "id BIGINT")
    with pytest.raises(InvalidRequest, match="record 1, field id"):
        insert_json_rows(storage, table, [{"id": 1}, {"id": "x"}])
    assert stored(table) == []


def test_a_rest_insert_with_a_row_that_breaks_a_constraint_stores_nothing(catalog, storage):
    table = table_of(catalog, "id BIGINT, CONSTRAINT small CHECK (id < 10)")
    with pytest.raises(InvalidRequest, match="record 1: violates the constraint small"):
        insert_json_rows(storage, table, [{"id": 1}, {"id": 10}])
    assert stored(table) == []


def test_appends_within_the_commit_delay_share_one_commit(catalog):
    table = table_of(catalog, "id BIGINT")
    storage = Storage(catalog, commit_delay=30)
    outcomes: list[int | Exception] = []
    answered = threading.Event()

    def done(outcome: int | Exception) -> None:
        outcomes.append(outcome)
        answered.set()

    storage.append(table, pa.RecordBatch.from_pydict({"id": [1]}), done)
    assert not answered.wait(0.5)
    storage.append(table, pa.RecordBatch.from_pydict({"id": [2]}), done)
    storage.close()
    assert outcomes == [1, 1]


def test_rows_of_one_append_that_cannot_be_stored_do_not_take_others_with_them(catalog, storage):
    # The writer sees what no check before it has seen: here, a constraint made while the rows were under way.
    table = table_of(catalog, "id BIGINT")
    catalog.execute("ALTER TABLE main.default.t ADD CONSTRAINT small CHECK (id < 10)")
    outcomes: dict[int, int | Exception] = {}
    answered = threading.Barrier(4)

    def append(number: int) -> None:
        def done(outcome: int | Exception) -> None:
            outcomes[number] = outcome
            threading.Thread(target=answered.wait, daemon=True).start()

        storage.append(table, pa.RecordBatch.from_pydict({"id": [number]}), done)

    for number in (1, 2, 100):
        append(number)
    answered.wait(100)
    assert isinstance(outcomes[100], Exception)
    assert sorted(row["id"] for row in stored(table)) == [1, 2]


def test_rows_whose_commit_failed_after_it_was_written_are_not_committed_again(catalog, caplog):
    table = table_of(catalog, "id BIGINT")
    for version in range(90, 130):  # the log's own checkpoints cannot be written
        (table.path / "_delta_log" / f"{version:020}.checkpoint.parquet").mkdir()
    storage = Storage(catalog, commit_delay=0.01)
    outcomes: list[int | Exception] = []
    for number in range(240):
        storage.append(table, pa.RecordBatch.from_pydict({"id": [number]}), outcomes.append)
        if number % 2:  # two appends share a commit
            storage.append_and_wait(table, pa.RecordBatch.from_pydict({"id": [-number]}), timeout=60)
    storage.close()
    assert all(isinstance(outcome, int) for outcome in outcomes)
    assert sorted(row["id"] for row in stored(table)) == sorted([*range(240), *range(-239, 0, 2)])
    assert "the rows are in main.default.t, but a step after the commit failed:" in caplog.text


def test_rows_of_which_nobody_knows_whether_they_are_stored_are_reported_so(catalog):
    table = table_of(catalog, "id BIGINT")
    storage = Storage(catalog, commit_delay=0.01)
    storage.append_and_wait(table, pa.RecordBatch.from_pydict({"id": [1]}), timeout=60)
    log = table.path / "_delta_log"
    log.rename(table.path / "_elsewhere")
    log.write_text("a file, so that the log can be neither written nor read")
    outcomes: list[int | Exception] = []
    for number in (2, 3):
        storage.append(table, pa.RecordBatch.from_pydict({"id": [number]}), outcomes.append)
    storage.close()
    assert [type(outcome) for outcome in outcomes] == [UnknownOutcome, UnknownOutcome]


def test_rows_with_a_column_that_was_dropped_are_refused(catalog, storage):
    table = table_of(catalog, "id BIGINT, note STRING")
    catalog.execute("ALTER TABLE main.default.t DROP COLUMN note")
    with pytest.raises(InvalidRequest, match="column note was dropped"):
        storage.append_and_wait(table, pa.RecordBatch.from_pydict({"id": [1], "note": ["x"]}), timeout=100)


def test_rows_for_a_table_that_was_created_again_are_refused(catalog, storage):
    table = table_of(catalog, "id BIGINT")
    catalog.execute("DROP TABLE main.default.t")
    again = table_of(catalog, "id BIGINT")
    with pytest.raises(UnknownTable, match="created again"):
        storage.append_and_wait(table, pa.RecordBatch.from_pydict({"id": [1]}), timeout=100)
    assert stored(again) == []


@pytest.mark.parametrize(
    "statement",
    ["CREATE OR REPLACE TABLE main.default.t (id BIGINT)", "DROP TABLE main.default.t", "DROP CATALOG main CASCADE"],
)
def test_the_thread_that_writes_a_table_ends_with_the_table(catalog, statement):
    table = table_of(catalog, "id BIGINT")
    with closing(Storage(catalog, commit_delay=30)) as storage:
        outcomes: list[int | Exception] = []
        before = set(threading.enumerate())
        storage.append(table, pa.RecordBatch.from_pydict({"id": [1]}), outcomes.append)
        [writer] = [thread for thread in set(threading.enumerate()) - before if "-writer " in thread.name]
        before = set(threading.enumerate()) - {writer}
        catalog.execute(statement)
        # As of a stream that is still open.
        storage.append(table, pa.RecordBatch.from_pydict({"id": [2]}), outcomes.append)
        assert [type(outcome) for outcome in outcomes] == [UnknownTable, UnknownTable]
        assert not [thread for thread in set(threading.enumerate()) - before if "-writer " in thread.name]


@pytest.mark.slow
def test_a_table_of_many_small_commits_is_kept_to_few_files(catalog):
    table = table_of(catalog, "id BIGINT")
    storage = Storage(catalog, commit_delay=0)
    for number in range(4 * CROWDED):
        storage.append_and_wait(table, pa.RecordBatch.from_pydict({"id": [number]}), timeout=60)
    storage.close()
    assert len(DeltaTable(table.path).file_uris()) <= 1.5 * CROWDED
    assert sorted(row["id"] for row in stored(table)) == list(range(4 * CROWDED))


@pytest.mark.parametrize("statement", ["ALTER TABLE main.default.t DROP COLUMN x", "DROP TABLE main.default.t"])
def test_commits_go_on_beside_a_merge_and_ddl_waits_for_it(catalog, caplog, statement):
    table = table_of(catalog, "id BIGINT, x DOUBLE")
    storage = Storage(catalog, commit_delay=0)
    block = pa.RecordBatch.from_pydict({"id": [1], "x": [0.5]})
    ddl = threading.Thread(target=catalog.execute, args=[statement])
    with catalog.locks.compaction(table.table_id):  # as by a merge that takes long
        for _ in range(CROWDED + 32):
            storage.append_and_wait(table, block, timeout=60)
        ddl.start()
        ddl.join(0.5)
        assert ddl.is_alive(), "the statement ran during the merge"
        storage.append_and_wait(table, block, timeout=60)
        assert len(DeltaTable(table.path).file_uris()) == CROWDED + 33, "two merges ran at the same time"
    ddl.join(60)
    storage.close()
    if statement.startswith("ALTER"):
        delta = DeltaTable(table.path)
        assert delta.to_pyarrow_dataset().schema.names == ["id"]
        assert len(delta.file_uris()) < CROWDED
        assert delta.to_pyarrow_dataset().count_rows() == CROWDED + 33
    assert not caplog.records


def test_what_is_waiting_is_committed_when_the_storage_closes(catalog):
    table = table_of(catalog, "id BIGINT")
    storage = Storage(catalog, commit_delay=30)
    storage.append(table, pa.RecordBatch.from_pydict({"id": [1]}), lambda outcome: None)
    storage.close()
    assert stored(table) == [{"id": 1}]
    with pytest.raises(StorageClosedError, match="stopping"):
        storage.append(table, pa.RecordBatch.from_pydict({"id": [1]}), lambda outcome: None)


def test_no_thread_is_left_importing_when_the_storage_has_closed(tmp_path):
    # In a process of its own, where pandas is not imported yet; a thread that imports while Python ends aborts it.
    script = (
        "import pathlib, sys, threading\n"
        "from zerobus_local.catalog.catalog import Catalog\n"
        "from zerobus_local.storage.storage import Storage\n"
        "Storage(Catalog(pathlib.Path(sys.argv[1]))).close()\n"
        "print(*(thread.name for thread in threading.enumerate()))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert ended.stdout == "MainThread\n"


def test_an_append_waits_while_too_much_is_pending(catalog):
    table = table_of(catalog, "id BIGINT")
    storage = Storage(catalog, commit_delay=0.3, max_pending_bytes=1)
    batch = pa.RecordBatch.from_pydict({"id": list(range(100))})
    begin = time.monotonic()
    storage.append(table, batch, lambda outcome: None)
    storage.append(table, batch, lambda outcome: None)
    assert time.monotonic() - begin >= 0.3
    storage.close()
    assert len(stored(table)) == 200


class Sender(threading.Thread):
    """Sends batches of increasing numbers through the SDK until its stream dies; knows which were acknowledged."""

    def __init__(self, server: LocalZerobusProcess, first: int) -> None:
        super().__init__(daemon=True)
        self._credentials = server.workspace.credentials
        sdk = ZerobusSdk(server.endpoint, server.workspace_url)
        self._stream = sdk.create_stream(
            self._credentials.client_id,
            self._credentials.client_secret,
            TableProperties("main.default.t"),
            StreamConfigurationOptions(record_type=RecordType.JSON, recovery=False),
        )
        self._next = first
        self.acknowledged: set[int] = set()
        self.began = threading.Event()

    def run(self) -> None:
        try:
            while True:
                numbers = range(self._next, self._next + 10)
                offset = self._stream.ingest_records_offset([{"id": number} for number in numbers])
                self._stream.wait_for_offset(offset)
                self.acknowledged |= set(numbers)
                self._next += 10
                self.began.set()
        except ZerobusException:
            pass


@pytest.mark.slow
def test_no_acknowledged_row_is_missing_after_kill_9_at_random_moments(tmp_path):
    """KILLS=20 makes it twenty."""
    chance = random.Random(20)
    restarts = []
    acknowledged: set[int] = set()
    with LocalZerobusProcess.start(tmp_path / "data") as server:
        server.create_table("CREATE TABLE main.default.t (id BIGINT)")
        for round_number in range(int(os.environ.get("KILLS", "3"))):
            senders = [Sender(server, (round_number * 4 + k) * 1_000_000) for k in range(4)]
            for sender in senders:
                sender.start()
            for sender in senders:
                assert sender.began.wait(60)
            time.sleep(chance.uniform(0, 0.5))  # the moment is what is random here
            server.kill()
            for sender in senders:
                sender.join(30)
                assert not sender.is_alive()
                acknowledged |= sender.acknowledged
            started = time.monotonic()
            server.restart()
            restarts.append(time.monotonic() - started)
            assert acknowledged <= set(server.read("main.default.t").column("id").to_pylist())
    print(
        f"{len(restarts)} kills, {len(acknowledged)} rows acknowledged, none missing; "
        f"restart took {statistics.median(restarts):.2f} s at the median, {max(restarts):.2f} s at most"
    )
    assert acknowledged
