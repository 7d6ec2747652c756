"""The column that takes what JSON records hold beyond the table: its tag by SQL, and what is put into it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from zerobus_local.catalog.catalog import Catalog
from zerobus_local.decode.decoder import TableShape
from zerobus_local.decode.json import JsonDecoder
from zerobus_local.decode.refusal import RefusedRecordError
from zerobus_local.errors import InvalidRequest, NotFound

TABLE = "main.default.t"
CREATE = f"CREATE TABLE {TABLE} (id BIGINT NOT NULL, n INT, at STRUCT<x: INT>, rest VARIANT, kept VARIANT NOT NULL)"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog(tmp_path / "data")
    catalog.execute(CREATE)
    return catalog


def decoded(catalog: Catalog, *records: str) -> pa.RecordBatch:
    return JsonDecoder(TableShape.of(catalog.table(TABLE))).decode([record.encode() for record in records])


def test_fields_and_values_that_do_not_fit_are_rescued(catalog: Catalog) -> None:
    catalog.execute(f"ALTER TABLE {TABLE} ALTER COLUMN rest SET TAGS ('zerobus-rescue' = '', 'team' = 'x')")
    batch = decoded(
        catalog,
        '{"id": 1, "kept": "{}", "n": 3}',
        '{"id": 2, "kept": "{}", "n": "three", "at": {"x": 1, "y": 2}, "other": {"a": null}}',
    )
    assert batch.column("n").to_pylist() == [3, None]
    assert batch.column("at").to_pylist() == [None, None]
    first, second = batch.column("rest").to_pylist()
    assert first is None
    assert json.loads(second) == {"n": "three", "at": {"x": 1, "y": 2}, "other": {"a": None}}


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ('{"id": "x", "kept": "{}"}', "id"),
        ('{"n": 1, "kept": "{}"}', "id"),
        ('{"id": 1, "kept": "{}", "rest": "{}"}', "rescue column, which only the service fills"),
    ],
)
def test_what_a_not_null_column_lacks_and_the_column_itself_are_refused(
    catalog: Catalog, record: str, shown: str
) -> None:
    catalog.execute(f"ALTER TABLE {TABLE} ALTER COLUMN rest SET TAGS ('zerobus-rescue')")
    with pytest.raises(RefusedRecordError, match=shown):
        decoded(catalog, record)


def test_a_tag_outlives_the_process_and_can_be_taken_away(catalog: Catalog) -> None:
    catalog.execute(f"ALTER TABLE {TABLE} ALTER COLUMN rest SET TAGS ('zerobus-rescue')")
    again = Catalog(catalog.data)
    assert TableShape.of(again.table(TABLE)).rescue == "rest"
    again.execute(f"ALTER TABLE {TABLE} ALTER COLUMN rest UNSET TAGS ('zerobus-rescue')")
    assert TableShape.of(again.table(TABLE)).rescue is None
    with pytest.raises(RefusedRecordError, match="other"):
        decoded(again, '{"id": 1, "kept": "{}", "other": 1}')


def test_a_column_that_cannot_take_them_is_noted(catalog: Catalog) -> None:
    (done,) = catalog.execute(f"ALTER TABLE {TABLE} ALTER COLUMN kept SET TAGS ('zerobus-rescue')")
    assert done.notes == (
        "column kept: this tag has no effect, because only a nullable VARIANT column can be the rescue column",
    )
    assert TableShape.of(catalog.table(TABLE)).rescue is None


def test_wrong_statements_name_the_place(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="has no column other"):
        catalog.execute(f"ALTER TABLE {TABLE} ALTER COLUMN other SET TAGS ('zerobus-rescue')")
    with pytest.raises(InvalidRequest, match="expected a text in single quotes"):
        catalog.execute(f"ALTER TABLE {TABLE} ALTER COLUMN rest SET TAGS (5)")
    with pytest.raises(InvalidRequest, match="needs 3 parts"):
        catalog.execute("ALTER TABLE default.t ALTER COLUMN rest SET TAGS ('zerobus-rescue')")
