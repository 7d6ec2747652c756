from __future__ import annotations

import json
import secrets
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zerobus_core import IngestOptions, TableSchema
from zerobus_core.bad_rows import LETTER_KEY, DeadLetterFile
from zerobus_core.batch import BadRow, Batch, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.errors import BadField, ConfigurationError, RecordError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import options_for, source_of

COLUMNS = {
    "i": "INT", "l": "BIGINT", "d": "DOUBLE", "b": "BOOLEAN", "s": "STRING", "bin": "BINARY", "day": "DATE",
    "ts": "TIMESTAMP", "ntz": "TIMESTAMP_NTZ", "dec": "DECIMAL(20,6)", "var": "VARIANT",
    "arr": "ARRAY<STRUCT<t: TIMESTAMP, b: BINARY>>", "m": "MAP<INT, DATE>",
}  # fmt: skip
SCHEMA = TableSchema.from_table_info(
    {
        "full_name": "main.default.t",
        "columns": [{"name": n, "type_text": t, "position": i} for i, (n, t) in enumerate(COLUMNS.items())],
    }
)
ROW = {
    "i": 1, "l": 2**60, "d": float("inf"), "b": True, "s": "{\"$x\": 'é'}", "bin": b"\x00\xff", "day": date(2026, 1, 2),
    "ts": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "ntz": datetime(2026, 1, 2, 3, 4, 5, 6),
    "dec": Decimal("1.500000"), "var": {"a": [1, None, "x"]},
    "arr": [{"t": datetime(1, 1, 1, tzinfo=UTC), "b": b"\x01"}, {"t": None, "b": None}], "m": {7: date(9999, 12, 31)},
}  # fmt: skip
LINES = "x.csv, row {}".format
FORMS = ["letters.jsonl", "letters.parquet"]
FIELD = BadField(row=5, path="i", value_type="str", value_repr="'x'", expected="INT", reason="not a whole number")


def bad(row: int, record: Any = None) -> BadRow:
    return BadRow(row, {"i": "x"} if record is None else record, (FIELD,))


def letters_of(path: Path | str) -> list[dict[str, Any]]:
    with fsspec.open(str(path), "rb") as file:
        data = file.read()
    if str(path).endswith(".jsonl"):
        return [json.loads(line) for line in data.splitlines()]
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    return [{**row, "record": json.loads(row["record"]), "fields": json.loads(row["fields"])} for row in rows]


def payloads(source: Any, options: IngestOptions) -> list[Any]:
    encoder = encoder_for(SCHEMA, options_for(source, options), is_arrow=source.is_arrow)
    batches: list[Batch] = [batch for chunk in source.chunks(RowRanges()) for batch in encoder.encode(chunk)]
    return [record for batch in batches for record in batch.payload]


def test_a_letter_that_an_editor_left_without_the_end_of_its_line_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    for row in (1, 2, 3):
        file = DeadLetterFile(str(path), schema=SCHEMA, source_fingerprint="f1")
        file.add(bad(row))
        file.flush()
        path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [letter["row"] for letter in letters_of(path)] == [1, 2, 3]


@pytest.mark.parametrize("name", FORMS)
def test_a_letter_says_what_where_when_and_why(name: str, tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    file = DeadLetterFile(
        str(tmp_path / name), schema=SCHEMA, source_fingerprint="f1", locate=LINES, now=lambda: moment
    )
    file.add(bad(5))
    file.flush()
    assert letters_of(tmp_path / name) == [
        {
            LETTER_KEY: 2,
            "table": "main.default.t",
            "row": 5,
            "source_position": "x.csv, row 5",
            "source_fingerprint": "f1",
            "error": "i: not a whole number",
            "fields": [
                {
                    "path": "i",
                    "value_type": "str",
                    "value_repr": "'x'",
                    "expected": "INT",
                    "reason": "not a whole number",
                }
            ],
            "time": "2026-01-01T00:00:00+00:00",
            "record": {"i": {"$text": "x"}},
        }
    ]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("as_uri", ["{}", "file://{}", "memory:/{}"])
def test_a_retry_neither_loses_letters_nor_writes_them_twice(name: str, as_uri: str, tmp_path: Path) -> None:
    uri = as_uri.format(tmp_path / "deep" / name)
    first = DeadLetterFile(uri, schema=SCHEMA, source_fingerprint="f1")
    for row in (5, 9):
        first.add(bad(row))
    first.flush()
    again = DeadLetterFile(uri, schema=SCHEMA, source_fingerprint="f1")
    for row in (5, 12):
        again.add(bad(row))
    again.flush()
    again.flush()
    assert [letter["row"] for letter in letters_of(uri)] == [5, 9, 12]
    assert again.rows == 2
    changed = DeadLetterFile(uri, schema=SCHEMA, source_fingerprint="f2")
    changed.add(bad(5))
    changed.flush()
    assert [letter["row"] for letter in letters_of(uri)] == [5, 9, 12, 5]


def test_without_a_fingerprint_another_record_at_the_same_row_is_another_letter(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    for record in ({"i": "monday"}, {"i": "monday"}, {"i": "tuesday"}):
        file = DeadLetterFile(str(path), schema=SCHEMA)
        file.add(bad(5, record))
        file.flush()
    assert [letter["record"]["i"]["$text"] for letter in letters_of(path)] == ["monday", "tuesday"]


def test_half_a_letter_that_a_crash_left_is_written_whole_by_the_retry(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    file = DeadLetterFile(str(path), schema=SCHEMA, source_fingerprint="f1")
    for row in (1, 2):
        file.add(bad(row))
    file.flush()
    for cut in (1, 40, 200):
        whole = path.read_bytes()
        path.write_bytes(whole[:-cut])
        again = DeadLetterFile(str(path), schema=SCHEMA, source_fingerprint="f1")
        for row in (1, 2):
            again.add(bad(row))
        again.flush()
        assert [letter["row"] for letter in letters_of(path)] == [1, 2]


def test_no_letters_make_no_file(tmp_path: Path) -> None:
    file = DeadLetterFile(str(tmp_path / "letters.jsonl"), schema=SCHEMA)
    file.flush()
    assert list(tmp_path.iterdir()) == []


def test_many_letters_are_written_as_they_come(tmp_path: Path) -> None:
    file = DeadLetterFile(str(tmp_path / "letters.jsonl"), schema=SCHEMA)
    for row in range(2_500):
        file.add(bad(row))
    assert len(letters_of(tmp_path / "letters.jsonl")) == 2_000
    file.flush()
    assert [letter["row"] for letter in letters_of(tmp_path / "letters.jsonl")] == list(range(2_500))


def test_large_letters_are_written_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    file = DeadLetterFile(str(path), schema=SCHEMA)
    for row in range(6):
        file.add(bad(row, {"s": "x" * 2**20}))
    assert len(letters_of(path)) >= 4
    file.flush()
    assert [letter["row"] for letter in letters_of(path)] == list(range(6))


@pytest.mark.parametrize("uri", ["{}/letters.parquet", "memory://letters{}/letters.jsonl"])
def test_more_letters_than_a_file_may_take_that_is_written_as_a_whole_are_refused(uri: str, tmp_path: Path) -> None:
    uri = uri.format(tmp_path)
    rows = 0
    with pytest.raises(RecordError, match=r"would exceed 67108864 bytes.*local \.jsonl file.*max_bad_records"):  # noqa: PT012
        for _ in range(2):  # a later delivery counts what the file holds
            file = DeadLetterFile(uri, schema=SCHEMA, source_fingerprint="f1")
            for row in range(rows, rows + 40):
                file.add(bad(row, {"s": secrets.token_hex(2**19)}))
                rows += 1
            file.flush()
    assert 60 <= rows < 80
    file.flush()  # those before it are kept
    assert [letter["row"] for letter in letters_of(uri)] == list(range(rows))


def test_a_damaged_parquet_file_of_letters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letters.parquet"
    file = DeadLetterFile(str(path), schema=SCHEMA)
    file.add(bad(1))
    file.flush()
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for damaged in (whole[:footer] + b"\xff" * 40 + whole[footer + 40 :], whole[: len(whole) // 2], whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(ConfigurationError, match="is not a dead-letter file"):
            DeadLetterFile(str(path), schema=SCHEMA)
        assert path.read_bytes() == damaged


def test_a_file_that_became_something_else_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "letters.parquet"
    file = DeadLetterFile(str(path), schema=SCHEMA)
    file.add(bad(1))
    path.write_bytes(b"my data")
    with pytest.raises(ConfigurationError, match="is not a dead-letter file"):
        file.flush()
    assert path.read_bytes() == b"my data"


@pytest.mark.parametrize("name", FORMS)
def test_a_file_of_something_else_is_never_written_to(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"my": "data"}\n')
    with pytest.raises(ConfigurationError, match="is not a dead-letter file"):
        DeadLetterFile(str(path), schema=SCHEMA)
    assert path.read_bytes() == b'{"my": "data"}\n'


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("letters.txt", "must end in .jsonl, .ndjson or .parquet"),
        ("nowhere://x.jsonl", "no dead-letter file can be kept"),
        ("/dev/null/x.jsonl", "cannot write the dead-letter file"),
    ],
)
def test_a_place_that_takes_no_letters_is_found_out_at_once(uri: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DeadLetterFile(uri, schema=SCHEMA)


@pytest.mark.parametrize("name", FORMS)
def test_a_letter_is_sent_again_as_the_row_it_was(name: str, tmp_path: Path) -> None:
    """Of every type, as the user gave it, and as it is read back from a batch that the service refused."""
    options = IngestOptions(record_format="protobuf")
    (expected,) = payloads(source_of([ROW], options), options)
    for record_format in ("protobuf", "json", "arrow"):
        row = ROW if record_format != "json" else {**ROW, "d": 0.5}
        wanted = expected if record_format != "json" else payloads(source_of([row], options), options)[0]
        encoder = encoder_for(SCHEMA, IngestOptions(record_format=record_format), is_arrow=False)  # type: ignore[arg-type]
        (batch,) = encoder.encode(Chunk(0, [row]))
        path = tmp_path / record_format / name
        file = DeadLetterFile(str(path), schema=SCHEMA)
        file.add(bad(0, row))
        file.add_refused(1, encoder.decode(batch, 0), "CHECK constraint failed")
        file.flush()
        assert payloads(source_of(path, options), options) == [wanted, wanted]


@pytest.mark.parametrize("name", FORMS)
def test_times_of_numpy_are_sent_again_as_the_times_they_were(name: str, tmp_path: Path) -> None:
    row = {
        "day": np.datetime64("1972-01-01", "ns"), "ts": np.datetime64("1972-01-01T00:00:01", "ns"),
        "ntz": np.datetime64("1972-01-01T00:00:00.5", "ns"), "var": [np.datetime64("1972-01-01", "ns")],
        "arr": [{"t": np.datetime64("NaT", "ns"), "b": None}], "m": {7: np.datetime64("1972-01-01", "ns")},
    }  # fmt: skip
    options = IngestOptions(record_format="protobuf")
    file = DeadLetterFile(str(tmp_path / name), schema=SCHEMA)
    file.add(bad(0, row))
    file.flush()
    expected = payloads(source_of([row], options), options)
    assert payloads(source_of(tmp_path / name, options), options) == expected


@pytest.mark.parametrize("column", ["s", "var", "i", "ts"])
def test_a_description_of_a_value_fits_no_column(column: str, tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    file = DeadLetterFile(str(path), schema=SCHEMA)
    file.add(bad(0, {column: {1: "a", "1": "b"}}))
    file.flush()
    options = IngestOptions(record_format="protobuf", parse_text=True, parse_json=True, write_json=True)
    with pytest.raises(RecordError, match=f"field {column}.*the dead letter only describes the value"):
        payloads(source_of(path, options), options)


def test_what_has_no_form_in_json_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    file = DeadLetterFile(str(path), schema=SCHEMA)
    records = [
        {"i": 10**30, "s": "\ud800", "d": float("nan"), "x": object, "u": UUID(int=1)},
        ["no", "mapping"],
        {1: {2}},
    ]
    for row, record in enumerate(records):
        file.add(bad(row, record))
    file.flush()
    first, second, third = (letter["record"] for letter in letters_of(path))
    assert first["i"] == 10**30
    assert first["s"] == "\ud800"
    assert first["d"] == {"$float": "nan"}
    assert first["u"] == str(UUID(int=1))
    assert (second, third) == (["no", "mapping"], {"1": {"$unfit": "{2}"}})
    read = [row for chunk in source_of(path, IngestOptions()).chunks(RowRanges()) for row in chunk.rows]
    assert read[0]["i"] == 10**30
    assert read[1] == ["no", "mapping"]


def test_columns_that_the_delivery_filled_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    file = DeadLetterFile(str(path), schema=SCHEMA, leave_out=["s", "l"])
    file.add_refused(0, {"i": 1, "l": "7", "s": "id"}, "no")
    file.flush()
    assert letters_of(path)[0]["record"] == {"i": 1}


def test_the_file_that_is_read_cannot_take_the_letters(tmp_path: Path) -> None:
    path = tmp_path / "letters.jsonl"
    file = DeadLetterFile(str(path), schema=SCHEMA)
    file.add(bad(0))
    file.flush()
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(path))
    with pytest.raises(ConfigurationError, match="one of the files"):
        source_of(path, options)
