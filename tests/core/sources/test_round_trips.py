"""The same rows, given in every way that there is, land equal in the Delta table."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from collections.abc import Callable
from dataclasses import make_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from zerobus_core import IngestOptions, ingest
from zerobus_core.checkpoint import MemoryCheckpointStore
from zerobus_core.errors import RecordError, SchemaError, SourceChangedError
from zerobus_local import LocalZerobus

COLUMNS = """(
  id BIGINT NOT NULL, tiny TINYINT, small SMALLINT, whole INT, single FLOAT, number DOUBLE, flag BOOLEAN, name STRING,
  day DATE, moment TIMESTAMP, wall TIMESTAMP_NTZ, price DECIMAL(12,2)
)"""


def row(n: int) -> dict[str, Any]:
    if n % 7 == 3:
        return {"id": n} | dict.fromkeys(NAMES[1:])
    return {
        "id": n,
        "tiny": n % 256 - 128,
        "small": -n,
        "whole": n * 1_000,
        "single": n / 4,
        "number": n / 3,
        "flag": n % 2 == 0,
        "name": f'row "{n}", é\n' if n % 5 else "",
        "day": date(1969, 12, 30).replace(year=1900 + n % 200),
        "moment": datetime(2026, 1, 2, 3, 4, 5, n, tzinfo=UTC),
        "wall": datetime(1999, 12, 31, 23, 59, 59, 999_000 + n),
        "price": Decimal(n * 101) / 100,
    }


NAMES = ["id", "tiny", "small", "whole", "single", "number", "flag", "name", "day", "moment", "wall", "price"]
ROWS = [row(n) for n in range(100)]
TABLE = pa.Table.from_pylist(ROWS)
AVRO = {
    "type": "record",
    "name": "r",
    "fields": [
        {"name": name, "type": ["null", kind]}
        for name, kind in zip(
            NAMES,
            [
                "long", "int", "int", "int", "float", "double", "boolean", "string",
                {"type": "int", "logicalType": "date"}, {"type": "long", "logicalType": "timestamp-micros"},
                {"type": "long", "logicalType": "local-timestamp-micros"},
                {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
            ],
            strict=True,
        )
    ],
}  # fmt: skip


def written(path: Path, write: Callable[[Path], Any]) -> Path:
    write(path)
    return path


class Quoted(str):
    def __str__(self) -> str:
        return '"' + self.replace('"', '""') + '"'


def write_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        # Quotes distinguish an empty text from no text.
        quoted = ({**r, "name": r["name"] if r["name"] is None else Quoted(r["name"])} for r in ROWS)
        file.write(",".join(NAMES) + "\n")
        for values in quoted:
            file.write(",".join("" if v is None else str(v) for v in values.values()) + "\n")


def write_avro(path: Path) -> None:
    with path.open("wb") as file:
        fastavro.writer(file, AVRO, ROWS, sync_interval=500)


def write_json_lines(path: Path) -> None:
    path.write_bytes(b"".join(orjson.dumps(r, default=str) + b"\n" for r in ROWS))


def cursor(connection: sqlite3.Connection) -> Any:
    marks = ", ".join("?" * len(NAMES))
    connection.execute(f"CREATE TABLE t ({', '.join(NAMES)})")
    as_text = [[v if v is None or isinstance(v, int | float | str) else str(v) for v in r.values()] for r in ROWS]
    connection.executemany(f"INSERT INTO t VALUES ({marks})", as_text)
    return connection.execute(f"SELECT {', '.join(NAMES[:6] + NAMES[7:])} FROM t ORDER BY id")


Record = make_dataclass("Record", NAMES)
WAYS: dict[str, Callable[[Path], Any]] = {
    "list of dicts": lambda _: ROWS,
    "generator of dataclasses": lambda _: (Record(**r) for r in ROWS),
    "pyarrow Table": lambda _: TABLE,
    "pyarrow RecordBatch": lambda _: TABLE.combine_chunks().to_batches()[0],
    "pyarrow RecordBatchReader": lambda _: TABLE.to_reader(max_chunksize=9),
    "pyarrow Dataset": lambda tmp: ds.dataset(written(tmp / "x.parquet", lambda p: pq.write_table(TABLE, p))),
    "pandas": lambda _: pd.DataFrame(ROWS),
    "pandas by Arrow": lambda _: TABLE.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": lambda _: pl.from_arrow(TABLE),
    "Parquet": lambda tmp: written(tmp / "x.parquet", lambda p: pq.write_table(TABLE, p, row_group_size=11)),
    "Arrow IPC": lambda tmp: written(tmp / "x.feather", lambda p: feather.write_feather(TABLE, p, chunksize=13)),
    "CSV": lambda tmp: written(tmp / "x.csv", write_csv),
    "JSON Lines": lambda tmp: written(tmp / "x.jsonl", write_json_lines),
    "Avro": lambda tmp: written(tmp / "x.avro", write_avro),
}  # fmt: skip


def landed(server: LocalZerobus, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = server.read(table).sort_by("id").to_pylist()
    return rows


@pytest.fixture(scope="module")
def expected(zerobus: LocalZerobus) -> list[dict[str, Any]]:
    """The rows as the table has them when they came as dicts in protobuf; checked against the values themselves."""
    zerobus.create_table(f"CREATE TABLE main.default.round_trip_expected {COLUMNS}")
    ingest(zerobus.workspace, "main.default.round_trip_expected", ROWS)
    rows = landed(zerobus, "main.default.round_trip_expected")
    assert rows == ROWS
    return rows


BOTH_KINDS = ["generator of dataclasses", "pandas", "CSV", "JSON Lines"]
WAYS_AND_FORMATS = [(way, "auto") for way in WAYS] + [(w, f) for w in BOTH_KINDS for f in ("protobuf", "json", "arrow")]


@pytest.mark.parametrize(("way", "record_format"), WAYS_AND_FORMATS)
def test_every_way_in_lands_the_same_rows(
    way: str, record_format: Any, zerobus: LocalZerobus, expected: list[Any], table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} {COLUMNS}")
    options = IngestOptions(record_format=record_format, batch_rows=17)
    receipt = ingest(zerobus.workspace, table_name, WAYS[way](tmp_path), options=options)
    assert landed(zerobus, table_name) == expected
    assert (receipt.rows_read, receipt.rows_acked) == (100, 100)
    if record_format != "auto":
        assert receipt.record_format == record_format


def test_a_cursor_lands_its_rows(
    zerobus: LocalZerobus, expected: list[Any], table_name: str, open_sqlite: Callable[[], sqlite3.Connection]
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} {COLUMNS}")
    ingest(zerobus.workspace, table_name, cursor(open_sqlite()), options=IngestOptions(parse_text=True))
    assert landed(zerobus, table_name) == [{**r, "flag": None} for r in expected]


EVERY_TYPE = """(
  id BIGINT, tiny TINYINT, bin BINARY, text VARCHAR(20), var VARIANT, tags ARRAY<STRING>,
  items ARRAY<STRUCT<at: TIMESTAMP, price: DECIMAL(6,3)>>, by_day MAP<STRING, DATE>,
  nested STRUCT<a: STRUCT<b: ARRAY<INT>, c: BOOLEAN>, d: TIMESTAMP_NTZ>
)"""
NESTED = [
    {
        "id": 1,
        "tiny": -5,
        "bin": b"\x00\xff",
        "text": "ä",
        "var": '{"a":[1,null,"x"],"b":1.5}',
        "tags": ["x", ""],
        "items": [{"at": datetime(2026, 1, 1, tzinfo=UTC), "price": Decimal("1.500")}, {"at": None, "price": None}],
        "by_day": [("a", date(2026, 1, 1)), ("b", date(1, 1, 1))],
        "nested": {"a": {"b": [1, 2], "c": True}, "d": datetime(2026, 1, 1)},
    },
    {"id": 2, "tags": [], "items": [], "by_day": [], "nested": {"a": {"b": [], "c": None}, "d": None}},
    {"id": 3},
]
ITEM = pa.struct([("at", pa.timestamp("ms", "Europe/Berlin")), ("price", pa.decimal128(10, 5))])
INNER = pa.struct([("b", pa.list_(pa.int64())), ("c", pa.bool_())])
NESTED_SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("tiny", pa.int64()), ("bin", pa.binary()), ("text", pa.string()), ("var", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("items", pa.large_list(ITEM)),
        ("by_day", pa.map_(pa.string(), pa.date32())),
        ("nested", pa.struct([("a", INNER), ("d", pa.timestamp("ns"))])),
    ]
)  # fmt: skip


@pytest.mark.parametrize("record_format", ["protobuf", "json", "arrow"])
def test_rows_and_arrow_data_of_every_type_land_equal(
    record_format: Any, zerobus: LocalZerobus, table_name: str
) -> None:
    options = IngestOptions(record_format=record_format)
    tables = []
    for name, records in (
        (f"{table_name}_rows", [{k: dict(v) if k == "by_day" else v for k, v in r.items()} for r in NESTED]),
        (f"{table_name}_arrow", pa.Table.from_pylist(NESTED, schema=NESTED_SCHEMA)),
    ):
        zerobus.create_table(f"CREATE TABLE {name} {EVERY_TYPE}")
        ingest(zerobus.workspace, name, records, options=options)
        tables.append(landed(zerobus, name))
    assert tables[0] == tables[1]
    assert tables[0][0]["bin"] in (b"\x00\xff", b64encode(b"\x00\xff"))
    assert tables[0][0]["items"][0]["price"] == Decimal("1.500")


def test_a_bad_column_ends_the_delivery_before_anything_is_sent(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, day DATE)")
    with pytest.raises(SchemaError, match=f"{table_name}: .*no column dya .did you mean day"):
        ingest(zerobus.workspace, table_name, pa.table({"id": [1], "dya": [None]}))
    days = [datetime(2026, 1, 1), datetime(2026, 1, 1, 1)]
    with pytest.raises(RecordError, match="row 1, field day: has a time"):
        ingest(zerobus.workspace, table_name, pa.table({"id": [1, 2], "day": days}))
    assert landed(zerobus, table_name) == []


def test_the_next_try_of_a_file_sends_what_is_missing_and_a_changed_file_everything(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL)")
    for part in range(3):
        pq.write_table(pa.table({"id": range(part * 100, part * 100 + 100)}), tmp_path / f"{part}.parquet")
    pq.write_table(pa.table({"id": pa.array([200, None])}), tmp_path / "2.parquet")
    store, options = MemoryCheckpointStore(), IngestOptions(batch_rows=30)
    with pytest.raises(RecordError, match="row 201, field id"):
        ingest(zerobus.workspace, table_name, tmp_path, options=options, checkpoint=store)
    kept = store.load()
    assert kept is not None
    sent = landed(zerobus, table_name)
    assert kept.durable.rows == len(sent) >= 150
    # The same source again fails at the same row, and sends nothing twice.
    with pytest.raises(RecordError, match="row 201, field id"):
        ingest(zerobus.workspace, table_name, tmp_path, options=options, checkpoint=store)
    assert landed(zerobus, table_name) == sent
    pq.write_table(pa.table({"id": [200, 201]}), tmp_path / "2.parquet")
    receipt = ingest(zerobus.workspace, table_name, tmp_path, options=options, checkpoint=store)
    assert (receipt.rows_read, receipt.rows_skipped) == (202, 0)


def test_a_generator_that_is_shorter_than_its_checkpoint_is_sent_again_by_the_next_attempt(
    zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL)")
    store, options = MemoryCheckpointStore(), IngestOptions(source_version="v1", batch_rows=10)
    ingest(zerobus.workspace, table_name, ({"id": n} for n in range(50)), options=options, checkpoint=store)
    with pytest.raises(SourceChangedError, match="rows 0 to 49 are durable"):
        ingest(zerobus.workspace, table_name, ({"id": n} for n in range(20)), options=options, checkpoint=store)
    receipt = ingest(zerobus.workspace, table_name, ({"id": n} for n in range(20)), options=options, checkpoint=store)
    assert (receipt.rows_acked, receipt.rows_skipped, receipt.rows_resent) == (20, 0, 20)


def test_bad_rows_of_files_become_letters_that_land_when_they_are_mended(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, day DATE)")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.jsonl").write_text('{"id": 0, "day": "2026-01-01"}\n{"id": 1, "day": "01.01.2026"}\n')
    (tmp_path / "in" / "2.jsonl").write_text('{"id": 2}\n{"id": 3, \n{"id": 4, "day": null}\n')
    letters = tmp_path / "letters.jsonl"
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(letters))
    receipt = ingest(zerobus.workspace, table_name, tmp_path / "in", options=options)
    assert (receipt.rows_read, receipt.rows_acked, receipt.rows_dead_lettered) == (5, 3, 2)
    first, second = map(orjson.loads, letters.read_bytes().splitlines())
    assert (first["row"], first["source_position"]) == (1, f"{tmp_path}/in/1.jsonl, row 1")
    assert first["error"].startswith("day: the text is not ISO 8601: for a CSV file, describe its form")
    assert (second["row"], second["source_position"]) == (3, f"{tmp_path}/in/2.jsonl, row 1")
    assert second["record"] == '{"id": 3, '
    first["record"]["day"], second["record"] = "2026-01-01", {"id": 3}
    letters.write_bytes(orjson.dumps(first) + b"\n" + orjson.dumps(second) + b"\n")
    ingest(zerobus.workspace, table_name, letters)
    day = date(2026, 1, 1)
    assert [(r["id"], r["day"]) for r in landed(zerobus, table_name)] == [
        (0, day), (1, day), (2, None), (3, None), (4, None),
    ]  # fmt: skip


def test_rows_of_arrow_data_that_do_not_fit_become_letters(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, tiny TINYINT)")
    letters = tmp_path / "letters.parquet"
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(letters), batch_rows=1_000)
    frame = pd.DataFrame({"id": range(10_000), "tiny": [n % 100 if n % 1_000 else 1_000 for n in range(10_000)]})
    receipt = ingest(zerobus.workspace, table_name, frame, options=options)
    assert (receipt.rows_acked, receipt.rows_dead_lettered) == (9_990, 10)
    kept = pq.read_table(letters).to_pylist()
    assert [letter["row"] for letter in kept] == list(range(0, 10_000, 1_000))
    assert orjson.loads(kept[1]["record"]) == {"id": 1_000, "tiny": 1_000}
    assert {letter["error"] for letter in kept} == {"tiny: out of range, which is -128 to 127"}
    assert len(landed(zerobus, table_name)) == 9_990
