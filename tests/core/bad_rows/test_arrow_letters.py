"""Dead letters of Arrow data: a value that has no equal Python value must not become text that a column accepts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import zerobus_core
from zerobus_core import IngestOptions, TableSchema
from zerobus_core.batch import BadRow, Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.records import UnfitValue
from zerobus_local import LocalZerobus

if not hasattr(pa, "json_"):
    pytest.skip("this pyarrow has no JSON type", allow_module_level=True)


def not_utf8(kind: pa.DataType | None = None) -> pa.Array:
    return (
        pa.array([b"caf\xe9"])
        .cast(pa.large_binary() if kind == pa.large_string() else pa.binary())
        .view(kind or pa.string())
    )


def json_array(*texts: str) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts))


def map_of(keys: pa.Array, items: pa.Array) -> pa.Array:
    return pa.MapArray.from_arrays([0, len(keys)], keys, items)


FAR = pa.array([10**17], pa.timestamp("s"))
FINE = pa.array([1_001], pa.time64("ns"))
NOWHERE = pa.array([1_001], pa.timestamp("us", "No/Where"))
TWICE = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
DEEP = "[" * 995 + "]" * 995

# The type of the column, the Arrow data, and what the letter says about the value.
NOT_READ = {
    **{
        f"{name} in {kind}": (kind, array, raw)
        for kind in ("STRING", "VARIANT", "TIMESTAMP", "BIGINT")
        for name, array, raw in (
            ("far time", FAR, "timestamp[s] 100000000000000000"),
            ("far time in a zone", pa.array([-(10**12)], pa.timestamp("s", "Europe/Berlin")), "-1000000000000"),
            ("far date", pa.array([4_000_000], pa.date32()), "date32[day] 4000000"),
            ("far date64", pa.array([10**17], pa.date64()), "date64[ms] 100000000000000000"),
            ("long duration", pa.array([10**17], pa.duration("s")), "duration[s] 100000000000000000"),
            ("text", not_utf8(), r"b'caf\xe9'"),
            ("large text", not_utf8(pa.large_string()), r"b'caf\xe9'"),
            ("dictionary", pa.DictionaryArray.from_arrays([0], not_utf8()), r"b'caf\xe9'"),
        )
    },
    "time of day": ("STRING", FINE, "00:00:00.000001001"),
    "time of day of a dictionary": ("STRING", FINE.dictionary_encode(), "00:00:00.000001001"),
    "unknown zone in STRING": ("STRING", NOWHERE, "1970-01-01 00:00:00.001001+00:00"),
    "unknown zone in VARIANT": ("VARIANT", NOWHERE, "1970-01-01 00:00:00.001001+00:00"),
    "times of day": ("ARRAY<STRING>", pa.ListArray.from_arrays([0, 1], FINE), "00:00:00.000001001"),
    "texts": ("ARRAY<STRING>", pa.ListArray.from_arrays([0, 1], not_utf8()), r"b'caf\xe9'"),
    "text of a struct": ("STRUCT<a: STRING>", pa.StructArray.from_arrays([not_utf8()], ["a"]), r"b'caf\xe9'"),
    "text of a map": ("MAP<STRING, STRING>", map_of(pa.array(["k"]), not_utf8()), r"b'caf\xe9'"),
    "far times in VARIANT": ("VARIANT", pa.ListArray.from_arrays([0, 1], FAR), "timestamp[s] 100000000000000000"),
    "struct in VARIANT": ("VARIANT", pa.StructArray.from_arrays([not_utf8()], ["a"]), r"b'caf\xe9'"),
    "map in VARIANT": ("VARIANT", map_of(pa.array(["k"]), not_utf8()), r"b'caf\xe9'"),
    "key in VARIANT": ("VARIANT", map_of(not_utf8(), pa.array([1])), r"b'caf\xe9'"),
    "key twice in VARIANT": ("VARIANT", map_of(pa.array(["k", "k"]), pa.array([1, 2])), "('k', 1), ('k', 2)"),
    "field twice in VARIANT": ("VARIANT", TWICE, "('a', 1), ('a', 2)"),
    "field twice in STRUCT": ("STRUCT<a: INT>", TWICE, "('a', 1), ('a', 2)"),
    "no JSON": ("VARIANT", json_array("{bad"), "{bad"),
    "JSON with a key twice": ("VARIANT", json_array('{"a":1,"a":2}'), '{"a":1,"a":2}'),
    "deep JSON": ("VARIANT", json_array(DEEP), DEEP),
    "JSON that is not UTF-8": ("VARIANT", pa.ExtensionArray.from_storage(pa.json_(), not_utf8()), r"b'caf\xe9'"),
}


def replayed(
    zerobus: LocalZerobus, table: str, columns: str, source: Any, folder: Path
) -> tuple[list[Any], dict[str, Any], int]:
    """Deliver rows that are all bad, and replay them uncorrected.

    Return the table's rows, the only dead letter, and the number of rows that the replay refused.
    """
    zerobus.create_table(f"CREATE TABLE {table} ({columns})")
    first, second = str(folder / "letters.jsonl"), str(folder / "again.jsonl")
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=first)
    assert zerobus_core.ingest(zerobus.workspace, table, source, options=options).rows_dead_lettered == 1
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=second)
    refused = zerobus_core.replay(zerobus.workspace, first, options=options).rows_dead_lettered
    (letter,) = map(json.loads, Path(first).read_text().splitlines())
    return zerobus.read(table).to_pylist(), letter, refused


@pytest.mark.parametrize(("kind", "array", "raw"), NOT_READ.values(), ids=NOT_READ)
def test_a_value_that_cannot_be_read_is_named_in_its_letter_and_refused_again(
    kind: str, array: pa.Array, raw: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    rows, letter, refused = replayed(zerobus, table_name, f"n INT NOT NULL, v {kind}", bad_table(array), tmp_path)
    assert (rows, refused) == ([], 1)
    described = list(unfit_in(letter["record"]["v"]))
    assert [text for text in described if raw in text.replace("\\\\", "\\")], letter


def bad_table(array: pa.Array) -> pa.Table:
    return pa.table({"n": [1], "v": array})


def unfit_in(value: Any) -> Any:
    """Yield the text of each ``$unfit`` in a value of a letter."""
    if isinstance(value, dict) and "$unfit" in value:
        yield value["$unfit"]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from unfit_in(item)


def test_a_binary_variant_that_cannot_be_read_is_refused_again(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    cell = pa.array([{"metadata": b"", "value": b"\x0c"}], pa.struct({"metadata": pa.binary(), "value": pa.binary()}))
    marked = pa.field("v", cell.type, metadata={"ARROW:extension:name": "arrow.parquet.variant"})
    source = pa.table([cell], pa.schema([marked]))
    rows, letter, refused = replayed(zerobus, table_name, "v VARIANT", source, tmp_path)
    assert (rows, refused) == ([], 1)
    assert "is not a valid VARIANT" in letter["record"]["v"]["$unfit"]


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_text_of_a_file_that_is_not_utf8_is_refused_again(
    name: str, zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    if name == "x.csv":
        (tmp_path / name).write_bytes("n,v\n1,caf\u00e9\n".encode("latin-1"))
    else:
        pq.write_table(bad_table(not_utf8()), tmp_path / name)
    rows, letter, refused = replayed(zerobus, table_name, "n INT, v STRING", tmp_path / name, tmp_path)
    assert (rows, refused) == ([], 1)
    assert r"b'caf\xe9'" in letter["record"]["v"]["$unfit"]
    (field,) = letter["fields"]
    assert (field["value_type"], field["value_repr"]) == ("str", r"'caf\\xe9'")
    assert field["reason"].startswith("cannot be read: byte 0xe9 at position 3 is not UTF-8")


def kept(kind: str, array: pa.Array) -> tuple[Any, BadRow]:
    """Return the value of ``array`` as a bad row's record has it, and the bad row."""
    schema = TableSchema.from_sql(f"CREATE TABLE main.default.t (n INT NOT NULL, v {kind})")
    bad: list[BadRow] = []
    encoder = encoder_for(schema, IngestOptions(record_format="arrow"), is_arrow=True)
    batch = pa.record_batch({"n": pa.array([None], pa.int32()), "v": array})
    assert not list(encoder.encode(Chunk(0, batch), on_bad_row=bad.append))
    return bad[0].record["v"], bad[0]


@pytest.mark.parametrize(
    ("array", "value", "reason", "shown"),
    [
        (FAR, "timestamp[s] 100000000000000000", "is beyond the years 1 to 9999", "timestamp[s] 100000000000000000"),
        (not_utf8(), b"caf\xe9", "is not valid UTF-8", r"caf\xe9"),
        (FINE, "00:00:00.000001001", "has nanoseconds", "00:00:00.000001001"),
        (
            NOWHERE,
            "1970-01-01 00:00:00.001001+00:00",
            "is in the unknown time zone 'No/Where', and shown in UTC",
            "1970-01-01 00:00:00.001001+00:00",
        ),
    ],
    ids=["time", "text", "time of day", "zone"],
)
def test_an_unfit_value_is_exact_and_the_message_shows_text(
    array: pa.Array, value: Any, reason: str, shown: str
) -> None:
    unfit, bad = kept("STRING", array)
    assert isinstance(unfit, UnfitValue)
    assert (unfit.value, unfit.reason) == (value, reason)
    assert [(f.value_type, f.value_repr) for f in bad.fields if f.path == "v"] == [("str", repr(shown))]


def test_invalid_json_says_why() -> None:
    unfit, _ = kept("VARIANT", json_array("{bad"))
    assert isinstance(unfit, UnfitValue)
    assert unfit.value == "{bad"
    assert unfit.reason.startswith("not JSON text: unexpected character")
    inside, _ = kept("VARIANT", pa.StructArray.from_arrays([json_array("{bad"), json_array("[1]")], ["a", "b"]))
    assert (inside["a"].value, inside["b"]) == ("{bad", [1])


def test_the_parts_of_a_value_that_can_be_read_are_kept() -> None:
    texts = pa.array([b"good", b"\xff"]).view(pa.string())
    good, unfit = kept("ARRAY<STRING>", pa.ListArray.from_arrays([0, 2], texts))[0]
    assert (good, unfit.value) == ("good", b"\xff")


def test_a_map_stays_a_list_of_pairs() -> None:
    assert kept("MAP<STRING, INT>", map_of(pa.array(["k"]), pa.array([1])))[0] == [("k", 1)]
    ((key, unfit),) = kept("MAP<STRING, STRING>", map_of(pa.array(["k"]), not_utf8()))[0]
    assert (key, unfit.value) == ("k", b"caf\xe9")
    of_polars = pa.array([[{"key": "k", "value": 1}]])
    assert kept("MAP<STRING, INT>", of_polars)[0] == [("k", 1)]


def test_times_of_day_are_text_in_a_variant_and_unfit_elsewhere() -> None:
    struct = pa.StructArray.from_arrays([FINE, FINE], ["s", "v"])
    record, _ = kept("STRUCT<s: STRING, v: VARIANT>", struct)
    assert record["v"] == "00:00:00.000001001"
    assert isinstance(record["s"], UnfitValue)
    assert kept("VARIANT", pa.array([[time(1)]], pa.list_(pa.time64("ns"))))[0] == [time(1)]


def test_a_good_time_of_a_bad_row_is_kept_although_its_zone_is_unknown() -> None:
    at = datetime(1970, 1, 1, microsecond=1_001, tzinfo=UTC)
    assert kept("TIMESTAMP", NOWHERE)[0] == at
    assert kept("ARRAY<TIMESTAMP>", pa.ListArray.from_arrays([0, 1], NOWHERE))[0] == [at]


def test_the_numbers_of_good_json_keep_their_digits(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    text = '{"d":0.12345678901234567890123,"i":1180591620717411303425,"x":1.5,"z":1.50}'
    zerobus.create_table(f"CREATE TABLE {table_name} (n INT NOT NULL, v VARIANT)")
    letters = tmp_path / "letters.jsonl"
    source = pa.table({"n": pa.array([None], pa.int32()), "v": json_array(text)})
    options = IngestOptions(on_bad_record="dead_letter", dead_letter_uri=str(letters))
    assert zerobus_core.ingest(zerobus.workspace, table_name, source, options=options).rows_dead_lettered == 1
    letters.write_text(letters.read_text().replace('"n": null', '"n": 1'))
    assert zerobus_core.replay(zerobus.workspace, str(letters)).rows_acked == 1
    assert zerobus.read(table_name).to_pylist() == [{"n": 1, "v": text}]
