"""Blank lines of CSV files: before the header, between rows, and where they are a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zerobus_core import IngestOptions, ingest
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus


def rows_of(path: Path, content: bytes, skip: RowRanges | None = None) -> list[Any]:
    path.write_bytes(content)
    chunks = source_of(path, IngestOptions(batch_rows=2)).chunks(skip or RowRanges())
    return [row for chunk in chunks for row in chunk.rows.to_pylist()]  # type: ignore[union-attr]


@pytest.mark.parametrize("before", [b"\n", b"\r\n", b"\xef\xbb\xbf\n", b"\xef\xbb\xbf\r\n\r\n", b" \n\t\n", b"\n\n\n"])
def test_blank_lines_before_the_header_are_passed_over(before: bytes, tmp_path: Path) -> None:
    end = b"\r\n" if b"\r" in before else b"\n"
    content = before + end.join([b"a,b", b"1,x", b"", b"2,y", b""])
    assert rows_of(tmp_path / "x.csv", content) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]
    assert rows_of(tmp_path / "x.csv", content, RowRanges([(0, 1)])) == [{"a": "2", "b": "y"}]
    assert rows_of(tmp_path / "y.csv", before + end.join([b"a", b"1", b"2"])) == [{"a": "1"}, {"a": "2"}]


def test_a_csv_that_begins_with_a_blank_line_lands(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (a INT, b STRING)")
    (tmp_path / "x.csv").write_bytes(b"\r\na,b\r\n1,x\r\n2,y\r\n")
    assert ingest(zerobus.workspace, table_name, tmp_path / "x.csv").rows_acked == 2
    assert zerobus.read(table_name).sort_by("a").to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n \r\n", b"\xef\xbb\xbf\n\n", b"a,b\n", b"a\n"])
def test_a_csv_of_white_space_or_of_a_header_alone_holds_no_rows(content: bytes, tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x.csv", content) == []


def test_a_blank_line_is_a_row_of_null_where_there_is_one_column_and_no_row_elsewhere(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x.csv", b'a\nx\n\n""\ny\n') == [{"a": "x"}, {"a": None}, {"a": ""}, {"a": "y"}]
    assert rows_of(tmp_path / "x.csv", b"a,b\n1,x\n\n2,y\n") == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]
