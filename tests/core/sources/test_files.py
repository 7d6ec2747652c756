"""Files as sources: formats, order, positions, fingerprints."""

from __future__ import annotations

import gc
import gzip
import io
import os
import sqlite3
import weakref
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import fsspec
import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from tests.fast import examples
from zerobus_core import CsvFormat, IngestOptions
from zerobus_core.errors import ConfigurationError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import options_for, source_of
from zerobus_core.sources.files.source import files_source
from zerobus_core.sources.rows.cursor import CursorSource, sql_fingerprint

pytestmark = pytest.mark.matrix

FIVES = IngestOptions(batch_rows=5)
ROWS = [{"n": n, "s": f"row {n}"} for n in range(23)]
TABLE = pa.Table.from_pylist(ROWS)
AVRO = {"type": "record", "name": "r", "fields": [{"name": "n", "type": "long"}, {"name": "s", "type": "string"}]}


def stream_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return sink.getvalue()


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def write_avro(path: Path) -> None:
    with path.open("wb") as file:
        fastavro.writer(file, AVRO, ROWS, sync_interval=64)


CSV = b"n,s\r\n" + b"".join(b'%d,"row %d"\r\n' % (n, n) for n in range(23))
WRITERS: dict[str, Callable[[Path], Any]] = {
    "x.parquet": lambda path: pq.write_table(TABLE, path, row_group_size=7),
    "x.csv": lambda path: pa_csv.write_csv(TABLE, path),
    "x.tsv": lambda path: pa_csv.write_csv(TABLE, path, pa_csv.WriteOptions(delimiter="\t")),
    "x.csv.gz": lambda path: path.write_bytes(gzip.compress(CSV)),
    "x.jsonl": lambda path: path.write_bytes(json_lines(ROWS)),
    "x.json": lambda path: path.write_bytes(b"\xef\xbb\xbf" + json_lines(ROWS).replace(b"\n", b"\r\n\r\n")),
    "x.ndjson.gz": lambda path: path.write_bytes(gzip.compress(json_lines(ROWS))),
    "x.arrow": lambda path: path.write_bytes(stream_bytes(TABLE)),
    "x.feather": lambda path: feather.write_feather(TABLE, path, chunksize=6),
    "x.avro": write_avro,
}  # fmt: skip


def read(source: Any, skip: RowRanges | None = None) -> list[tuple[int, Any]]:
    return [
        (chunk.first_row + i, row)
        for chunk in source.chunks(skip or RowRanges())
        for i, row in enumerate(chunk.rows if isinstance(chunk.rows, list) else chunk.rows.to_pylist())
    ]


def as_numbers(rows: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """CSV gives text; what it becomes is the encoder's."""
    return [(position, {**row, "n": int(row["n"])}) for position, row in rows]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows_at_the_same_positions(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    rows = list(enumerate(ROWS))
    for place in (tmp_path / name, str(tmp_path / name), (tmp_path / name).as_uri(), str(tmp_path / "*")):
        assert as_numbers(read(source_of(place, FIVES))) == rows
    skip = RowRanges([(0, 3), (4, 12), (20, 23)])
    source = source_of(tmp_path / name, FIVES)
    assert as_numbers(read(source, skip)) == [row for row in rows if row[0] not in skip]
    assert source.total_rows in (23, None)
    assert len(list(source.chunks(RowRanges()))) <= 6, "small pieces are filled up to a batch"


@pytest.mark.parametrize("name", WRITERS)
def test_rows_count_through_all_files_of_a_directory_in_the_order_of_their_paths(name: str, tmp_path: Path) -> None:
    for part in ("b", "a/2", "a/1"):
        (tmp_path / part).mkdir(parents=True, exist_ok=True)
        WRITERS[name](tmp_path / part / name)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / name).write_bytes(b"never read")
    source = source_of(tmp_path, FIVES)
    assert as_numbers(read(source)) == list(enumerate(ROWS * 3))
    assert source.locate(25) == f"{tmp_path}/a/2/{name}, row 2"  # type: ignore[attr-defined]
    skip = RowRanges([(0, 30), (46, 69)])
    assert [row for row, _ in read(source, skip)] == list(range(30, 46))
    with pytest.raises(ConfigurationError, match="ended after 69 rows"):
        read(source, RowRanges([(0, 70)]))


@given(st.lists(st.tuples(st.integers(0, 46), st.integers(0, 46)).map(sorted).map(tuple), max_size=6))
@settings(max_examples=examples(40), deadline=None)
def test_what_is_read_and_what_is_skipped_are_all_rows(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "skipping"
    skip = RowRanges(spans)
    for name in ("x.parquet", "x.csv", "x.jsonl", "x.feather", "x.avro"):
        for part in ("1", "2"):
            path = folder / name / part / name
            if not path.exists():
                path.parent.mkdir(parents=True)
                WRITERS[name](path)
        rows = as_numbers(read(source_of(folder / name, FIVES), skip))
        assert rows == [row for row in enumerate(ROWS * 2) if row[0] not in skip]


def test_a_list_of_paths_is_read_in_its_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_bytes(json_lines([{"from": name}]))
    places = [tmp_path / "b.jsonl", str(tmp_path / "a.jsonl")]
    assert [row for _, row in read(source_of(places, FIVES))] == [{"from": "b.jsonl"}, {"from": "a.jsonl"}]
    assert source_of(places, FIVES).fingerprint != source_of(places[::-1], FIVES).fingerprint


def test_durable_row_groups_are_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(TABLE, path, row_group_size=7, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    data[at : at + 16] = b"\xff" * 16
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"cannot read .*x.parquet"):
        read(source_of(path, FIVES))
    assert [row for row, _ in read(source_of(path, FIVES), RowRanges([(0, 7)]))] == list(range(7, 23))


def test_files_of_other_columns_keep_their_own(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [2], "b": ["x"]}), tmp_path / "2.parquet")
    assert [row for _, row in read(source_of(tmp_path, FIVES))] == [{"a": 1}, {"a": 2, "b": "x"}]


def test_directories_named_like_partitions_are_columns(tmp_path: Path) -> None:
    for folder in ("day=1/zone=007", "day=2/zone=a%2Fb", "day=__HIVE_DEFAULT_PARTITION__/zone=1"):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.table({"n": [1]}), tmp_path / folder / "x.parquet")
    rows = [row for _, row in read(source_of(tmp_path, FIVES))]
    assert rows == [
        {"n": 1, "day": 1, "zone": "007"},
        {"n": 1, "day": 2, "zone": "a/b"},
        {"n": 1, "day": None, "zone": "1"},
    ]


def test_any_file_system_of_fsspec_is_read(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    root = f"memory://{tmp_path.name}"
    fs.pipe_file(f"{root}/1.jsonl", json_lines(ROWS[:3]))
    fs.pipe_file(f"{root}/2.jsonl", json_lines(ROWS[3:]))
    source = source_of(root, FIVES)
    assert read(source) == list(enumerate(ROWS))
    assert source.fingerprint == source_of(root, FIVES).fingerprint
    fs.pipe_file(f"{root}/2.jsonl", json_lines(ROWS[3:]))
    assert source.fingerprint != source_of(root, FIVES).fingerprint


def test_a_file_inside_an_archive_is_named_in_fsspecs_way(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("deep/a.jsonl", json_lines(ROWS[:3]))
        archive.writestr("deep/b.jsonl", json_lines(ROWS[3:]))
    source = source_of(f"zip://deep/*.jsonl::{tmp_path}/x.zip", FIVES)
    assert read(source) == list(enumerate(ROWS))
    assert source.fingerprint is not None
    assert read(source_of(f"zip://deep/b.jsonl::{tmp_path}/x.zip", FIVES)) == list(enumerate(ROWS[3:]))


def test_a_fingerprint_changes_with_one_byte_a_file_more_and_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "1.csv"
    path.write_text("a\n1\n")
    before = source_of(tmp_path, FIVES).fingerprint
    assert before == source_of(tmp_path, FIVES).fingerprint
    path.write_text("a\n2\n")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    changed = source_of(tmp_path, FIVES).fingerprint
    (tmp_path / "2.csv").write_text("a\n1\n")
    more = source_of(tmp_path, FIVES).fingerprint
    other = source_of(tmp_path, IngestOptions(format=CsvFormat(null_values=("-",)))).fingerprint
    assert len({before, changed, more, other}) == 4


def test_csv_cells_are_text_and_only_an_empty_cell_without_quotes_is_null(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a,b\n007,"two\nlines, and ""quotes"""\n,""\nNA,-\n', encoding="utf-8-sig")
    rows = [row for _, row in read(source_of(path, FIVES))]
    assert rows == [{"a": "007", "b": 'two\nlines, and "quotes"'}, {"a": None, "b": ""}, {"a": "NA", "b": "-"}]
    source = source_of(path, IngestOptions(format=CsvFormat(null_values=("-",))))
    assert read(source)[2] == (2, {"a": "NA", "b": None})


def test_csv_rows_may_be_as_long_as_records(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    sizes = [10, 500_000, 900_000, 20, 3_000_000, 30, 10_000_000, 40]
    path.write_text("n,s\n" + "".join(f"{n},{'x' * size}\n" for n, size in enumerate(sizes)))
    rows = read(source_of(path, FIVES))
    assert [(at, int(row["n"]), len(row["s"])) for at, row in rows] == [(n, n, size) for n, size in enumerate(sizes)]
    assert [at for at, _ in read(source_of(path, FIVES), RowRanges([(1, 5)]))] == [0, 5, 6, 7]
    path.write_text("n,s\n1,x\n2," + "x" * 40_000_000 + "\n")
    with pytest.raises(ConfigurationError, match="row 1 of .*x.csv is longer than"):
        read(source_of(path, FIVES))


def test_text_formats_ask_for_parsing_and_others_do_not(tmp_path: Path) -> None:
    for name in ("x.csv", "x.jsonl", "x.parquet"):
        WRITERS[name](tmp_path / name)
        source = source_of(tmp_path / name, FIVES)
        assert options_for(source, FIVES).parse_text is (name != "x.parquet")
    assert options_for(source_of(ROWS, FIVES), FIVES) is FIVES


def test_a_broken_line_takes_its_place_as_a_row_that_no_table_takes(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"n": 0}\n{"n": \n{"n": 2}\n')
    rows = read(source_of(path, FIVES))
    assert rows == [(0, {"n": 0}), (1, '{"n": '), (2, {"n": 2})]
    assert type(rows[1][1]).__name__ == "UnreadableLine"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b'a,b\n1,"2"3\n', "text '3' after a closing quote"),
        ("x.csv", b"a,a\n1,2\n", "the same column name twice: 'a'"),
        ("x.csv", b"a\xff\n1\n", "encoding"),
        ("x.csv.gz", b"a\n1\n", "cannot read"),
        ("x.json", b'[{"a": 1}', "JSON array in .* is never closed"),
        ("x.parquet", b"PAR1", "cannot read"),
        ("x.arrow", b"ARROW1\0\0", "cannot read"),
        ("x.avro", b"Obj", "cannot read"),
        ("x.dat", b"", "its extension does not show its format; known extensions are .parquet"),
        ("x.csv.zip", b"", "Unpack archives first"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(source_of(tmp_path / name, FIVES))
    assert name in str(caught.value)
    with pytest.raises(ConfigurationError, match=message):
        assert source_of(tmp_path / name, FIVES).total_rows or read(source_of(tmp_path / name, FIVES))


def test_a_file_of_no_bytes_holds_no_rows(tmp_path: Path) -> None:
    for name in ("1.csv", "1.jsonl"):
        (tmp_path / name).touch()
        assert read(source_of(tmp_path / name, FIVES)) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("hello", "not the path or URI of a file"),
        ("SELECT *\nFROM t", "not the path or URI of a file"),
        ("missing.csv", "there is no file"),
        ("missing/*.csv", "there is no file|has no files"),
        ("nowhere://x.csv", "cannot open nowhere"),
        (b"x.csv", "type builtins.bytes"),
    ],
)
def test_a_text_that_is_no_path_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        source_of(given, FIVES)


def test_a_delta_table_an_empty_directory_and_a_mixed_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no files to read"):
        source_of(tmp_path, FIVES)
    WRITERS["x.csv"](tmp_path / "x.csv")
    WRITERS["x.jsonl"](tmp_path / "x.jsonl")
    with pytest.raises(ConfigurationError, match=r"several formats \(\['csv', 'jsonl'\]\)"):
        source_of(tmp_path, FIVES)
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(ConfigurationError, match="to_pyarrow_dataset"):
        source_of(tmp_path, FIVES)


def test_a_format_can_be_given_where_the_name_does_not_tell(tmp_path: Path) -> None:
    (tmp_path / "export.dat").write_bytes(json_lines(ROWS))
    assert read(files_source(str(tmp_path / "export.dat"), FIVES, format="jsonl")) == list(enumerate(ROWS))


CursorOf = Callable[[str], sqlite3.Cursor]


@pytest.fixture
def cursor_of(open_sqlite: Callable[[], sqlite3.Connection]) -> CursorOf:
    """Executes a statement in a database of its own that has ROWS in a table t."""

    def execute(statement: str) -> sqlite3.Cursor:
        connection = open_sqlite()
        connection.execute("CREATE TABLE t (n INTEGER, s TEXT)")
        connection.executemany("INSERT INTO t VALUES (:n, :s)", ROWS)
        return connection.execute(statement)

    return execute


def test_a_cursor_gives_its_rows_by_column_name(cursor_of: CursorOf) -> None:
    source = source_of(cursor_of("SELECT n, s FROM t ORDER BY n"), FIVES)
    assert read(source, RowRanges([(1, 20)])) == [(n, ROWS[n]) for n in (0, 20, 21, 22)]
    with pytest.raises(ConfigurationError, match="execute the statement again"):
        read(source)


def test_a_cursor_that_cannot_be_read_by_name_is_refused(cursor_of: CursorOf) -> None:
    with pytest.raises(ConfigurationError, match="columns of the same name: n"):
        source_of(cursor_of("SELECT n, n FROM t"), FIVES)
    with pytest.raises(ConfigurationError, match="without a result"):
        source_of(cursor_of("DELETE FROM t"), FIVES)


class OtherCursor(sqlite3.Cursor):
    """As those of drivers that make the description each time they are asked for it."""

    @property
    def description(self) -> Any:
        return [column[:1] for column in super().description]


class CountingCursor(OtherCursor):
    """As those of drivers that say how many rows were fetched."""

    rownumber = 0

    def execute(self, *arguments: Any) -> Any:
        self.rownumber = 0
        return super().execute(*arguments)

    def fetchmany(self, *arguments: Any) -> Any:
        rows = super().fetchmany(*arguments)
        self.rownumber += len(rows)
        return rows


@pytest.mark.parametrize("kind", [sqlite3.Cursor, OtherCursor, CountingCursor])
def test_a_cursor_that_a_delivery_has_begun_to_read_is_refused(kind: type[sqlite3.Cursor], cursor_of: CursorOf) -> None:
    statement = "SELECT n, s FROM t ORDER BY n"
    cursor = kind(cursor_of(statement).connection)
    versioned = IngestOptions(batch_rows=5, source_version="1")
    cursor.execute(statement)
    next(source_of(cursor, versioned).chunks(RowRanges()))
    with pytest.raises(ConfigurationError, match="an earlier delivery has fetched.*execute the statement again"):
        read(source_of(cursor, versioned), RowRanges([(0, 5)]))
    if kind is OtherCursor:  # which does not say that it was executed
        cursor = kind(cursor.connection)
    cursor.execute(statement)
    assert read(source_of(cursor, versioned)) == list(enumerate(ROWS))


def test_a_cursor_that_nobody_holds_any_more_is_let_go(cursor_of: CursorOf) -> None:
    cursor = cursor_of("SELECT n FROM t")
    read(source_of(cursor, FIVES))
    watched = weakref.ref(cursor)
    del cursor
    gc.collect()
    assert watched() is None


def test_a_query_is_known_by_statement_parameters_and_order(cursor_of: CursorOf) -> None:
    plain = sql_fingerprint("SELECT * FROM t WHERE a = %s ORDER BY n", ["x"], order_by="n")
    assert plain == sql_fingerprint("\nSELECT * FROM t WHERE a = %s ORDER BY n\n", ["x"], order_by=["n"])
    others = [
        sql_fingerprint("SELECT * FROM t WHERE a = %s ORDER BY n", ["y"], order_by="n"),
        sql_fingerprint("SELECT * FROM t WHERE a = %s ORDER BY n", ["x"], order_by="m"),
        sql_fingerprint("SELECT * FROM u WHERE a = %s ORDER BY n", ["x"], order_by="n"),
        sql_fingerprint("SELECT * FROM t WHERE a = %s ORDER BY n", ["x"], order_by="n", database="other"),
    ]
    assert len({plain, *others}) == 5
    pairs = [("WHERE a = 'x  y'", "WHERE a = 'x y'"), ("-- all\nWHERE n > 5", "-- all WHERE n > 5")]
    for one, other in pairs:
        assert sql_fingerprint(one, order_by="n") != sql_fingerprint(other, order_by="n")
    assert sql_fingerprint("SELECT * FROM t", order_by=None) is None
    source = CursorSource(cursor_of("SELECT n FROM t ORDER BY n"), FIVES, fingerprint=plain)
    assert source.fingerprint == plain


def test_a_cursor_that_tells_no_execution_from_another_is_read_again_after_one() -> None:
    # The description of duckdb's is made again each time that it is asked for.
    connection = duckdb.connect()
    for _ in range(3):
        assert read(source_of(connection.execute("SELECT 1 AS n UNION ALL SELECT 2 ORDER BY n"), FIVES)) == [
            (0, {"n": 1}),
            (1, {"n": 2}),
        ]
    with pytest.raises(ConfigurationError, match="execute the statement again"):
        read(source_of(connection, FIVES))
    connection.execute("SELECT * FROM range(5000)")
    next(source_of(connection, FIVES).chunks(RowRanges()))
    with pytest.raises(ConfigurationError, match="execute the statement again"):
        read(source_of(connection, FIVES))
