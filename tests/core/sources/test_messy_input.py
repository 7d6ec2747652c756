"""Files and values as people have them, and what the error says if they cannot be read: the way out."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli_runner import cli_runner
from tests.core.cli.test_cli_push import environment
from zerobus_core import CsvFormat, IngestOptions, ingest
from zerobus_core.cli import main
from zerobus_core.errors import ConfigurationError, RecordError, SchemaError, ZerobusIngestError
from zerobus_local import LocalZerobus

ROWS = pa.table({"id": [1], "name": ["a"]})


def zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.csv", "id,name\n1,a\n")
    return sink.getvalue()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(ROWS, sink)
    return sink.getvalue()


def arrow() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, ROWS.schema) as file:
        file.write_table(ROWS)
    return sink.getvalue()


def avro() -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}]}, [{"id": 1}])
    return sink.getvalue()


OTHER_FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "gzip": (lambda: gzip.compress(b"id,name\n1,a\n"), "is a gzip file, judging by .*add .gz to its name"),
    "xz": (lambda: lzma.compress(b"id,name\n1,a\n"), "is an xz file, .*add .xz to its name"),
    "zst": (lambda: pa.compress(b"id,name\n", "zstd", asbytes=True), "is a Zstandard file, .*add .zst to its name"),
    "zip": (zipped, "is a ZIP file, .*zip://"),
    "parquet": (parquet, "is a Parquet file, .*format=.parquet."),
    "arrow": (arrow, "is an Arrow IPC file, .*format=.arrow."),
    "avro": (avro, "is an Avro file, .*format=.avro."),
    "page": (lambda: b"\n<!DOCTYPE html><html>Sign in, please</html>", "is an HTML page, judging by its first bytes"),
}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("kind", OTHER_FILES)
def test_a_file_that_is_another_one_than_its_name_says_is_named_by_its_first_bytes(
    kind: str, ending: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING)")
    content, message = OTHER_FILES[kind]
    path = tmp_path / f"rows.{ending}"
    path.write_bytes(content())
    with pytest.raises(ConfigurationError, match=message) as caught:
        ingest(zerobus.workspace, table_name, str(path))
    assert str(path) in str(caught.value)


def test_text_that_begins_like_another_file_is_text(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (PAR1 BIGINT, PK STRING)")
    (tmp_path / "rows.csv").write_text("PAR1,PK\n1,Obj\n")
    ingest(zerobus.workspace, table_name, str(tmp_path / "rows.csv"))
    assert zerobus.read(table_name).to_pylist() == [{"PAR1": 1, "PK": "Obj"}]


CELLS: list[tuple[str, str, str, dict[str, Any], Any]] = [
    ("DECIMAL(12,2)", "1,234.50", "thousands_char", {"thousands_char": ","}, "1234.50"),
    ("BIGINT", "1,234", "thousands_char", {"thousands_char": ","}, 1234),
    ("BIGINT", "1 234", "thousands_char", {"thousands_char": " "}, 1234),
    ("BIGINT", "1.234.567", "thousands_char", {"decimal_char": ",", "thousands_char": "."}, 1234567),
    ("DOUBLE", "1,5", "decimal_char", {"decimal_char": ","}, 1.5),
    ("DATE", "12/31/2025", "date_format", {"date_format": "%m/%d/%Y"}, "2025-12-31"),
    ("DATE", "31.12.2025", "date_format", {"date_format": "%d.%m.%Y"}, "2025-12-31"),
    (
        "TIMESTAMP_NTZ",
        "31-Dec-2025 10:00",
        "timestamp_format",
        {"timestamp_format": "%d-%b-%Y %H:%M"},
        "2025-12-31 10:00:00",
    ),
    ("BOOLEAN", "Y", "true_values", {"true_values": ("Y",)}, True),
    ("BOOLEAN", "-", "null_values", {"null_values": ("-",)}, None),
    ("BIGINT", "\\N", "null_values", {"null_values": ("\\N",)}, None),
    ("DATE", "none", "null_values", {"null_values": ("none",)}, None),
]


@pytest.mark.parametrize("case", CELLS, ids=lambda case: f"{case[0]} {case[1]}")
def test_the_reason_for_a_cell_names_the_setting_that_reads_it(
    case: tuple[str, str, str, dict[str, Any], Any], zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    kind, cell, hint, format, value = case
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, x {kind})")
    (tmp_path / "rows.csv").write_text(f"id;x\n1;{cell}\n")
    path = str(tmp_path / "rows.csv")
    with pytest.raises(RecordError, match=rf"row 0 \(line 2\), field x: the text is n.*CsvFormat\(.*{hint}"):
        ingest(zerobus.workspace, table_name, path, options={"format": CsvFormat(delimiter=";")})
    ingest(zerobus.workspace, table_name, path, options={"format": CsvFormat(delimiter=";", **format)})
    (row,) = zerobus.read(table_name).to_pylist()
    assert row["x"] == value or str(row["x"]) == str(value)


@pytest.mark.parametrize("cell", ["$12.50", "12%", "12 €"])
def test_a_number_with_a_sign_is_not_read_as_one(
    cell: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (x DOUBLE)")
    (tmp_path / "rows.csv").write_text(f"x\n{cell}\n")
    with pytest.raises(RecordError, match="remove the currency or percent sign with a transform"):
        ingest(zerobus.workspace, table_name, str(tmp_path / "rows.csv"))


def test_a_column_without_a_name_is_left_out_as_the_error_says(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING)")
    for number, text in enumerate(("id,name,\n1,a,\n", ",id,name\n0,1,a\n")):
        path = tmp_path / f"{number}.csv"
        path.write_text(text)
        with pytest.raises(SchemaError, match=r"no column '', a column without a name, .*drop=\[''\]"):
            ingest(zerobus.workspace, table_name, str(path))
        ingest(zerobus.workspace, table_name, str(path), options={"drop": [""]})
    assert zerobus.read(table_name).to_pylist() == [{"id": 1, "name": "a"}] * 2


def test_rows_that_end_with_a_delimiter_are_read_with_a_name_for_each_cell(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING)")
    (tmp_path / "rows.csv").write_text("id,name\n1,a,\n")
    path = str(tmp_path / "rows.csv")
    with pytest.raises(RecordError, match=r"has 3 cells.*name all 3 columns with CsvFormat\(names=…, skip_lines=1\)"):
        ingest(zerobus.workspace, table_name, path)
    options = IngestOptions(format=CsvFormat(names=("id", "name", "end"), skip_lines=1), drop=("end",))
    ingest(zerobus.workspace, table_name, path, options=options)
    assert zerobus.read(table_name).to_pylist() == [{"id": 1, "name": "a"}]


def test_blanks_before_a_name_of_the_header_are_left_out_as_the_error_says(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING)")
    (tmp_path / "rows.csv").write_text("id, name\n1, a\n")
    path = str(tmp_path / "rows.csv")
    with pytest.raises(
        SchemaError, match=r"no column ' name' \(did you mean name\? pass CsvFormat\(skip_blanks=True\)"
    ):
        ingest(zerobus.workspace, table_name, path)
    ingest(zerobus.workspace, table_name, path, options={"format": CsvFormat(skip_blanks=True)})
    assert zerobus.read(table_name).to_pylist() == [{"id": 1, "name": "a"}]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"x": NaN}', 'NaN is not valid JSON; write null, or "NaN" for a DOUBLE column'),
        ('{"x": -Infinity}', "-Infinity is not valid JSON"),
        ("{'x': 1}", "expecting property name enclosed in double quotes at character 2"),
        ('{"x": 1', "expecting ',' delimiter at character 8"),
        ('{"x": 1e9999}', "a number of this size fits no column"),
    ],
)
def test_a_line_that_is_not_json_is_refused_with_the_reason(
    line: str, why: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (x DOUBLE)")
    (tmp_path / "rows.jsonl").write_text(f'{{"x": "NaN"}}\n{line}\n')
    with pytest.raises(RecordError) as caught:
        ingest(zerobus.workspace, table_name, str(tmp_path / "rows.jsonl"))
    assert f"row 1 (line 2), field (the whole row): the line cannot be read as JSON: {why}" in str(caught.value)


RECORDS: list[tuple[Callable[[], Any], str]] = [
    (lambda: {"id": [1, 2]}, r"a dict of lists: if each list is a column, pass pyarrow.table\(records\)"),
    (lambda: [json.dumps({"id": 1})], r"seems to be JSON; pass \(json.loads\(line\) for line in records\)"),
    (lambda: [b' {"id": 1}'], "seems to be JSON"),
    (lambda: io.BytesIO(b"id\n1\n"), "records is an open file; pass its path"),
    (lambda: io.StringIO("id\n1\n"), "records is an open file; pass its path"),
    (lambda: np.zeros((2, 2)), r"records is a numpy array; pass pandas.DataFrame\(records, columns=…\)"),
    (lambda: np.array([(1,)], dtype=[("id", "i8")]), "records is a numpy array"),
]


@pytest.mark.parametrize(("records", "message"), RECORDS)
def test_records_in_a_common_form_that_is_not_rows_are_refused_with_the_way_out(
    records: Callable[[], Any], message: str, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    with pytest.raises(ZerobusIngestError, match=message):
        ingest(zerobus.workspace, table_name, records())


def test_rows_inside_of_an_object_are_named(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    page = {"next": None, "data": [{"id": 1}, {"id": 2}]}
    (tmp_path / "page.json").write_text(json.dumps(page))
    for records in ([page], str(tmp_path / "page.json")):
        with pytest.raises(RecordError, match="field data: .*it is a list of records: if they are the rows, pass that"):
            ingest(zerobus.workspace, table_name, records)
    ingest(zerobus.workspace, table_name, page["data"])
    assert zerobus.read(table_name).num_rows == 2


def test_a_title_before_the_header_is_passed_over_as_the_error_says(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING)")
    (tmp_path / "rows.csv").write_text("Report of May\n\nid,name\n1,a\n")
    path = str(tmp_path / "rows.csv")
    with pytest.raises(
        SchemaError, match=r"the table has id, name, and the source has none of these columns; .*skip_lines=…"
    ):
        ingest(zerobus.workspace, table_name, path)
    ingest(zerobus.workspace, table_name, path, options={"format": CsvFormat(skip_lines=1)})
    assert zerobus.read(table_name).to_pylist() == [{"id": 1, "name": "a"}]


REMEDIES_AS_FLAGS: list[tuple[str, str, str, list[str]]] = [
    ('id,x\n1,"1,5"\n', "DOUBLE", "its form with --decimal-char and --thousands-char", ["--decimal-char", ","]),
    ("id,x\n1,31.12.2025\n", "DATE", "with --date-format and --timestamp-format", ["--date-format", "%d.%m.%Y"]),
    ("id,x\n1,Y\n", "BOOLEAN", "set other words with --true-values and --false-values", ["--true-values", "Y"]),
    ("id,x\n1,-\n", "BIGINT", "list it with --null-values", ["--null-values", "-"]),
    ("id, x\n1, 5\n", "BIGINT", "did you mean x? pass --skip-blanks to ignore leading blanks", ["--skip-blanks"]),
    ("id,x,\n1,5,\n", "BIGINT", "(--drop '')", ["--drop", ""]),
    (
        "id,x\n1,5,\n",
        "BIGINT",
        "name all 3 columns with --names and --skip-lines 1",
        ["--names", "id", "--names", "x", "--names", "end", "--skip-lines", "1", "--drop", "end"],
    ),
]


@pytest.mark.parametrize("case", REMEDIES_AS_FLAGS, ids=lambda case: case[2])
def test_the_command_line_names_the_flag_that_reads_the_file(
    case: tuple[str, str, str, list[str]], zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    text, kind, hint, flags = case
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, x {kind})")
    path = tmp_path / "rows.csv"
    path.write_text(text)
    command = ["push", str(path), "-t", table_name]
    refused = cli_runner().invoke(main, command, env=environment(zerobus.workspace))
    assert refused.exit_code in {2, 65}
    assert hint in " ".join(refused.stderr.split())
    assert "Format(" not in refused.stderr
    pushed = cli_runner().invoke(main, [*command, *flags], env=environment(zerobus.workspace))
    assert pushed.exit_code == 0, pushed.stderr
    assert zerobus.read(table_name).num_rows == 1
