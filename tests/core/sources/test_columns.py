"""Arrow data, data frames and datasets as sources."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core import IngestOptions
from zerobus_core.errors import ConfigurationError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.protocol.chunking import MAX_CHUNK_BYTES

FIVES = IngestOptions(batch_rows=5)
TABLE = pa.table({"n": list(range(23)), "s": [f"row {n}" for n in range(23)]})


def read(source: Any, skip: RowRanges | None = None) -> list[tuple[int, Any]]:
    return [
        (chunk.first_row + i, row)
        for chunk in source.chunks(skip or RowRanges())
        for i, row in enumerate(chunk.rows.to_pylist())
    ]


def in_pieces(size: int) -> pa.Table:
    return pa.concat_tables([TABLE.slice(i, size) for i in range(0, len(TABLE), size)])


KINDS: dict[str, Callable[[], Any]] = {
    "table": lambda: TABLE,
    "table of many chunks": lambda: in_pieces(2),
    "batch": lambda: TABLE.to_batches()[0],
    "reader": lambda: in_pieces(3).to_reader(),
    "generator of batches": lambda: (batch for batch in in_pieces(3).to_batches()),
    "list of tables": lambda: [TABLE.slice(0, 10), TABLE.slice(10)],
    "dataset": lambda: ds.dataset(in_pieces(7)),
    "scanner": lambda: ds.dataset(TABLE).scanner(),
    "pandas": TABLE.to_pandas,
    "polars": lambda: pl.from_arrow(TABLE),
    "generator of frames": lambda: (TABLE.slice(i, 6).to_pandas() for i in range(0, 23, 6)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_columnar_kind_gives_the_same_rows_at_the_same_positions(kind: str) -> None:
    rows = list(enumerate(TABLE.to_pylist()))
    source = source_of(KINDS[kind](), FIVES)
    assert source.is_arrow
    assert read(source) == rows
    skip = RowRanges([(0, 3), (4, 12), (20, 23)])
    assert read(source_of(KINDS[kind](), FIVES), skip) == [row for row in rows if row[0] not in skip]
    assert source.total_rows in (23, None)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_are_filled_up_to_a_batch_whatever_the_pieces_were(kind: str) -> None:
    sizes = [len(chunk.rows) for chunk in source_of(KINDS[kind](), FIVES).chunks(RowRanges())]
    assert sum(sizes) == 23
    assert len(sizes) <= 2 * 5


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)).map(sorted).map(tuple), max_size=5))
@settings(max_examples=examples(60), deadline=None)
def test_what_is_read_and_what_is_skipped_are_all_rows(spans: list[tuple[int, int]]) -> None:
    skip = RowRanges(spans)
    for kind in ("table of many chunks", "reader", "dataset"):
        positions = [row for row, _ in read(source_of(KINDS[kind](), FIVES), skip)]
        assert positions == [row for row in range(23) if row not in skip]


def test_a_reader_is_read_by_one_delivery_only() -> None:
    reader = TABLE.to_reader()
    source = source_of(reader, FIVES)
    read(source)
    with pytest.raises(ConfigurationError, match="cannot start again"):
        read(source)
    with pytest.raises(ConfigurationError, match="given to an earlier delivery"):
        source_of(reader, FIVES)


@pytest.mark.parametrize("kind", ["table", "reader", "dataset", "generator of batches"])
def test_columns_that_end_before_the_durable_rows_are_an_error(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="ended after 23 rows"):
        read(source_of(KINDS[kind](), FIVES), RowRanges([(0, 40)]))


def test_the_fingerprint_is_of_the_content_and_not_of_its_chunks() -> None:
    plain = source_of(TABLE, FIVES).fingerprint
    assert plain == source_of(in_pieces(4), FIVES).fingerprint
    assert plain == source_of(pa.concat_tables([TABLE, TABLE]).slice(23), FIVES).fingerprint
    one_byte = TABLE.set_column(1, "s", pa.array(["Row 0", *TABLE["s"].to_pylist()[1:]]))
    renamed = TABLE.rename_columns(["n", "t"])
    retyped = TABLE.set_column(0, "n", TABLE["n"].cast(pa.int32()))
    for other in (one_byte, renamed, retyped, TABLE.slice(1), TABLE.slice(0, 22)):
        assert source_of(other, FIVES).fingerprint != plain


@pytest.mark.skipif(not hasattr(pa, "uuid"), reason="this pyarrow has no UUID type")
@pytest.mark.parametrize("kind", ["STRUCT", "ARRAY"])
def test_a_table_with_an_extension_type_inside_a_column_has_a_fingerprint(kind: str) -> None:
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes([n]) * 16 for n in range(3)], pa.binary(16)))
    column = pa.StructArray.from_arrays([ids], ["id"]) if kind == "STRUCT" else pa.ListArray.from_arrays([0, 1, 3], ids)
    table = pa.table({"c": column})
    known = source_of(table, FIVES).fingerprint
    assert known is not None
    assert (
        known == source_of(pa.table({"c": column}), FIVES).fingerprint != source_of(table.slice(1), FIVES).fingerprint
    )


def test_equal_frames_have_equal_fingerprints_and_a_version_is_part_of_them() -> None:
    assert source_of(TABLE.to_pandas(), FIVES).fingerprint == source_of(TABLE.to_pandas(), FIVES).fingerprint
    vouched = IngestOptions(source_version="v1")
    known = {source_of(data, options).fingerprint for data in (TABLE, TABLE.slice(1)) for options in (FIVES, vouched)}
    assert len(known - {None}) == 4
    assert source_of(TABLE.to_reader(), FIVES).fingerprint is None


def test_long_columns_are_cut_and_copied_nowhere() -> None:
    long = pa.table({"n": pa.nulls(5_000_000, pa.int64())})
    chunks = list(source_of(long, FIVES).chunks(RowRanges()))
    assert max(chunk.rows.nbytes for chunk in chunks) <= MAX_CHUNK_BYTES
    assert sum(len(chunk.rows) for chunk in chunks) == len(long)
    assert len(chunks) == 3
    whole = long["n"].chunk(0).buffers()[1].address
    assert {chunk.rows.column("n").buffers()[1].address for chunk in chunks} == {whole}


def test_a_large_row_makes_a_small_chunk() -> None:
    wide = pa.table({"x": ["y" * 1_000_000] * 40})
    sizes = [len(chunk.rows) for chunk in source_of(wide, IngestOptions()).chunks(RowRanges())]
    assert max(sizes) * 1_000_000 <= MAX_CHUNK_BYTES
    rows = ({"x": "y" * 1_000_000} for _ in range(40))
    sizes = [len(chunk.rows) for chunk in source_of(rows, IngestOptions()).chunks(RowRanges())]
    assert max(sizes) * 1_000_000 <= 2 * MAX_CHUNK_BYTES


def test_missing_values_of_pandas_are_null_and_named_indexes_are_columns() -> None:
    frame = pd.DataFrame(
        {
            "i": [1, None],
            "t": [pd.Timestamp(2026, 1, 1, tz="Europe/Berlin"), pd.NaT],
            "s": ["a", None],
            "d": [Decimal("1.5"), None],
            "c": pd.Categorical(["x", "y"]),
        }
    )
    rows = [row for _, row in read(source_of(frame, FIVES))]
    moment = datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert rows[0] == {"i": 1.0, "t": moment, "s": "a", "d": Decimal("1.5"), "c": "x"}
    assert rows[1] == {"i": None, "t": None, "s": None, "d": None, "c": "y"}
    indexed = frame[["s"]].set_axis(pd.Index([7, 8], name="key"))
    assert [row for _, row in read(source_of(indexed, FIVES))] == [{"s": "a", "key": 7}, {"s": None, "key": 8}]
    filtered = frame[["s"]].iloc[1:]
    assert [row for _, row in read(source_of(filtered, FIVES))] == [{"s": None}]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pd.Series([1]), "pandas Series; pass series.to_frame"),
        (pl.Series([1]), "polars Series; pass series.to_frame"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "columns of the same name"),
        (pa.array([1]), "Int64Array, which is one column; pass a Table"),
    ],
)
def test_columnar_things_that_are_no_rows_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        source_of(value, FIVES)


def test_an_iterable_of_batches_that_goes_on_with_rows_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="all items must be Arrow data or frames"):
        read(source_of([TABLE, {"n": 1}], FIVES))


def test_a_dataset_of_files_has_a_fingerprint_and_does_not_read_durable_files(tmp_path: Path) -> None:
    for part in range(3):
        pq.write_table(TABLE.slice(part * 5, 5), tmp_path / f"{part}.parquet")
    source = source_of(ds.dataset(tmp_path), FIVES)
    assert source.total_rows == 15
    assert source.fingerprint == source_of(ds.dataset(tmp_path), FIVES).fingerprint
    assert [row for row, _ in read(source, RowRanges([(0, 5)]))] == list(range(5, 15))
    pq.write_table(TABLE.slice(1, 5), tmp_path / "0.parquet")
    assert source.fingerprint != source_of(ds.dataset(tmp_path), FIVES).fingerprint


def test_importing_the_package_imports_no_data_libraries() -> None:
    code = (
        "import sys, zerobus_core, zerobus_core.sources, zerobus_core.checkpoint\n"
        "from zerobus_core import IngestOptions, ingest\n"
        "zerobus_core.sources.source_of([{'a': 1}], IngestOptions())\n"
        "print([m for m in ('pyarrow', 'pandas', 'polars', 'fsspec', 'fastavro', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_filtered_dataset_gives_what_its_filter_leaves_each_time_it_is_read(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "x.parquet")
    source = source_of(ds.dataset(tmp_path).filter(ds.field("n") > 19), FIVES)
    rows = [(n - 20, {"n": n, "s": f"row {n}"}) for n in (20, 21, 22)]
    assert read(source) == read(source) == rows
    assert read(source, RowRanges([(0, 2)])) == rows[2:]
    assert source.fingerprint is None


CATEGORIES = [pd.DataFrame({"s": pd.Categorical([f"{part}{n}" for n in range(100)])}) for part in "xyz"]


def test_categories_of_several_chunks_may_be_more_than_one_dictionary_holds() -> None:
    expected = [f"{part}{n}" for part in "xyz" for n in range(100)]
    options = IngestOptions(batch_rows=250)
    tables = [pa.Table.from_pandas(frame) for frame in CATEGORIES]
    plain = tables[0].schema.field("s").type.value_type
    assert [row["s"] for _, row in read(source_of(CATEGORIES, options))] == expected
    source = source_of(pa.concat_tables(tables), options)
    assert [row["s"] for _, row in read(source)] == expected
    assert source.fingerprint == source_of(pa.table({"s": pa.array(expected, plain)}), options).fingerprint


def test_dictionaries_inside_of_lists_are_left_in_their_chunks() -> None:
    kind = pa.list_(pa.dictionary(pa.int8(), pa.string()))
    parts = [pa.table({"s": pa.array([[f"{part}{n}"] for n in range(100)], kind)}) for part in "xyz"]
    source = source_of(pa.concat_tables(parts), IngestOptions(batch_rows=250))
    assert [row["s"] for _, row in read(source)] == [[f"{part}{n}"] for part in "xyz" for n in range(100)]
    assert source.fingerprint is None or source.fingerprint.startswith("arrow:300:")


def test_a_damaged_file_of_a_dataset_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(TABLE, path, compression="none", use_dictionary=False)
    source = source_of(ds.dataset(path), FIVES)
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    data[at : at + 16] = b"\xff" * 16
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"cannot read .*x.parquet"):
        read(source)
