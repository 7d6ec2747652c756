"""Rows of CSV files: what RFC 4180 does not allow is an error or a bad row, never another row."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fast import examples
from zerobus_core import CsvFormat, IngestOptions, ingest
from zerobus_core.cli.push import push
from zerobus_core.errors import ConfigurationError, RecordError, ZerobusIngestError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import source_of
from zerobus_core.sources.files.formats.csv_rows import CsvGrammar
from zerobus_local import LocalZerobus

BACKSLASH = CsvFormat(escape_char="\\")


def rows_of(path: Path, content: bytes, given: CsvFormat | None = None, skip: RowRanges | None = None) -> list[Any]:
    path.write_bytes(content)
    chunks = source_of(path, IngestOptions(batch_rows=2, format=given)).chunks(skip or RowRanges())
    return [
        (chunk.first_row + at, row if isinstance(row, str) else tuple(row.values()))
        for chunk in chunks
        for at, row in enumerate(chunk.rows if isinstance(chunk.rows, list) else chunk.rows.to_pylist())
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b'1,"5\\"",z', "after a closing quote"),
        (b'1,"say \\"hi\\"",z', "after a closing quote"),
        (b'1,"{\\"k\\":1,\\"j\\":2}"', "after a closing quote"),
        (b'1,"a"b,z', "the text 'b,z' after a closing quote"),
        (b'1,"a" ,z', "the text ' ,z' after a closing quote"),
        (b'1,"a"\t,z', "after a closing quote"),
        (b'1,{"k":1,"j":2}', "after a closing quote"),
        (b'1, "a, b"', "blanks before an opening quote"),
        (b'1,\t"a",z', "blanks before an opening quote"),
    ],
)
def test_a_row_with_more_than_one_reading_is_refused_with_row_line_and_remedy(
    row: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"^row 1 of .*x\.csv \(line 4\) has ") as caught:
        rows_of(tmp_path / "x.csv", b'id,n,m\n0,"two\nlines",x\n' + row + b'\n2,"ok",y\n')
    assert message in str(caught.value)
    assert "CsvFormat(" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (b'1,"C:\\dir\\",z', ("1", "C:\\dir\\", "z")),
        (b'1,"say ""hi""",z', ("1", 'say "hi"', "z")),
        (b'1,5" pipe,z', ("1", '5" pipe', "z")),
        (b'1,{"k":"v"},z', ("1", '{"k":"v"}', "z")),
        (b'1,"{""k"":1,""j"":[2,3]}",z', ("1", '{"k":1,"j":[2,3]}', "z")),
        (b'1,a"b"c,z', ("1", 'a"b"c', "z")),
        (b"1, blank ,\t", ("1", " blank ", "\t")),
    ],
)
def test_a_row_with_one_reading_is_read(row: bytes, cells: tuple[str, ...], tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x.csv", b"id,n,m\n" + row + b"\n2,b,y\n") == [(0, cells), (1, ("2", "b", "y"))]


@pytest.mark.parametrize(
    ("row", "given", "cells"),
    [
        (b'1,"5\\"",z', BACKSLASH, ("1", '5"', "z")),
        (b'1,"{\\"k\\":\\"a\\\\b\\"}",z', BACKSLASH, ("1", '{"k":"a\\b"}', "z")),
        (b'1,"C:\\\\dir\\\\",z', BACKSLASH, ("1", "C:\\dir\\", "z")),
        (b'1,"a ""b"" \\"c\\"",z', BACKSLASH, ("1", 'a "b" "c"', "z")),
        (b'1,"two\\\nlines\\, one cell",z', BACKSLASH, ("1", "two\nlines, one cell", "z")),
        (b"1,C:\\dir\\,z", BACKSLASH, ("1", "C:\\dir\\", "z")),  # Spark and PostgreSQL escape inside quotes only
        (b'1, "a, b", z', CsvFormat(skip_blanks=True), ("1", "a, b", "z")),
        (b'1,"a"b,z', CsvFormat(quote_char=None), ("1", '"a"b', "z")),
        (b"1,'a,b',\"", CsvFormat(quote_char="'"), ("1", "a,b", '"')),
    ],
)
def test_the_format_says_how_a_row_is_read(
    row: bytes, given: CsvFormat, cells: tuple[str, ...], tmp_path: Path
) -> None:
    content = b"id,n,m\n" + row + b"\n2,b,y\n"
    assert rows_of(tmp_path / "x.csv", content, given) == [(0, cells), (1, ("2", "b", "y"))]


def test_an_escape_character_before_anything_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="escape_char must be followed by"):
        rows_of(tmp_path / "x.csv", b'id,n\n1,"new\\n line"\n', BACKSLASH)


ALPHABET = st.sampled_from('a"\\, \n\r;')
TABLES = st.lists(st.lists(st.text(ALPHABET, max_size=5), min_size=3, max_size=3), min_size=1, max_size=5)


@settings(max_examples=examples(300), deadline=None)
@given(rows=TABLES, ends=st.sampled_from(["\n", "\r\n", "\r"]), quoting=st.booleans())
def test_what_was_written_is_read_back_however_it_is_cut_into_blocks(
    rows: list[list[str]], ends: str, quoting: bool
) -> None:
    # Not by csv.writer, which leaves a carriage return without quotes if that is not its own line end.
    def written(cell: str) -> str:
        is_plain = cell.lstrip(" ")[:1] != '"' and not any(sign in cell for sign in ",\r\n")
        return cell if is_plain and not quoting else '"' + cell.replace('"', '""') + '"'

    data = "".join(",".join(map(written, row)) + ends for row in rows).encode()
    grammar = CsvGrammar(",")
    assert grammar.end_of_rows(data, is_last=True) == len(data)
    assert [[cell.text.decode() for cell in grammar.cells(row)] for row in grammar.rows(data)] == rows
    for cut in range(len(data)):
        whole = data[: grammar.end_of_rows(data[:cut], is_last=False)]
        read = [[cell.text.decode() for cell in grammar.cells(row)] for row in grammar.rows(whole)]
        assert read == rows[: len(read)]


@settings(max_examples=examples(300), deadline=None)
@given(rows=TABLES, data=st.data())
def test_escape_characters_are_taken_out_of_quoted_cells_only(rows: list[list[str]], data: st.DataObject) -> None:
    def written(cell: str) -> str:
        if not any(sign in cell for sign in '",\n\r') and not data.draw(st.booleans()):
            return cell
        return '"' + cell.replace("\\", "\\\\").replace('"', '\\"') + '"'

    content = "".join(",".join(map(written, row)) + "\n" for row in rows).encode()
    grammar = CsvGrammar(",", '"', "\\")
    assert grammar.end_of_rows(content, is_last=True) == len(content)
    assert [[cell.text.decode() for cell in grammar.cells(row)] for row in grammar.rows(content)] == rows
    plain = grammar.as_rfc_4180(content).decode()
    assert list(csv.reader(io.StringIO(plain, newline=""), strict=True)) == rows


def test_a_table_in_the_form_of_sparks_writer_lands_whole(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, n STRING, m STRING)")
    lines = [f'{n},"pipe 5\\", ""{n}""",ok\n' if n % 10 == 0 else f"{n},a\\b {n},ok\n" for n in range(1_000)]
    (tmp_path / "x.csv").write_text("id,n,m\n" + "".join(lines))
    with pytest.raises(ZerobusIngestError, match=r"row 0 of .*\(line 2\)"):
        ingest(zerobus.workspace, table_name, tmp_path / "x.csv")
    ingest(zerobus.workspace, table_name, tmp_path / "x.csv", options=IngestOptions(format=BACKSLASH))
    assert zerobus.read(table_name).sort_by("id").to_pylist() == [
        {"id": n, "n": f'pipe 5", "{n}"' if n % 10 == 0 else f"a\\b {n}", "m": "ok"} for n in range(1_000)
    ]


RAGGED = b'id,n,x\n0,"two\nlines",0\n1,b\n\n2,c,2,9\n3,d,3\n'


def test_ragged_rows_fail_a_delivery_by_row_and_line(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, n STRING, x DOUBLE)")
    (tmp_path / "x.csv").write_bytes(RAGGED)
    with pytest.raises(RecordError, match="line 4 has 2 cells, and the header has 3") as caught:
        ingest(zerobus.workspace, table_name, tmp_path / "x.csv")
    assert [field.row for field in caught.value.fields] == [1, 2]


@pytest.mark.parametrize("record_format", ["auto", "protobuf", "json", "arrow"])
def test_ragged_rows_are_dead_letters_and_the_others_land(
    record_format: Any, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, n STRING, x DOUBLE)")
    (tmp_path / "x.csv").write_bytes(RAGGED)
    options = IngestOptions(
        record_format=record_format, on_bad_record="dead_letter", dead_letter_uri=f"{tmp_path}/bad.jsonl"
    )
    receipt = ingest(zerobus.workspace, table_name, tmp_path / "x.csv", options=options)
    assert (receipt.rows_acked, receipt.rows_dead_lettered) == (2, 2)
    assert sorted(row["id"] for row in zerobus.read(table_name).to_pylist()) == [0, 3]
    letters = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(letter["row"], letter["record"], letter["error"]) for letter in letters] == [
        (1, "1,b", "(the whole row): line 4 has 2 cells, and the header has 3"),
        (2, "2,c,2,9", "(the whole row): line 6 has 4 cells, and the header has 3"),
    ]


def test_ragged_rows_keep_their_places_when_rows_are_skipped(tmp_path: Path) -> None:
    whole = rows_of(tmp_path / "x.csv", RAGGED)
    assert [at for at, _ in whole] == [0, 1, 2, 3]
    for durable in ([(0, 1)], [(0, 2)], [(1, 2)], [(1, 3)], [(3, 4)], [(0, 4)]):
        skip = RowRanges(durable)
        assert rows_of(tmp_path / "x.csv", RAGGED, skip=skip) == [(at, row) for at, row in whole if at not in skip]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "shift_jis"])
def test_a_file_of_another_encoding_is_read_by_its_name(encoding: str, tmp_path: Path) -> None:
    text = "id,n\n" + "".join(f'{n},"{"あ" if encoding == "shift_jis" else "é"} {n}"\n' for n in range(90_000))
    rows = rows_of(tmp_path / "x.csv", text.encode(encoding), CsvFormat(encoding=encoding))
    assert len(rows) == 90_000
    assert rows[89_999][1] == ("89999", "あ 89999" if encoding == "shift_jis" else "é 89999")


@pytest.mark.parametrize(
    ("content", "encoding"), [("caf\u00e9".encode("latin-1"), "utf-8"), (b"\x81", "cp1252"), (b"\x81\xff", "shift_jis")]
)
def test_a_cell_that_is_not_of_the_encoding_is_a_bad_row(
    content: bytes, encoding: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, n STRING)")
    (tmp_path / "x.csv").write_bytes(b"id,n\n0,a\n1," + content + b"\n2,c\n")
    given = CsvFormat(encoding=encoding)
    with pytest.raises(RecordError, match=r"row 1 \(line 3\), field n: cannot be read: .*is not UTF-8"):
        ingest(zerobus.workspace, table_name, tmp_path / "x.csv", options=IngestOptions(format=given))
    options = IngestOptions(format=given, on_bad_record="dead_letter", dead_letter_uri=f"{tmp_path}/bad.jsonl")
    assert ingest(zerobus.workspace, table_name, tmp_path / "x.csv", options=options).rows_acked == 2


def test_utf_16_that_is_read_as_utf_8_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='is UTF-16, judging by its first bytes.*encoding="utf-16"'):
        rows_of(tmp_path / "x.csv", "a,b\n1,2\n".encode("utf-16"))


def test_a_format_is_for_files_without_a_telling_extension_too(tmp_path: Path) -> None:
    (tmp_path / "export.dat").write_text("a;b\n1;2\n")
    source = source_of(tmp_path / "export.dat", IngestOptions(format={"type": "csv", "delimiter": ";"}))
    assert [row for chunk in source.chunks(RowRanges()) for row in chunk.rows.to_pylist()] == [{"a": "1", "b": "2"}]  # type: ignore[union-attr]
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(ConfigurationError, match=r"x\.jsonl holds jsonl files, but options\.format is for csv files"):
        source_of(tmp_path / "x.jsonl", IngestOptions(format=CsvFormat()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"delimiter": "||"}, r"CsvFormat\.delimiter must be one ASCII character"),
        ({"delimiter": "\n"}, r"CsvFormat\.delimiter must be one ASCII character"),
        ({"delimiter": '"'}, r"CsvFormat\.delimiter must be different from quote_char, not '\"'"),
        ({"quote_char": "«"}, r"CsvFormat\.quote_char must be"),
        ({"quote_char": None, "escape_char": "\\"}, "must be None if quote_char is None"),
        ({"encoding": "latin-99"}, r"CsvFormat\.encoding must be the name of a Python codec"),
        ({"encoding": "base64"}, r"CsvFormat\.encoding must be a text encoding"),
        ({"encoding": None}, r"CsvFormat\.encoding must be"),
        ({"null_values": "-"}, r"CsvFormat\.null_values must be a list"),
        ({"skip_blanks": "no"}, r"CsvFormat\.skip_blanks must be True or False"),
        ({"escape": "\\"}, "CsvFormat has no field escape; its fields are comment_char, date_format"),
        ({"type": "xml"}, r"IngestOptions\.format must be"),
        ("xml", r"IngestOptions\.format must be"),
    ],
)
def test_a_wrong_format_is_refused_by_name(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        IngestOptions(format=given)


def test_settings_that_nobody_changed_leave_the_fingerprint_of_older_versions(tmp_path: Path) -> None:
    assert CsvFormat().settings() == {"delimiter": None, "null_values": ()}
    assert CsvFormat(encoding="latin-1").settings().keys() == {"delimiter", "null_values", "encoding"}


GERMAN = CsvFormat(
    delimiter=";",
    decimal_char=",",
    thousands_char=".",
    true_values=("ja",),
    false_values=("nein",),
    date_format="%d.%m.%Y",
    timestamp_format="%d.%m.%Y %H:%M:%S",
    null_values=("-",),
    skip_lines=2,
    comment_char="#",
)
TYPES = "id BIGINT, x DOUBLE, d DECIMAL(12,2), b BOOLEAN, day DATE, at TIMESTAMP_NTZ, s STRING"
EXPORT = b"""Report of 24.12.2025
a line with a "stray quote
# and one with another "
id;x;d;b;day;at;s
1.234;1.234,5;-0,25;ja;24.12.2025;24.12.2025 13:45:01;1.5
# a comment in "between
2;-;NULL;nein;;;-
3;,5;1.000.000;TRUE;1.1.2026;1.1.2026 0:00:00;#no comment
"""


def test_a_file_of_another_notation_lands_with_its_values(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} ({TYPES})")
    (tmp_path / "x.csv").write_bytes(EXPORT)
    ingest(zerobus.workspace, table_name, tmp_path / "x.csv", options=IngestOptions(format=GERMAN))
    assert [tuple(row.values()) for row in zerobus.read(table_name).sort_by("id").to_pylist()] == [
        (2, None, None, False, None, None, None),
        (3, 0.5, Decimal("1000000.00"), True, date(2026, 1, 1), datetime(2026, 1, 1), "#no comment"),
        (1234, 1234.5, Decimal("-0.25"), True, date(2025, 12, 24), datetime(2025, 12, 24, 13, 45, 1), "1.5"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"1.5;;;;;;", "line 6 has in column id: '1.5', which is not a number with ',' before its fraction and '.'"),
        (b"1;1.5;;;;;", "column x: '1.5', which is not a number"),
        (b"1;1.2345,0;;;;;", "column x: '1.2345,0', which is not a number"),
        (b"1;;1,5,0;;;;", "column d: '1,5,0', which is not a number"),
        (b"1;;;;2025-12-24;;", "column day: '2025-12-24', which is not written as %d.%m.%Y"),
        (b"1;;;;;24.12.2025;", "column at: '24.12.2025', which is not written as"),
        (b"1;;;;24.13.2025;;", "column day: '24.13.2025', which is not written as"),
        (b"1;\xe9;;;;;", "column x: a cell that is not in the file's encoding"),
        (b"1;;;;;", "line 6 has 6 cells, and the header has 7"),
    ],
)
def test_a_cell_of_another_notation_than_the_format_says_makes_a_bad_row(
    row: bytes, reason: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} ({TYPES})")
    lines = EXPORT.split(b"\n")
    (tmp_path / "x.csv").write_bytes(b"\n".join([*lines[:5], row, *lines[5:]]))
    options = IngestOptions(format=GERMAN)
    with pytest.raises(RecordError, match=re.escape(reason)):
        ingest(zerobus.workspace, table_name, tmp_path / "x.csv", options=options)
    letters = IngestOptions(format=GERMAN, on_bad_record="dead_letter", dead_letter_uri=f"{tmp_path}/bad.jsonl")
    receipt = ingest(zerobus.workspace, table_name, tmp_path / "x.csv", options=letters)
    assert (receipt.rows_acked, receipt.rows_dead_lettered) == (3, 1)
    (letter,) = map(json.loads, (tmp_path / "bad.jsonl").read_text().splitlines())
    assert letter["row"] == 1


def test_a_boolean_that_is_no_word_of_the_format_is_a_bad_row(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (b BOOLEAN)")
    (tmp_path / "x.csv").write_bytes(b"b\nyes\nno\nmaybe\n")
    given = CsvFormat(true_values=["yes"], false_values=["no"])  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=r"row 2 \(line 4\), field b"):
        ingest(zerobus.workspace, table_name, tmp_path / "x.csv", options=IngestOptions(format=given))


def test_a_file_without_a_header_has_the_names_that_are_given(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x.csv", b"1,a\n2,b\n", CsvFormat(names=("id", "n"))) == [
        (0, ("1", "a")),
        (1, ("2", "b")),
    ]
    assert rows_of(tmp_path / "x.csv", b"", CsvFormat(names=("id", "n"))) == []


@pytest.mark.parametrize(
    "content", [b"# only\n# comments\n", b"# only a comment", b"", b"a\n", b"skipped", b"x\ny\nz\n"]
)
def test_a_file_that_ends_before_its_rows_has_none(content: bytes, tmp_path: Path) -> None:
    for lines in (2, 9):
        assert rows_of(tmp_path / "x.csv", content, CsvFormat(comment_char="#", skip_lines=lines)) == []


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_a_header_that_is_one_name_with_another_delimiter_gets_the_hint(sign: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is a single name, .*pass CsvFormat\(delimiter="):
        rows_of(tmp_path / "x.csv", f"id{sign}n\n1{sign}a\n".encode())
    with pytest.raises(ConfigurationError, match='delimiter=","'):
        rows_of(tmp_path / "x.tsv", b"id,n\n1,a\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"decimal_char": ";"}, r"CsvFormat\.decimal_char must be '\.' or ','"),
        ({"decimal_char": ",", "thousands_char": ","}, r"CsvFormat\.thousands_char must be"),
        ({"thousands_char": "1"}, r"CsvFormat\.thousands_char must be"),
        ({"date_format": "dd.mm.yyyy"}, r"CsvFormat\.date_format must be a format of datetime\.strptime"),
        ({"timestamp_format": "%Q"}, r"CsvFormat\.timestamp_format must be"),
        ({"names": []}, r"CsvFormat\.names must be"),
        ({"names": ["a", "a"]}, r"CsvFormat\.names must be a list of different names"),
        ({"skip_lines": -1}, r"CsvFormat\.skip_lines must be a whole number"),
        ({"comment_char": ","}, None),
        ({"comment_char": '"'}, r"CsvFormat\.quote_char must be different from comment_char, not '\"'"),
        ({"true_values": ["x"], "false_values": ["x"]}, r"CsvFormat\.false_values must be words not in true_values"),
    ],
)
def test_a_wrong_notation_is_refused_by_name(given: Any, message: str | None) -> None:
    if message is None:
        assert CsvFormat(**given).comment_char == ","
        return
    with pytest.raises(ConfigurationError, match=message):
        CsvFormat(**given)


def test_the_command_line_has_a_flag_for_every_field_of_a_format() -> None:
    names = {field.name for field in fields(CsvFormat)}
    options = {option.name for option in push.params}
    assert names <= options
