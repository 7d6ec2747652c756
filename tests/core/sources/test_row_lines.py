"""The line of a bad row of a text file, in the error that ends the delivery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerobus_core import CsvFormat, IngestOptions, ingest
from zerobus_core.errors import RecordError
from zerobus_core.sources.files.formats.row_lines import LinesOfFiles, RowLines
from zerobus_local import LocalZerobus

MANY = "".join(f"{n},x\n" for n in range(200_000))
MANY_IN_QUOTES = "".join(f'{n},"x\ny"\n' for n in range(3_000))

CASES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "CSV": ("rows.csv", "id,name\n1,a\nx,b\n", {}, "row 1 (line 3), field id"),
    "CSV with a blank line": ("rows.csv", "id,name\n\n1,a\n\nx,b\n", {}, "row 1 (line 5), field id"),
    "CSV with a line end in quotes": ("rows.csv", 'id,name\n1,"a\nb"\nx,b\n', {}, "row 1 (line 4), field id"),
    "CSV with lines before the header": (
        "rows.csv",
        "made today\nid,name\n#1\n1,a\nx,b\n",
        {"format": CsvFormat(skip_lines=1, comment_char="#")},
        "row 1 (line 5), field id",
    ),
    "CSV without a header": ("rows.csv", "1,a\nx,b\n", {"format": CsvFormat(names=("id", "name"))}, "row 1 (line 2)"),
    "CSV of many rows": ("rows.csv", f"id,name\n{MANY}x,b\n", {}, "row 200000 (line 200002), field id"),
    "CSV of many lines in quotes": (
        "rows.csv",
        f"id,name\n{MANY_IN_QUOTES}x,b\n",
        {},
        "row 3000 (line 6002), field id",
    ),
    "JSON Lines": ("rows.jsonl", '{"id": 1}\n{"id": "x"}\n', {}, "row 1 (line 2), field id"),
    "JSON Lines with blank lines": ("rows.jsonl", '\n{"id": 1}\n\n\n{"id": "x"}\n', {}, "row 1 (line 5), field id"),
    "JSON Lines that are not JSON": ("rows.jsonl", '{"id": 1}\n{"id": \n', {}, "row 1 (line 2), field (the whole row)"),
    "after a row that transform left out": (
        "rows.jsonl",
        '{"id": 1}\n{"id": 2}\n{"id": "x"}\n',
        {"transform": lambda row: None if row["id"] == 1 else row},
        "row 1 (line 3), field id",
    ),
    "a JSON array has no lines": ("rows.json", '[{"id": 1},\n{"id": "x"}]', {}, "row 1, field id"),
}


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING)")
    return table_name


@pytest.mark.parametrize("case", CASES)
def test_the_line_of_a_bad_row_is_in_the_error(case: str, zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    name, content, options, shown = CASES[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(RecordError) as bad:
        ingest(zerobus.workspace, table, tmp_path / name, options=IngestOptions(**options))
    assert shown in str(bad.value)
    place = bad.value.fields[0].place
    assert (f"({place})" in shown) if "line" in shown else place == ""


def test_of_several_files_the_line_names_its_file(zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,a\n2,b\n")
    (tmp_path / "b.csv").write_text("id,name\n3,a\nx,b\n")
    with pytest.raises(RecordError) as bad:
        ingest(zerobus.workspace, table, tmp_path)
    assert f"row 3 (line 3 of {tmp_path}/b.csv), field id" in str(bad.value)


def test_rows_of_other_files_have_no_line(zerobus: LocalZerobus, table: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "rows.parquet")
    with pytest.raises(RecordError, match="row 0, field id"):
        ingest(zerobus.workspace, table, tmp_path / "rows.parquet")


def test_lines_follow_the_last_mark_before_a_row() -> None:
    lines = RowLines()
    assert lines.line(0) is None
    lines.note(0, 2)
    lines.note(5, 9)
    lines.note(5, 10)
    lines.note_block(7, 2, lambda: [20, 22])
    assert [lines.line(row) for row in (0, 4, 5, 6, 7, 8, 9)] == [2, 6, 10, 11, 20, 22, None]


def test_only_the_last_files_are_remembered() -> None:
    files = LinesOfFiles()
    for number in range(1_500):
        files.begin(str(number)).note(0, number)
    assert (files.line("0", 0), files.line("1499", 0)) == (None, 1499)
