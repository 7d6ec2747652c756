"""Columns of a source that are left out: of rows and of Arrow data, without a change of positions."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.wrappers_pb2 import Int32Value

from tests.rows import in_any_order
from zerobus_core import FileCheckpointStore, IngestOptions, ingest
from zerobus_core.errors import ConfigurationError, RecordError, SchemaError
from zerobus_core.sources import source_of
from zerobus_local import LocalZerobus


@dataclass
class Row:
    id: int
    extra: str


Tuple = namedtuple("Tuple", ["id", "extra"])


@pytest.mark.parametrize(
    "records",
    [
        [{"id": 1, "extra": "x"}, {"id": 2}],
        [Row(1, "x"), Row(2, "y")],
        [Tuple(1, "x"), Tuple(2, "y")],
        pa.table({"id": [1, 2], "extra": ["x", "y"]}),
        [pa.table({"id": [1], "extra": ["x"]}), pa.table({"id": [2]})],
    ],
    ids=["dicts", "dataclasses", "named tuples", "table", "tables"],
)
def test_a_column_is_left_out_of_every_kind_of_rows(records: Any, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT)")
    ingest(zerobus.workspace, table_name, records, options=IngestOptions(drop=["extra"]))
    assert in_any_order(zerobus.read(table_name).to_pylist()) == [{"id": 1}, {"id": 2}]


def test_a_column_of_the_table_that_is_left_out_is_null(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, extra STRING)")
    ingest(zerobus.workspace, table_name, [{"id": 1, "extra": "x"}], options=IngestOptions(drop=("extra",)))
    assert zerobus.read(table_name).to_pylist() == [{"id": 1, "extra": None}]


def test_what_is_left_out_is_part_of_the_fingerprint(zerobus: LocalZerobus, table_name: str, tmp_path: Any) -> None:
    rows = [{"id": 1, "extra": "x"}]
    shapes: tuple[list[str], ...] = ([], ["a"], ["b"], ["a", "b"], ["b", "a"])
    prints = [source_of(rows, IngestOptions(drop=names)).fingerprint for names in shapes]
    assert len(set(prints)) == 4
    assert source_of(iter(rows), IngestOptions(drop=["a"])).fingerprint is None
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT)")
    store = FileCheckpointStore(tmp_path / "c.json")
    for skipped in (0, 1):
        receipt = ingest(zerobus.workspace, table_name, rows, options=IngestOptions(drop=["extra"]), checkpoint=store)
        assert receipt.rows_skipped == skipped


def test_protobuf_messages_are_refused_with_the_way_out(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (value INT)")
    with pytest.raises(ConfigurationError, match="yield dicts instead"):
        ingest(zerobus.workspace, table_name, [Int32Value(value=1)], options=IngestOptions(drop=["x"]))


@pytest.mark.parametrize("given", ["extra", [1], None, {"extra"}])
def test_anything_but_a_list_of_names_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"IngestOptions\.drop must be a list of names"):
        IngestOptions(drop=given)


@pytest.mark.parametrize(
    "records",
    [
        [{"Id": 1, "The name": "x"}, {"Id": 2, "The name": None}],
        pa.table({"Id": [1, 2], "The name": ["x", None]}),
        [pa.table({"Id": [1], "The name": ["x"]}), pa.table({"Id": [2], "The name": pa.array([None], pa.string())})],
    ],
    ids=["dicts", "table", "tables"],
)
def test_columns_get_other_names(records: Any, zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT, name STRING)")
    options = IngestOptions(rename={"Id": "id", "The name": "name"})
    ingest(zerobus.workspace, table_name, records, options=options)
    assert in_any_order(zerobus.read(table_name).to_pylist()) == [{"id": 1, "name": "x"}, {"id": 2, "name": None}]


def test_two_columns_that_get_one_name_are_refused(zerobus: LocalZerobus, table_name: str) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id INT)")
    options = IngestOptions(rename={"Id": "id"})
    with pytest.raises(RecordError, match="two values are called id after the option rename was applied"):
        ingest(zerobus.workspace, table_name, [{"Id": 1, "id": 2}], options=options)
    with pytest.raises(SchemaError, match="column id appears twice"):
        ingest(zerobus.workspace, table_name, pa.table({"Id": [1], "id": [2]}), options=options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rename": ["a"]}, "IngestOptions.rename must be"),
        ({"rename": {"a": 1}}, "IngestOptions.rename must be"),
        ({"rename": {"a": "x", "b": "x"}}, "a mapping that gives each column a different name"),
        ({"rename": {"a": "x"}, "drop": ["a"]}, "a mapping that does not rename a"),
    ],
)
def test_a_wrong_renaming_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        IngestOptions(**given)
