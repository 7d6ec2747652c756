"""Timestamps of 96 bits, as Spark, Hive and Impala wrote them to Parquet files: every year, every digit."""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import ConfigurationError, RecordError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus

MOMENTS = [datetime(9999, 12, 31), datetime(1, 1, 1), datetime(2024, 5, 6, 7, 8, 9, 123456), datetime(1600, 1, 1), None]
MICROSECONDS = pa.array(MOMENTS, pa.timestamp("us"))
NANOSECONDS = pa.array([0, 1_000, 1_001, 2_000, None], pa.timestamp("ns"))


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, use_deprecated_int96_timestamps=True, row_group_size=3)
    return path


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMP_NTZ"])
def test_years_that_nanoseconds_cannot_count_land_as_they_are(
    kind: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, at {kind}, many ARRAY<{kind}>)")
    many = pa.ListArray.from_arrays([0, 1, 2, 3, 4, 5], MICROSECONDS)
    ingest(zerobus.workspace, table_name, write(tmp_path / "x.parquet", id=range(5), at=MICROSECONDS, many=many))
    landed = zerobus.read(table_name).sort_by("id").to_pylist()
    assert [row["at"] and row["at"].replace(tzinfo=None) for row in landed] == MOMENTS
    assert [row["many"][0] and row["many"][0].replace(tzinfo=None) for row in landed] == MOMENTS


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_nanoseconds_that_would_be_lost_are_a_bad_row_and_nothing_is_rounded(batch_rows: int, tmp_path: Path) -> None:
    inside = pa.StructArray.from_arrays([NANOSECONDS], ["at"])
    path = write(tmp_path / "x.parquet", n=range(5), at=NANOSECONDS, inside=inside)
    chunks = list(source_of(path, IngestOptions(batch_rows=batch_rows)).chunks(RowRanges()))
    kept = [value for chunk in chunks for value in chunk.rows.column("at").cast(pa.timestamp("ns")).cast(pa.int64())]  # type: ignore[union-attr]
    assert [value.as_py() for value in kept] == NANOSECONDS.cast(pa.int64()).to_pylist()
    assert [n for chunk in chunks for n in chunk.rows.column("n").to_pylist()] == list(range(5))  # type: ignore[union-attr]
    assert [chunk.first_row for chunk in chunks] == sorted(chunk.first_row for chunk in chunks)


def test_a_row_with_nanoseconds_is_named(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (at TIMESTAMP)")
    with pytest.raises(RecordError, match="row 2, field at"):
        ingest(zerobus.workspace, table_name, write(tmp_path / "x.parquet", at=NANOSECONDS))


def test_a_far_time_keeps_its_year_next_to_a_column_with_nanoseconds(tmp_path: Path) -> None:
    far = pa.array([datetime(9999, 12, 31), None], pa.timestamp("us"))
    path = write(tmp_path / "x.parquet", far=far, at=pa.array([1, 2_000], pa.timestamp("ns")))
    chunks = source_of(path, IngestOptions(drop=["at"])).chunks(RowRanges())
    kept = [value for chunk in chunks for value in chunk.rows.column("far").to_pylist()]  # type: ignore[union-attr]
    assert kept == far.to_pylist()


def _stored(nanoseconds: int) -> bytes:
    """Return 12 bytes of a file: the nanoseconds of the day and the Julian day."""
    day, rest = divmod(nanoseconds, 86_400 * 10**9)
    return struct.pack("<qi", rest, day + 2_440_588)


def write_far(path: Path, nanoseconds: int, *, is_nested: bool = False) -> Path:
    """Write one row with a time that Arrow cannot write as INT96."""
    moments = pa.array([10**18], pa.timestamp("ns"))
    column = pa.ListArray.from_arrays([0, 1], moments) if is_nested else moments
    table = pa.table({"at": column})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True, compression="NONE", use_dictionary=False)
    assert _stored(10**18) in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(_stored(10**18), _stored(nanoseconds)))
    return path


FAR = (datetime(9999, 12, 31) - datetime(1970, 1, 1)).days * 86_400 * 10**9


@pytest.mark.parametrize("digits", [1, 624, 999])
def test_a_far_time_with_nanoseconds_is_named_with_its_year(
    digits: int, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    """With the digits 624, the nanoseconds wrap around to a time in 1816 that has whole microseconds."""
    zerobus.create_table(f"CREATE TABLE {table_name} (at TIMESTAMP)")
    path = write_far(tmp_path / "x.parquet", FAR + digits)
    for parse_text in (False, True):
        with pytest.raises(RecordError, match=f"row 0, field at: .*9999-12-31T00:00:00.000000{digits:03}"):
            ingest(zerobus.workspace, table_name, path, options=IngestOptions(parse_text=parse_text))
    assert zerobus.read(table_name).num_rows == 0


def test_a_far_time_lands_in_a_variant_with_all_of_its_digits(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (at VARIANT)")
    ingest(zerobus.workspace, table_name, write_far(tmp_path / "x.parquet", FAR + 624))
    assert zerobus.read(table_name)["at"].to_pylist() == ['"9999-12-31T00:00:00.000000624"']


@pytest.mark.parametrize(
    ("nanoseconds", "is_nested", "reason"),
    [
        (FAR + 624, True, "a time with nanoseconds in a year before 1677 or after 2262, nested in another value"),
        (300_000 * 365 * 86_400 * 10**9, False, "a time that is not within the years 0001 to 9999"),
        (300_000 * 365 * 86_400 * 10**9, True, "a time that is not within the years 0001 to 9999"),
    ],
)
def test_a_time_that_cannot_be_read_exactly_ends_the_delivery(
    nanoseconds: int, *, is_nested: bool, reason: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    kind = "ARRAY<TIMESTAMP>" if is_nested else "TIMESTAMP"
    zerobus.create_table(f"CREATE TABLE {table_name} (at {kind})")
    path = write_far(tmp_path / "x.parquet", nanoseconds, is_nested=is_nested)
    with pytest.raises(ConfigurationError, match=f"cannot read .*x.parquet.*: column at has {reason}"):
        ingest(zerobus.workspace, table_name, path)
