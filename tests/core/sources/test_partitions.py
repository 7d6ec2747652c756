"""Directories named ``name=value`` become columns of the table's types."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.errors import RecordError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus


def folders(root: Path, *names: str) -> Path:
    for at, name in enumerate(names):
        (root / name).mkdir(parents=True)
        pq.write_table(pa.table({"n": [at]}), root / name / "x.parquet")
    return root


@pytest.mark.parametrize(
    ("column", "names", "values"),
    [
        ("DATE", ["p=2026-01-01", "p=__HIVE_DEFAULT_PARTITION__"], [date(2026, 1, 1), None]),
        ("STRING", ["p=1234", "p=77"], ["1234", "77"]),
        ("VARCHAR(4)", ["p=1234"], ["1234"]),
        ("INT", ["p=01", "p=2"], [1, 2]),
        ("BIGINT", ["p=-9223372036854775808"], [-(2**63)]),
        ("STRING", ["p=99999999999999999999"], ["99999999999999999999"]),
        ("DOUBLE", ["p=7"], [7.0]),
    ],
)
def test_a_partition_has_the_type_of_its_column(
    column: str, names: list[str], values: list[Any], zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (n BIGINT, p {column})")
    ingest(zerobus.workspace, table_name, folders(tmp_path, *names))
    rows = zerobus.read(table_name).to_pylist()
    assert sorted(row["p"] for row in rows if row["p"] is not None) == sorted(v for v in values if v is not None)
    assert len(rows) == len(values)


@pytest.mark.parametrize(("column", "name"), [("DATE", "p=yesterday"), ("INT", "p=many"), ("BIGINT", f"p={10**30}")])
def test_a_partition_that_its_column_does_not_take_is_told_as_it_was(
    column: str, name: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (n BIGINT, p {column})")
    with pytest.raises(RecordError, match=f"row 0, field p: .*{name[2:]}"):
        ingest(zerobus.workspace, table_name, folders(tmp_path, name))


def test_whole_numbers_of_more_than_64_bits_are_text_where_no_table_is_known(tmp_path: Path) -> None:
    (chunk,) = source_of(folders(tmp_path, f"p={10**20}"), IngestOptions()).chunks(RowRanges())
    assert chunk.rows.to_pylist() == [{"n": 0, "p": str(10**20)}]  # type: ignore[union-attr]
