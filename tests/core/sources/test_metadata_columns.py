"""``metadata_columns``: when a row was sent, and which row of which file it is."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from tests.cli_runner import cli_runner
from zerobus_core import (
    ClientCredentials,
    FileCheckpointStore,
    IngestOptions,
    NewFiles,
    Receipt,
    StreamManager,
    hand_over,
    ingest,
    replay,
    split_source,
)
from zerobus_core.cli import main
from zerobus_core.errors import ConfigurationError, RecordError, SchemaError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus

TABLE = "(id BIGINT, loaded TIMESTAMP, file STRING, path STRING, n BIGINT)"
COLUMNS = {"ingested_at": "loaded", "file_name": "file", "file_path": "path", "row_number": "n"}
NUMBERS = {"ingested_at": "loaded", "row_number": "n"}
FORMATS = ("auto", "protobuf", "json", "arrow")


def as_csv(ids: list[int], path: Path) -> Path:
    path.with_suffix(".csv").write_text("id\n" + "".join(f"{each}\n" for each in ids))
    return path.with_suffix(".csv")


def as_gzip(ids: list[int], path: Path) -> Path:
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(b"id\n" + b"".join(b"%d\n" % each for each in ids)))
    return path.with_suffix(".csv.gz")


def as_json_lines(ids: list[int], path: Path) -> Path:
    path.with_suffix(".jsonl").write_text("".join(json.dumps({"id": each}) + "\n" for each in ids))
    return path.with_suffix(".jsonl")


def as_parquet(ids: list[int], path: Path) -> Path:
    pq.write_table(pa.table({"id": ids}), path.with_suffix(".parquet"), row_group_size=2)
    return path.with_suffix(".parquet")


def as_arrow(ids: list[int], path: Path) -> Path:
    with pa.ipc.new_file(str(path.with_suffix(".arrow")), pa.schema([("id", pa.int64())])) as out:
        out.write_table(pa.table({"id": ids}))
    return path.with_suffix(".arrow")


FILES: dict[str, Callable[[list[int], Path], Path]] = {
    "CSV": as_csv, "gzip": as_gzip, "JSON Lines": as_json_lines, "Parquet": as_parquet, "Arrow": as_arrow,
}  # fmt: skip
IN_MEMORY: dict[str, Callable[[list[int]], Any]] = {
    "dicts": lambda ids: [{"id": each} for each in ids],
    "generator": lambda ids: ({"id": each} for each in ids),
    "table": lambda ids: pa.table({"id": ids}),
    "pandas": lambda ids: pd.DataFrame({"id": ids}),
    "polars": lambda ids: pl.DataFrame({"id": ids}),
    "batches": lambda ids: iter(pa.table({"id": ids}).to_batches(max_chunksize=2)),
}


def read(server: LocalZerobus, table: str) -> list[dict[str, Any]]:
    return sorted(server.read(table).to_pylist(), key=lambda row: row["id"])


def deliver(server: LocalZerobus, table: str, records: Any, **options: Any) -> tuple[Receipt, list[dict[str, Any]]]:
    server.create_table(f"CREATE TABLE {table} {TABLE}")
    receipt = ingest(server.workspace, table, records, options=IngestOptions(**options))
    return receipt, read(server, table)


def run_cli(server: LocalZerobus, *arguments: str) -> Result:
    workspace = server.workspace
    assert isinstance(workspace.credentials, ClientCredentials)
    environment = {
        "ZEROBUS_SERVER_ENDPOINT": workspace.endpoint,
        "DATABRICKS_HOST": workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": workspace.credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": workspace.credentials.client_secret,
    }
    return cli_runner().invoke(main, arguments, env=environment)


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("kind", FILES)
def test_each_row_of_files_has_its_file_and_number(
    kind: str, record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    first, second = FILES[kind]([0, 1, 2, 3, 4], tmp_path / "a"), FILES[kind]([5, 6, 7], tmp_path / "b")
    before = datetime.now(UTC)
    _, rows = deliver(
        zerobus, table_name, [str(first), str(second)], metadata_columns=COLUMNS, record_format=record_format
    )
    assert [(row["file"], row["path"], row["n"]) for row in rows] == [
        *((first.name, str(first), number) for number in range(5)),
        *((second.name, str(second), number) for number in range(3)),
    ]
    (loaded,) = {row["loaded"] for row in rows}
    assert before <= loaded <= datetime.now(UTC)


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("kind", IN_MEMORY)
def test_rows_that_come_from_no_file_have_a_time_and_a_number(
    kind: str, record_format: Any, zerobus: LocalZerobus, table_name: str
) -> None:
    records = IN_MEMORY[kind]([0, 1, 2, 3])
    _, rows = deliver(zerobus, table_name, records, metadata_columns=NUMBERS, record_format=record_format, batch_rows=3)
    assert [row["n"] for row in rows] == [0, 1, 2, 3]
    assert len({row["loaded"] for row in rows}) == 1
    assert rows[0]["loaded"] is not None
    assert {row["file"] for row in rows} == {None}


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_the_name_of_a_file_is_refused_where_there_are_none(kind: str, zerobus: LocalZerobus, table_name: str) -> None:
    with pytest.raises(ConfigurationError, match="asks for file_name and file_path, but the rows do not come from"):
        deliver(zerobus, table_name, IN_MEMORY[kind]([1]), metadata_columns=COLUMNS)


def test_the_rows_of_a_dataset_and_of_its_shards_have_their_file(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    for name, ids in (("a", [0, 1, 2, 3]), ("b", [4, 5])):
        as_parquet(ids, tmp_path / name)
    whole = ds.dataset(str(tmp_path), format="parquet")
    _, rows = deliver(zerobus, table_name, whole, metadata_columns=COLUMNS)
    expected = [*(("a.parquet", number) for number in range(4)), ("b.parquet", 0), ("b.parquet", 1)]
    assert [(row["file"], row["n"]) for row in rows] == expected
    (fragment, _) = whole.get_fragments()
    later = ds.FileSystemDataset([fragment.subset(row_group_ids=[1])], whole.schema, whole.format, whole.filesystem)
    ingest(zerobus.workspace, table_name, later, options={"metadata_columns": COLUMNS})
    assert sorted((row["id"], row["n"]) for row in read(zerobus, table_name))[2:6] == [(2, 2), (2, 2), (3, 3), (3, 3)]


def test_the_rows_of_shards_have_the_number_in_their_file(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} {TABLE}")
    path = as_parquet(list(range(9)), tmp_path / "a")
    for shard in split_source(str(path), 3):
        ingest(zerobus.workspace, table_name, shard, options={"metadata_columns": COLUMNS})
    assert [(row["id"], row["n"]) for row in read(zerobus, table_name)] == [(number, number) for number in range(9)]


def test_a_file_in_an_archive_has_its_own_name(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("day/a.csv", "id\n1\n")
    uri = f"zip://day/a.csv::{tmp_path / 'all.zip'}"
    _, (row,) = deliver(zerobus, table_name, uri, metadata_columns=COLUMNS)
    assert (row["file"], row["n"]) == ("a.csv", 0)


@pytest.mark.parametrize("record_format", FORMATS)
def test_rows_that_are_left_out_or_bad_count_in_the_number(
    record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id\n0\n1\nx\n3\n4\n")
    receipt, rows = deliver(
        zerobus, table_name, str(tmp_path / "a.csv"), metadata_columns=COLUMNS, record_format=record_format,
        transform=lambda row: None if row["id"] == "1" else row, dead_letter_uri=str(tmp_path / "bad.jsonl"),
        on_bad_record="dead_letter",
    )  # fmt: skip
    assert (receipt.rows_filtered, receipt.rows_dead_lettered) == (1, 1)
    assert [(row["id"], row["n"]) for row in rows] == [(0, 0), (3, 3), (4, 4)]


def test_rows_that_alternate_with_filtered_ones_keep_their_number(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    path = as_csv(list(range(150_000)), tmp_path / "a")
    _, rows = deliver(
        zerobus, table_name, str(path), metadata_columns=COLUMNS, batch_rows=100_000,
        transform=lambda row: row if int(row["id"]) % 2 else None,
    )  # fmt: skip
    assert [(row["id"], row["n"]) for row in rows] == [(number, number) for number in range(1, 150_000, 2)]


@pytest.mark.parametrize("kind", ["dicts", "table"])
def test_a_row_that_has_such_a_column_is_refused(kind: str, zerobus: LocalZerobus, table_name: str) -> None:
    rows = [{"id": 1, "n": 5}]
    records = rows if kind == "dicts" else pa.Table.from_pylist(rows)
    with pytest.raises((RecordError, SchemaError), match="itself .delivery_columns or metadata_columns"):
        deliver(zerobus, table_name, records, metadata_columns=NUMBERS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"row_number": "no"}, "metadata_columns refers to 'no', which the table does not have"),
        ({"row_number": "file"}, "refers to 'file', which has the type STRING but must be BIGINT"),
        ({"ingested_at": "n"}, "refers to 'n', which has the type BIGINT but must be TIMESTAMP"),
        ({"file_name": "n"}, "refers to 'n', which has the type BIGINT but must be STRING"),
    ],
)
def test_a_column_of_another_type_is_refused(
    columns: dict[str, str], message: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        deliver(zerobus, table_name, str(as_csv([1], tmp_path / "a")), metadata_columns=columns)


@pytest.mark.parametrize("record_format", FORMATS)
def test_the_time_of_an_attempt_is_no_change_of_the_rows(
    record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    """The durable rows of a source that is compared with its digest are not sent again."""
    zerobus.create_table(f"CREATE TABLE {table_name} {TABLE}")
    store = FileCheckpointStore(tmp_path / "checkpoint")
    options = IngestOptions(metadata_columns=NUMBERS, source_version="1", record_format=record_format)

    def rows() -> Any:
        return ({"id": each} for each in range(3_000))

    first = ingest(zerobus.workspace, table_name, rows(), options=options, checkpoint=store)
    again = ingest(zerobus.workspace, table_name, rows(), options=options, checkpoint=store)
    assert (first.rows_acked, again.rows_acked, again.rows_skipped) == (3_000, 0, 3_000)
    assert again.started_over is None


def test_other_metadata_columns_start_a_delivery_over(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} {TABLE}")
    store = FileCheckpointStore(tmp_path / "checkpoint")
    path = str(as_csv([1], tmp_path / "a"))
    for columns in (None, {"file_name": "file"}, {"file_name": "path"}, {"file_name": "path", "row_number": "n"}):
        receipt = ingest(zerobus.workspace, table_name, path, options={"metadata_columns": columns}, checkpoint=store)
        assert receipt.rows_acked == 1
        assert (receipt.started_over is None) == (columns is None)


def test_both_kinds_of_filled_columns_go_together(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    table = f"CREATE TABLE {table_name} (id BIGINT, file STRING, key STRING, row BIGINT, n BIGINT)"
    zerobus.create_table(table)
    path = str(as_csv([1, 2], tmp_path / "a%d"))
    for record_format in ("protobuf", "json"):
        options = IngestOptions(
            metadata_columns={"file_name": "file", "row_number": "n"}, record_format=record_format,  # type: ignore[arg-type]
            delivery_columns={"delivery_id": "key", "row_number": "row"},
        )  # fmt: skip
        ingest(zerobus.workspace, table_name, [path, path], options=options)
    found = sorted((row["id"], row["file"], row["row"], row["n"]) for row in zerobus.read(table_name).to_pylist())
    expected = [(1, "a%d.csv", 0, 0), (1, "a%d.csv", 2, 0), (2, "a%d.csv", 1, 1), (2, "a%d.csv", 3, 1)]
    assert found == sorted(expected * 2)


def test_a_stream_manager_numbers_the_rows_of_each_file(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} {TABLE}")
    with StreamManager(zerobus.workspace, table_name, options={"metadata_columns": COLUMNS}) as streams:
        streams.send(str(as_parquet([0, 1], tmp_path / "a")))
        streams.send(str(as_parquet([2, 3], tmp_path / "b")))
    found = [(row["id"], row["file"], row["n"]) for row in read(zerobus, table_name)]
    assert found == [(0, "a.parquet", 0), (1, "a.parquet", 1), (2, "b.parquet", 0), (3, "b.parquet", 1)]


def test_the_command_line_makes_and_fills_the_columns(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    path = str(as_csv([5], tmp_path / "a"))
    flags = ["--metadata-columns", "file_name=file", "--metadata-columns", "row_number=n"]
    made = run_cli(zerobus, "create-table", path, "--table", table_name, *flags, "--execute")
    assert made.exit_code == 0, made.output
    pushed = run_cli(zerobus, "push", path, "--table", table_name, *flags)
    assert pushed.exit_code == 0, pushed.output
    assert zerobus.read(table_name).to_pylist() == [{"id": 5, "file": "a.csv", "n": 0}]


@pytest.mark.parametrize("flag", ["file_name", "file_name=", "=file", "size=file"])
def test_a_flag_that_cannot_be_says_what_there_is(flag: str, zerobus: LocalZerobus, tmp_path: Path) -> None:
    path = str(as_csv([5], tmp_path / "a"))
    for command in ("create-table", "push"):
        result = run_cli(zerobus, command, path, "--table", "main.default.t", "--metadata-columns", flag)
        assert result.exit_code == 2
        assert "ingested_at, file_name, file_path, row_number" in " ".join(result.stderr.split())


@pytest.mark.parametrize("kind", FILES)
def test_rows_after_those_that_are_skipped_keep_their_file_and_number(kind: str, tmp_path: Path) -> None:
    paths = [FILES[kind](list(range(start, start + 40)), tmp_path / name) for start, name in ((0, "a"), (40, "b"))]
    options = IngestOptions(metadata_columns=COLUMNS, batch_rows=7)
    for start, stop in ((0, 13), (5, 41), (30, 80), (0, 79)):
        source = source_of([str(path) for path in paths], options)
        found = [
            (chunk.first_row + index, origin.name, number)
            for chunk in source.chunks(RowRanges([(start, stop)]))
            for index, (origin, number) in enumerate(
                (origin, origin.first_row + at) for origin in chunk.origins for at in range(origin.rows)
            )
        ]
        rows = [row for row in range(80) if not start <= row < stop]
        assert found == [(row, paths[row // 40].name, row % 40) for row in rows]


def test_a_handoff_of_new_files_fills_the_columns(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} {TABLE}")
    (tmp_path / "in").mkdir()
    options = IngestOptions(metadata_columns=COLUMNS)
    for number in range(2):
        as_csv([number], tmp_path / "in" / f"{number}")
        hand_over(
            zerobus.workspace,
            table_name,
            NewFiles(str(tmp_path / "in"), settle=0),
            state=str(tmp_path / "state.json"),
            options=options,
        )
    found = [(row["id"], row["file"], row["n"]) for row in read(zerobus, table_name)]
    assert found == [(0, "0.csv", 0), (1, "1.csv", 0)]


def test_a_replay_has_times_and_numbers_and_no_names_of_files(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id\n0\nbad\n")
    letters = tmp_path / "bad.jsonl"
    deliver(
        zerobus, table_name, str(tmp_path / "a.csv"), metadata_columns=COLUMNS, on_bad_record="dead_letter",
        dead_letter_uri=str(letters),
    )  # fmt: skip
    (letter,) = map(json.loads, letters.read_text().splitlines())
    assert letter["record"] == {"id": "bad"}
    letters.write_text(json.dumps({**letter, "record": {"id": "1"}}) + "\n")
    with pytest.raises(ConfigurationError, match="asks for file_name and file_path"):
        replay(zerobus.workspace, str(letters), options={"metadata_columns": COLUMNS})
    replay(zerobus.workspace, str(letters), options={"metadata_columns": NUMBERS})
    row = read(zerobus, table_name)[1]
    assert (row["id"], row["n"], row["file"]) == (1, 0, None)
    assert row["loaded"] is not None
