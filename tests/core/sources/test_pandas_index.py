"""The index of a pandas frame in Arrow data and Parquet files: a column, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.rows import in_any_order
from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ConfigurationError, SchemaError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus

COLUMNS = "id BIGINT, n STRING"


def named(start: int = 0, step: int = 1, rows: int = 12) -> pd.DataFrame:
    index = pd.RangeIndex(start, start + rows * step, step, name="id")
    return pd.DataFrame({"n": [f"row {n}" for n in range(rows)]}, index=index)


def meant(frame: pd.DataFrame) -> list[Any]:
    return frame.reset_index()[["id", "n"]].to_dict("records")


def delivered(zerobus: LocalZerobus, table: str, records: Any, columns: str = COLUMNS, **options: Any) -> list[Any]:
    zerobus.create_table(f"CREATE OR REPLACE TABLE {table} ({columns})")
    ingest(zerobus.workspace, table, records, options=IngestOptions(**options))
    return in_any_order(zerobus.read(table).to_pylist())


def written(path: Path, frame: pd.DataFrame, **options: Any) -> Path:
    pq.write_table(pa.Table.from_pandas(frame), path, **options)
    return path


WHOLE: dict[str, Callable[[Path, pd.DataFrame], Any]] = {
    "frame": lambda path, frame: frame,
    "table": lambda path, frame: pa.Table.from_pandas(frame),
    "one batch": lambda path, frame: pa.Table.from_pandas(frame).to_batches()[0],
    "list of tables": lambda path, frame: [pa.Table.from_pandas(frame)],
    "generator of batches": lambda path, frame: iter(pa.Table.from_pandas(frame).to_batches()),
    "parquet": lambda path, frame: written(path / "x.parquet", frame, row_group_size=5),
    "pandas' own": lambda path, frame: (frame.to_parquet(path / "x.parquet"), path / "x.parquet")[1],
}


@pytest.mark.parametrize("frame", [named(), named(7, 3), named(9, -1), named(rows=1)], ids=["0", "7 by 3", "down", "1"])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_named_range_index_is_a_column(
    kind: str, frame: pd.DataFrame, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    assert delivered(zerobus, table_name, WHOLE[kind](tmp_path, frame)) == in_any_order(meant(frame))


def test_the_rows_that_are_left_of_a_file_keep_their_index(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", named(10), row_group_size=5)
    source = source_of(path, IngestOptions(batch_rows=2))
    rows = [row for chunk in source.chunks(RowRanges([(0, 3), (6, 11)])) for row in chunk.rows.to_pylist()]  # type: ignore[union-attr]
    assert [row["id"] for row in rows] == [13, 14, 15, 21]


def test_each_file_of_a_directory_has_its_own_index(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    frames = [named(), named(100, rows=4)]
    for number, frame in enumerate(frames):
        written(tmp_path / f"{number}.parquet", frame)
    assert delivered(zerobus, table_name, tmp_path) == in_any_order(row for frame in frames for row in meant(frame))


def ipc(path: Path, *, is_file: bool) -> Path:
    table = pa.Table.from_pandas(named())
    with (pa.ipc.new_file if is_file else pa.ipc.new_stream)(path, table.schema) as stream:
        stream.write_table(table)
    return path


UNKNOWN: dict[str, Callable[[Path], Any]] = {
    "slice": lambda path: pa.Table.from_pandas(named()).slice(2, 3),
    "filtered table": lambda path: pa.Table.from_pandas(named()).filter(pa.array([True, False] * 6)),
    "some of the batches": lambda path: pa.Table.from_pandas(named()).to_batches(max_chunksize=5),
    "reader": lambda path: pa.Table.from_pandas(named()).to_reader(),
    "dataset": lambda path: ds.dataset(written(path / "x.parquet", named())),
    "scanner": lambda path: ds.dataset(written(path / "x.parquet", named())).scanner(),
    "filtered dataset": lambda path: ds.dataset(written(path / "x.parquet", named())).filter(ds.field("n") != ""),
    "arrow file": lambda path: ipc(path / "x.arrow", is_file=True),
    "arrow stream": lambda path: ipc(path / "x.arrows", is_file=False),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_index_whose_values_are_not_known_is_refused_or_left_out_when_asked_for(
    kind: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"index 'id'.*reset_index\(\).*drop=\['id'\] \(--drop id\)"):
        delivered(zerobus, table_name, UNKNOWN[kind](tmp_path))
    rows = delivered(zerobus, table_name, UNKNOWN[kind](tmp_path), drop=["id"])
    assert rows
    assert all(row["id"] is None and row["n"].startswith("row ") for row in rows)


def test_an_index_that_is_a_column_too_is_one_column_or_refused(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"id": [1, 2, 3], "n": ["a", "b", "c"]}).set_index("id", drop=False)
    table = pa.Table.from_pandas(frame)
    [index] = table.schema.pandas_metadata["index_columns"]
    if isinstance(index, str):  # older releases of pyarrow keep it as a column without a name, which is refused
        with pytest.raises(SchemaError, match=f"the table has no column {index}, which is pandas' index"):
            delivered(zerobus, table_name, table)
        return
    assert index["kind"] == "range"
    assert [row["id"] for row in delivered(zerobus, table_name, table)] == [1, 2, 3]
    other = table.set_column(0, "id", pa.array([1, 2, 4]))
    with pytest.raises(ConfigurationError, match="an index of that name with other values"):
        delivered(zerobus, table_name, other)


OTHERS: dict[str, pa.Array] = {
    "text": pa.array(["a", "b"]),
    "bytes": pa.array([b"a", b"b"]),
    "list": pa.array([[0], [1]]),
    "struct": pa.array([{"a": 0}, {"a": 1}]),
    "boolean": pa.array([False, True]),
    "date": pa.array([0, 1], pa.date32()),
    "time of no year": pa.array([0, 2**62], pa.timestamp("s")),
    "category": pa.array(["a", "b"]).dictionary_encode(),
    "null": pa.nulls(2),
    "other numbers": pa.array([0, 2]),
    "fraction": pa.array([0.0, 1.5]),
    "not a number": pa.array([0.0, float("nan")]),
    "too large": pa.array([0, 2**64 - 1], pa.uint64()),
    "number or null": pa.array([0, None]),
}
SAME: dict[str, pa.Array] = {
    "int8": pa.array([0, 1], pa.int8()),
    "uint64": pa.array([0, 1], pa.uint64()),
    "double": pa.array([0.0, 1.0]),
    "decimal": pa.array([Decimal(0), Decimal(1)], pa.decimal128(38, 2)),
    "category": pa.array([0, 1]).dictionary_encode(),
}


def with_index_and_column(column: pa.Array) -> pa.Table:
    """A table with the column x, of a frame with a range index x that is stored in the metadata."""
    frame = pd.DataFrame({"n": [1, 2]}, index=pd.RangeIndex(2, name="x"))
    table = pa.Table.from_pandas(frame)
    return table.append_column("x", column).replace_schema_metadata(table.schema.metadata)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_column_of_any_type_with_other_values_than_the_index_is_refused(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="column 'x' and, in its pandas metadata, an index of that name with"):
        source_of(with_index_and_column(OTHERS[kind]), IngestOptions())


@pytest.mark.parametrize("kind", SAME)
def test_a_column_of_another_type_with_the_numbers_of_the_index_is_that_column(kind: str) -> None:
    table = with_index_and_column(SAME[kind])
    (chunk,) = source_of(table, IngestOptions()).chunks(RowRanges())
    assert chunk.rows.to_pylist() == table.to_pylist()  # type: ignore[union-attr]


def test_an_index_without_a_name_is_left_out_with_the_hint_that_says_how(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"id": [1, 2, 9, 4], "n": ["a", "b", "c", "d"]}).iloc[[0, 1, 3]]
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(SchemaError, match=r"index without a name: leave it out with drop=\['__index_level_0__'\]"):
        delivered(zerobus, table_name, tmp_path / "x.parquet")
    rows = delivered(zerobus, table_name, tmp_path / "x.parquet", drop=["__index_level_0__"])
    assert rows == [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}, {"id": 4, "n": "d"}]


def test_the_levels_of_a_multi_index_are_columns_and_those_without_a_name_get_the_hint(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    index = pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["id", "n"])
    pd.DataFrame({"x": [0.5, 1.5]}, index=index).to_parquet(tmp_path / "x.parquet")
    rows = delivered(zerobus, table_name, tmp_path / "x.parquet", "id BIGINT, n STRING, x DOUBLE")
    assert rows == [{"id": 1, "n": "a", "x": 0.5}, {"id": 2, "n": "b", "x": 1.5}]
    pd.DataFrame({"x": [0.5, 1.5]}, index=index.set_names(["id", None])).to_parquet(tmp_path / "y.parquet")
    with pytest.raises(SchemaError, match="__index_level_1__, which is pandas' index without a name"):
        delivered(zerobus, table_name, tmp_path / "y.parquet", "id BIGINT, x DOUBLE")
    rows = delivered(zerobus, table_name, tmp_path / "y.parquet", "id BIGINT, x DOUBLE", drop=["__index_level_1__"])
    assert rows == [{"id": 1, "x": 0.5}, {"id": 2, "x": 1.5}]


def test_metadata_of_others_are_nothing_to_read(zerobus: LocalZerobus, table_name: str) -> None:
    unnamed = b'{"index_columns": [{"kind": "range", "name": null}]}'
    for metadata in (b"", b"[]", b"{", b'{"index_columns": 1}', unnamed):
        table = pa.table({"n": ["a"]}).replace_schema_metadata({b"pandas": metadata})
        assert delivered(zerobus, table_name, table) == [{"id": None, "n": "a"}]
