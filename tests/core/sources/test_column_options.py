"""Which columns of a source are delivered, as what, and what becomes of those that the table lacks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from zerobus_core import FileCheckpointStore, IngestOptions, StreamManager, ingest
from zerobus_core.batch import Chunk, Origin
from zerobus_core.errors import ConfigurationError, RecordError, SchemaError
from zerobus_core.ranges import RowRanges
from zerobus_core.sources import Source, source_of
from zerobus_local import LocalZerobus


@dataclass
class Row:
    id: int
    name: str
    colour: str
    size: int


ROWS: list[dict[str, Any]] = [
    {"id": 1, "name": "a", "colour": "red", "size": 3},
    {"id": 2, "name": "b", "colour": "blue", "size": 4},
]


def as_csv(rows: list[dict[str, Any]], folder: Path) -> str:
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "rows.csv")


def as_json_lines(rows: list[dict[str, Any]], folder: Path) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "rows.jsonl")


KINDS: dict[str, Callable[[list[dict[str, Any]], Path], Any]] = {
    "dicts": lambda rows, _: rows,
    "dataclasses": lambda rows, _: [Row(**row) for row in rows],
    "table": lambda rows, _: pa.Table.from_pylist(rows),
    "CSV": as_csv,
    "JSON Lines": as_json_lines,
}
FORMATS = ("auto", "protobuf", "json", "arrow")


@pytest.fixture(params=KINDS)
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return KINDS[request.param](ROWS, tmp_path)


def read(server: LocalZerobus, table: str) -> list[dict[str, Any]]:
    return sorted(server.read(table).to_pylist(), key=lambda row: row["id"])


def test_only_the_selected_columns_are_delivered(rows: Any, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, label STRING)")
    options = IngestOptions(select=("id", "name"), rename={"name": "label"})
    assert ingest(zerobus.workspace, table_name, rows, options=options).notes == ()
    assert read(zerobus, table_name) == [{"id": 1, "label": "a"}, {"id": 2, "label": "b"}]


def test_a_selected_column_that_no_row_has_is_named(rows: Any, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, nmae STRING)")
    receipt = ingest(zerobus.workspace, table_name, rows, options=IngestOptions(select=("id", "nmae")))
    assert receipt.notes == ("no row that was read has 'nmae'; check the names in select and rename",)


def test_constants_are_in_every_row(rows: Any, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, src STRING, day DATE, at TIMESTAMP, n INT)")
    constants = {"src": "x", "day": date(2026, 1, 2), "at": datetime(2026, 1, 2, tzinfo=UTC), "n": 7}
    options = IngestOptions(select=("id",), constants=constants)
    ingest(zerobus.workspace, table_name, rows, options=options)
    assert read(zerobus, table_name) == [{"id": 1, **constants}, {"id": 2, **constants}]


def test_a_constant_does_not_replace_what_the_source_has(rows: Any, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING)")
    options = IngestOptions(select=("id", "name"), constants={"NAME": "x"})
    with pytest.raises(ConfigurationError, match=r"options.constants fills 'name', which the source also has"):
        ingest(zerobus.workspace, table_name, rows, options=options)
    assert zerobus.read(table_name).num_rows == 0


@pytest.mark.parametrize("record_format", FORMATS)
def test_names_are_compared_without_case(rows: Any, record_format: Any, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (ID BIGINT NOT NULL, Name STRING, COLOUR STRING, Size BIGINT)")
    ingest(zerobus.workspace, table_name, rows, options=IngestOptions(record_format=record_format))
    found = sorted(zerobus.read(table_name).to_pylist(), key=lambda row: row["ID"])
    assert found == [
        {"ID": 1, "Name": "a", "COLOUR": "red", "Size": 3},
        {"ID": 2, "Name": "b", "COLOUR": "blue", "Size": 4},
    ]


@pytest.mark.parametrize("record_format", FORMATS)
def test_fields_of_a_struct_are_compared_without_case(
    record_format: Any, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, at STRUCT<X: INT, y: INT>)")
    rows = [{"id": 1, "At": {"x": 1, "Y": 2}}]
    for records in (rows, pa.Table.from_pylist(rows)):
        ingest(zerobus.workspace, table_name, records, options=IngestOptions(record_format=record_format))
    assert zerobus.read(table_name).to_pylist() == [{"id": 1, "at": {"X": 1, "y": 2}}] * 2


def test_two_names_that_differ_in_case_only_are_refused(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT)")
    rows = [{"ID": 1, "id": 2}]
    with pytest.raises(RecordError, match="'ID' and 'id' are one column, id: column names are compared without case"):
        ingest(zerobus.workspace, table_name, rows)
    with pytest.raises(SchemaError, match="'ID' and 'id' are one column, id: column names are compared without case"):
        ingest(zerobus.workspace, table_name, pa.Table.from_pylist(rows))
    assert zerobus.read(table_name).num_rows == 0


def test_extra_columns_are_an_error_if_nothing_else_is_asked_for(
    rows: Any, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING, size INT)")
    with pytest.raises((RecordError, SchemaError), match="colour"):
        ingest(zerobus.workspace, table_name, rows)


def test_extra_columns_that_are_dropped_are_named(
    rows: Any, zerobus: LocalZerobus, table_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (ID BIGINT, name STRING)")
    with caplog.at_level(logging.WARNING, "zerobus_core"):
        receipt = ingest(zerobus.workspace, table_name, rows, options={"extra_columns": "drop"})
    assert receipt.columns_dropped == ("colour", "size")
    assert receipt.as_dict()["columns_dropped"] == ["colour", "size"]
    logged = [record.getMessage() for record in caplog.records]
    assert logged == [f"{table_name}: column {name} is dropped: the table lacks it" for name in ("colour", "size")]
    assert zerobus.read(table_name).sort_by("ID").to_pylist() == [{"ID": 1, "name": "a"}, {"ID": 2, "name": "b"}]


@pytest.mark.parametrize("record_format", FORMATS)
def test_extra_columns_are_collected_in_a_variant(
    rows: Any, record_format: Any, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING, rest VARIANT)")
    options = IngestOptions(extra_columns="variant:rest", record_format=record_format)
    assert ingest(zerobus.workspace, table_name, rows, options=options).columns_dropped == ()
    found = [json.loads(row["rest"]) for row in read(zerobus, table_name)]
    is_text = isinstance(rows, str) and rows.endswith(".csv")
    assert found == [{"colour": row["colour"], "size": str(row["size"]) if is_text else row["size"]} for row in ROWS]


def test_rows_without_extra_columns_have_null_in_the_variant(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, rest VARIANT)")
    rows = [{"id": 1}, {"id": 2, "b": [1, {"c": None}], "a": "x"}]
    ingest(zerobus.workspace, table_name, rows, options=IngestOptions(extra_columns="variant:REST"))
    first, second = read(zerobus, table_name)
    assert first["rest"] is None
    assert json.loads(second["rest"]) == {"a": "x", "b": [1, {"c": None}]}


@pytest.mark.parametrize(("column", "message"), [("other", "'other', which the table does not have"), ("id", "BIGINT")])
def test_the_column_for_the_rest_must_be_a_variant(
    column: str, message: str, zerobus: LocalZerobus, table_name: str
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    with pytest.raises(ConfigurationError, match=message):
        ingest(zerobus.workspace, table_name, ROWS, options=IngestOptions(extra_columns=f"variant:{column}"))


def test_the_column_for_the_rest_is_not_filled_by_the_source(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, rest VARIANT)")
    rows = [{"id": 1, "rest": {}, "more": 1}]
    for records in (rows, pa.table({"id": [1], "rest": ["x"], "more": [1]})):
        with pytest.raises(ConfigurationError, match="collects fields in 'rest', which the source also has"):
            ingest(zerobus.workspace, table_name, records, options=IngestOptions(extra_columns="variant:rest"))


def test_other_column_options_start_a_delivery_over_and_say_so(
    zerobus: LocalZerobus, table_name: str, tmp_path: Path
) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, name STRING, src STRING)")
    store = FileCheckpointStore(tmp_path / "checkpoint")
    for options in (
        {"select": ["id"]},
        {"select": ["id", "name"]},
        {"select": ["id", "name"], "constants": {"src": "x"}},
        {"select": ["id", "name"], "constants": {"src": "y"}},
        {"drop": ["colour", "size"], "constants": {"src": "y"}},
        {"extra_columns": "drop"},
    ):
        first, again = (ingest(zerobus.workspace, table_name, ROWS, options=options, checkpoint=store) for _ in "ab")
        assert (first.rows_acked, again.rows_skipped) == (2, 2)
        assert first.started_over is None or first.started_over.startswith(
            "the options that change the source's rows have other values now"
        )
    assert first.started_over is not None


def test_a_source_that_can_be_read_once_stays_one_whatever_its_columns() -> None:
    source = source_of((row for row in ROWS), IngestOptions(select=["id"], source_version="1"))
    assert not source.can_read_again


def test_a_stream_manager_shapes_every_call(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT)")
    with StreamManager(zerobus.workspace, table_name, options=IngestOptions(extra_columns="drop")) as streams:
        streams.send([{"id": 1, "a": 1}])
        streams.send([{"id": 2, "b": 1}])
    assert streams.receipt.columns_dropped == ("a", "b")


class Facts(Source):
    """A source whose every answer differs from the default."""

    is_text = True
    is_in_memory = True
    start_delay = 2.5
    why_empty = "nothing came"
    is_content_known = True  # type: ignore[assignment]
    can_read_again = False  # type: ignore[assignment]

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        yield Chunk(0, [{"id": 1}])

    def would_hold(self, uri: str) -> bool:
        return True

    def locate(self, row: int) -> str:
        return "here"

    def place(self, row: int) -> str:
        return "line 1"

    def origins(self, first_row: int, stop_row: int) -> Iterator[Origin]:
        yield Origin("a file", first_row + 7, stop_row - first_row)


def test_a_source_with_other_columns_answers_as_the_source_itself() -> None:
    inner = Facts()
    names = [name for name in vars(Source) if not name.startswith("_")]
    asked: dict[str, Callable[[Any], Any]] = {
        "would_hold": lambda ask: ask("x"),
        "locate": lambda ask: ask(0),
        "place": lambda ask: ask(0),
        "origins": lambda ask: list(ask(0, 1)),
    }
    others = {"chunks", "read_for", "give_tuples", "on_durable", "shaping", "fingerprint", "removed_since"}
    for outer in (
        source_of(inner, IngestOptions(select=["id"])),
        source_of(inner, IngestOptions(transform=lambda row: row, select=["id"])),
    ):
        list(outer.chunks(RowRanges()))
        for name in set(names) - others:
            mine, given = getattr(outer, name), getattr(inner, name)
            if name in asked:
                mine, given = asked[name](mine), asked[name](given)
            # The user's function takes its time, and nothing says that it still does the same.
            is_changed = name in {"is_in_memory", "is_content_known"} and "Transformed" in repr(outer)
            assert mine == (False if is_changed else given), name
