"""The service's own column for fields that the table lacks: JSON records, a VARIANT, and the tag ``zerobus-rescue``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from zerobus_core import FileCheckpointStore, IngestOptions, ingest, replay
from zerobus_core.errors import ConfigurationError, RecordError, RejectedRecordError
from zerobus_local import LocalZerobus

ROWS: list[dict[str, Any]] = [{"id": 1}, {"id": 2, "colour": "red", "size": [3, {"of": "x"}]}]
RESCUE = IngestOptions(extra_columns="rescue")


@pytest.fixture
def table(zerobus: LocalZerobus, table_name: str) -> str:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, name STRING, rest VARIANT)")
    zerobus.sql(f"ALTER TABLE {table_name} ALTER COLUMN rest SET TAGS ('zerobus-rescue' = '')")
    return table_name


def rest(server: LocalZerobus, table: str) -> dict[int, Any]:
    return {row["id"]: row["rest"] and json.loads(row["rest"]) for row in server.read(table).to_pylist()}


@pytest.mark.parametrize("kind", ["dicts", "table", "JSON Lines"])
def test_fields_without_a_column_are_in_the_rescue_column(
    kind: str, zerobus: LocalZerobus, table: str, tmp_path: Path
) -> None:
    records: Any = ROWS
    if kind == "table":
        records = pa.table({"id": [1, 2], "colour": ["blue", "red"], "size": [None, [3]]})
    if kind == "JSON Lines":
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        records = str(tmp_path / "rows.jsonl")
    receipt = ingest(zerobus.workspace, table, records, options=RESCUE)
    assert (receipt.record_format, receipt.columns_dropped) == ("json", ())
    if kind == "table":
        assert rest(zerobus, table) == {1: {"colour": "blue", "size": None}, 2: {"colour": "red", "size": [3]}}
    else:
        assert rest(zerobus, table) == {1: None, 2: {"colour": "red", "size": [3, {"of": "x"}]}}


def test_delivery_columns_and_a_checkpoint_go_with_it(zerobus: LocalZerobus, table_name: str, tmp_path: Path) -> None:
    zerobus.create_table(f"CREATE TABLE {table_name} (id BIGINT, rest VARIANT, delivery STRING, number BIGINT)")
    zerobus.sql(f"ALTER TABLE {table_name} ALTER COLUMN rest SET TAGS ('zerobus-rescue')")
    columns = {"delivery_id": "delivery", "row_number": "number"}
    options = IngestOptions(extra_columns="rescue", delivery_columns=columns, source_version="1")
    store = FileCheckpointStore(tmp_path / "checkpoint")
    turned = [dict(reversed(row.items())) for row in ROWS]
    for rows, acked in ((ROWS, 2), (turned, 0)):
        assert ingest(zerobus.workspace, table_name, iter(rows), options=options, checkpoint=store).rows_acked == acked
    found = {row["number"]: row["rest"] and json.loads(row["rest"]) for row in zerobus.read(table_name).to_pylist()}
    assert found == {0: None, 1: {"colour": "red", "size": [3, {"of": "x"}]}}


def test_a_table_without_a_rescue_column_refuses_the_rows_and_letters_keep_every_field(
    zerobus: LocalZerobus, table: str, tmp_path: Path
) -> None:
    zerobus.sql(f"ALTER TABLE {table} ALTER COLUMN rest UNSET TAGS ('zerobus-rescue')")
    with pytest.raises(RejectedRecordError, match="colour"):
        ingest(zerobus.workspace, table, ROWS, options=RESCUE)
    letters = tmp_path / "bad.jsonl"
    options = IngestOptions(extra_columns="rescue", on_bad_record="dead_letter", dead_letter_uri=str(letters))
    assert ingest(zerobus.workspace, table, ROWS, options=options).rows_dead_lettered == 1
    assert json.loads(letters.read_text())["record"] == ROWS[1]
    zerobus.sql(f"ALTER TABLE {table} ALTER COLUMN rest SET TAGS ('zerobus-rescue')")
    assert replay(zerobus.workspace, str(letters), options=RESCUE).rows_acked == 1
    assert rest(zerobus, table)[2] == {"colour": "red", "size": [3, {"of": "x"}]}


def test_a_value_of_another_type_is_refused_before_it_is_sent(zerobus: LocalZerobus, table: str) -> None:
    with pytest.raises(RecordError, match="field name"):
        ingest(zerobus.workspace, table, [{"id": 1, "name": 5}], options=RESCUE)


def test_other_record_formats_are_refused(zerobus: LocalZerobus, table: str) -> None:
    with pytest.raises(ConfigurationError, match=r"record_format must be .json. or .auto. if extra_columns=.rescue."):
        IngestOptions(extra_columns="rescue", record_format="protobuf")
