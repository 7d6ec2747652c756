"""``IngestOptions.transform``: rows that a function changes or leaves out, in the account of a delivery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from zerobus_core import FileCheckpointStore, IngestOptions, RecordError, StreamManager, aingest, ingest, merge_receipts
from zerobus_core.errors import ConfigurationError, ZerobusIngestError
from zerobus_local import LocalZerobus

COUNT = 5_000


def doubled_if_even(row: dict[str, Any]) -> dict[str, Any] | None:
    return {"id": int(row["id"]) * 2} if int(row["id"]) % 2 == 0 else None


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL)")
    return table_name


def ids(server: LocalZerobus, table: str) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


def source(kind: str, folder: Path) -> Any:
    rows = [{"id": number} for number in range(10)]
    if kind == "table":
        return pa.Table.from_pylist(rows)
    if kind == "CSV":
        (folder / "rows.csv").write_text("id\n" + "".join(f"{row['id']}\n" for row in rows))
        return str(folder / "rows.csv")
    return rows if kind == "list" else iter(rows)


@pytest.mark.parametrize("kind", ["list", "generator", "table", "CSV"])
def test_rows_are_changed_or_left_out_and_counted(kind: str, zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    receipt = ingest(
        zerobus.workspace,
        table,
        source(kind, tmp_path),
        options=IngestOptions(transform=doubled_if_even),
        on_progress=seen.append,
    )
    assert (receipt.rows_read, receipt.rows_acked, receipt.rows_filtered) == (10, 5, 5)
    assert (seen[-1].rows_read, seen[-1].rows_acked, seen[-1].rows_filtered) == (10, 5, 5)
    assert ids(zerobus, table) == [0, 4, 8, 12, 16]
    both = merge_receipts([receipt, receipt.as_dict()])
    assert both.rows_read == both.rows_acked + both.rows_filtered == 20


def test_a_delivery_of_which_nothing_is_left_says_so(zerobus: LocalZerobus, table: str) -> None:
    receipt = ingest(zerobus.workspace, table, [{"id": 1}] * 3, options=IngestOptions(transform=lambda _: None))
    assert receipt.notes == ("transform left out all 3 rows, so nothing was sent",)
    assert (receipt.rows_read, receipt.rows_filtered) == (3, 3)


def test_a_retry_sends_the_rows_that_are_missing_and_no_others(
    zerobus: LocalZerobus, table: str, tmp_path: Path
) -> None:
    store = FileCheckpointStore(tmp_path / "checkpoint")

    def rows() -> Any:
        for number in range(COUNT):
            yield {"id": number}
            if number == COUNT - 10 and is_first:
                raise OSError("the source broke")

    options = IngestOptions(transform=doubled_if_even, transform_version="1", source_version="a", batch_rows=256)
    is_first = True
    with pytest.raises(OSError, match="broke") as broke:
        ingest(zerobus.workspace, table, rows(), options=options, checkpoint=store)
    assert "were filtered" in broke.value.__notes__[-1]
    is_first = False
    receipt = ingest(zerobus.workspace, table, rows(), options=options, checkpoint=store)
    assert receipt.rows_skipped > 0, receipt.started_over
    assert receipt.rows_filtered == COUNT // 2
    assert receipt.rows_read == COUNT == receipt.rows_acked + receipt.rows_skipped + receipt.rows_filtered
    assert sorted(set(ids(zerobus, table))) == [number * 2 for number in range(0, COUNT, 2)]
    assert len(ids(zerobus, table)) - COUNT // 2 <= receipt.rows_resent


def test_another_version_of_the_function_starts_over_and_says_why(
    zerobus: LocalZerobus, table: str, tmp_path: Path
) -> None:
    store, rows = FileCheckpointStore(tmp_path / "checkpoint"), [{"id": number} for number in range(6)]
    options = [IngestOptions(transform=doubled_if_even, transform_version=version) for version in "1123"]
    first, same, other, _ = (ingest(zerobus.workspace, table, rows, options=one, checkpoint=store) for one in options)
    assert (first.rows_acked, same.rows_skipped, other.rows_acked) == (3, 3, 3)
    assert other.started_over is not None
    assert other.started_over.startswith("the options that change the source's rows have other values now")


def test_a_function_that_changed_without_a_version_is_found_by_its_rows(
    zerobus: LocalZerobus, table: str, tmp_path: Path
) -> None:
    store, rows = FileCheckpointStore(tmp_path / "checkpoint"), [{"id": number} for number in range(6)]

    def push(transform: Any) -> Any:
        return ingest(zerobus.workspace, table, rows, options={"transform": transform}, checkpoint=store)

    assert push(lambda row: row).rows_acked == 6
    assert push(lambda row: row).rows_skipped == 6
    changed = push(lambda row: {"id": row["id"] + 100})
    assert (changed.rows_acked, changed.rows_skipped) == (6, 0)
    assert set(ids(zerobus, table)) == {*range(6), *range(100, 106)}


def test_a_row_that_the_function_fails_on_is_a_bad_row(zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    def halved(row: dict[str, Any]) -> dict[str, Any]:
        return {"id": 8 // row["id"]}

    with pytest.raises(RecordError, match="row 1, .*transform failed: ZeroDivisionError"):
        ingest(zerobus.workspace, table, [{"id": 1}, {"id": 0}], options={"transform": halved})
    letters = tmp_path / "bad.jsonl"
    options = IngestOptions(transform=halved, on_bad_record="dead_letter", dead_letter_uri=str(letters))
    receipt = ingest(zerobus.workspace, table, [{"id": 1}, {"id": 0}, {"id": 2}], options=options)
    assert (receipt.rows_acked, receipt.rows_dead_lettered) == (2, 1)
    assert "transform failed" in json.loads(letters.read_text())["error"]


def test_a_dead_letter_says_where_the_row_was_before_others_were_left_out(
    zerobus: LocalZerobus, table: str, tmp_path: Path
) -> None:
    (file := tmp_path / "rows.jsonl").write_text('{"id": 1}\n{"id": 2}\n{"id": 3}\n{"id": "x"}\n')
    letters = tmp_path / "bad.jsonl"

    def without_odd(row: dict[str, Any]) -> dict[str, Any] | None:
        return None if row["id"] in {1, 3} else row

    options = IngestOptions(transform=without_odd, on_bad_record="dead_letter", dead_letter_uri=str(letters))
    receipt = ingest(zerobus.workspace, table, str(file), options=options)
    assert (receipt.rows_acked, receipt.rows_filtered, receipt.rows_dead_lettered) == (1, 2, 1)
    assert json.loads(letters.read_text())["source_position"].endswith("rows.jsonl, row 3")


def test_a_function_can_be_named(zerobus: LocalZerobus, table: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "my_rows.py").write_text("def even(row):\n    return row if row['id'] % 2 == 0 else None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [{"id": number} for number in range(4)]
    assert ingest(zerobus.workspace, table, rows, options={"transform": "my_rows:even"}).rows_filtered == 2
    with pytest.raises(ConfigurationError, match="'my_rows:odd' cannot be imported: .*write package.module:function"):
        ingest(zerobus.workspace, table, rows, options={"transform": "my_rows:odd"})


def test_calls_of_a_stream_manager_count_together(zerobus: LocalZerobus, table: str) -> None:
    with StreamManager(zerobus.workspace, table, options=IngestOptions(transform=doubled_if_even)) as streams:
        streams.send([{"id": 1}, {"id": 2}])
        streams.send([{"id": 3}, {"id": 4}])
    assert (streams.receipt.rows_read, streams.receipt.rows_acked, streams.receipt.rows_filtered) == (4, 2, 2)


async def _numbers() -> Any:
    for number in range(4):
        yield {"id": number}


def test_rows_of_an_async_iterable_are_transformed(zerobus: LocalZerobus, table: str) -> None:
    import asyncio

    receipt = asyncio.run(aingest(zerobus.workspace, table, _numbers(), options={"transform": doubled_if_even}))
    assert (receipt.rows_acked, receipt.rows_filtered) == (2, 2)


def test_an_error_counts_filtered_rows(zerobus: LocalZerobus, table: str) -> None:
    def rows() -> Any:
        yield from ({"id": number} for number in range(4))
        yield {"id": None}

    with pytest.raises(ZerobusIngestError) as failed:
        ingest(zerobus.workspace, table, rows(), options={"transform": lambda row: row if row["id"] != 1 else None})
    assert failed.value.counts.rows_filtered == 1
    assert "1 filtered" in str(failed.value)
