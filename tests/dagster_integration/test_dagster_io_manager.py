"""ZerobusIOManager in real runs against the local service: kinds of values, tables, and what it refuses."""

import collections.abc
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from zerobus_dagster import ZerobusIOManager, ZerobusResource
from zerobus_local import LocalZerobus

ROWS: list[dict[str, Any]] = [{"id": n, "carrier": "UA", "delay": n / 2} for n in range(100)]


def run(asset: dg.AssetsDefinition, io_manager: ZerobusIOManager, **options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset], resources={"io_manager": io_manager}, raise_on_error=False, **options)


def description_of(result: dg.ExecuteInProcessResult) -> str:
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.user_failure_data, failed.step_failure_data.error
    return str(failed.step_failure_data.user_failure_data.description)


def materializations(result: dg.ExecuteInProcessResult) -> list[dg.DagsterEvent]:
    return [event for event in result.all_events if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION]


def ids(server: LocalZerobus, table: str) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


def generator() -> Iterator[dict[str, Any]]:
    yield from ROWS


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list[dict[str, Any]], lambda: ROWS),
        (collections.abc.Iterator, lambda: iter(ROWS)),
        (pd.DataFrame, lambda: pd.DataFrame(ROWS)),
        (pl.DataFrame, lambda: pl.DataFrame(ROWS)),
        (pa.Table, lambda: pa.Table.from_pylist(ROWS)),
        (pa.RecordBatch, lambda: pa.RecordBatch.from_pylist(ROWS)),
        (pa.RecordBatchReader, lambda: pa.Table.from_pylist(ROWS).to_reader(max_chunksize=30)),
        (None, lambda: dg.Output(generator())),
        (None, lambda: dg.MaterializeResult(value=generator())),
    ],
    ids=[
        "list",
        "iterator",
        "pandas",
        "polars",
        "arrow-table",
        "arrow-batch",
        "arrow-reader",
        "generator-in-Output",
        "generator-in-MaterializeResult",
    ],
)
def test_what_an_asset_returns_is_in_the_table_when_it_is_materialized(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, annotation: Any, value: Callable[[], Any]
) -> None:
    def compute():  # type: ignore[no-untyped-def]  # what Dagster sees is set below
        return value()

    if annotation is not None:
        compute.__annotations__["return"] = annotation
    flights = dg.asset(compute, name="flights", metadata={"table": table})
    result = run(flights, ZerobusIOManager(zerobus=zerobus))
    assert result.success
    assert server.read(table).sort_by("id").to_pylist() == ROWS
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_acked"].value == 100
    assert materialization.metadata["dagster/table_name"].value == table


def test_the_asset_key_names_the_table(server: LocalZerobus, table: str, zerobus: ZerobusResource) -> None:
    @dg.asset(key=table.split("."))
    def flights() -> list[dict[str, Any]]:
        return ROWS

    assert run(flights, ZerobusIOManager(zerobus=zerobus)).success
    assert ids(server, table) == list(range(100))


@pytest.mark.parametrize(
    ("output", "definition", "config", "expected"),
    [
        ({}, {}, {}, "key_catalog.key_schema.key_table"),
        ({}, {}, {"catalog": "c", "schema": "s"}, "c.s.key_table"),
        ({}, {"table": "t"}, {"catalog": "c"}, "c.key_schema.t"),
        ({}, {"table": "d.t", "catalog": "m"}, {"catalog": "c", "schema": "s"}, "m.d.t"),
        ({"table": "o"}, {"table": "d.t"}, {"catalog": "c", "schema": "s"}, "c.d.o"),
        ({"schema": "x"}, {"dagster/table_name": "m.d.t"}, {}, "m.x.t"),
    ],
)
def test_output_metadata_wins_over_the_definition_and_that_over_configuration_and_asset_key(
    zerobus: ZerobusResource,
    output: dict[str, str],
    definition: dict[str, str],
    config: dict[str, str],
    expected: str,
) -> None:
    manager = ZerobusIOManager(zerobus=zerobus, **config)
    context = dg.build_output_context(
        asset_key=["key_catalog", "key_schema", "key_table"], output_metadata=output, definition_metadata=definition
    )
    with pytest.raises(dg.Failure) as caught:
        manager.handle_output(context, ROWS)
    assert caught.value.metadata["dagster/table_name"].value == expected
    assert caught.value.metadata["dagster-zerobus/error"].value == "TableNotFoundError"


def test_a_table_without_catalog_and_schema_is_refused_saying_where_to_name_them(zerobus: ZerobusResource) -> None:
    @dg.asset
    def flights() -> list[dict[str, Any]]:
        return ROWS

    description = description_of(run(flights, ZerobusIOManager(zerobus=zerobus)))
    assert "no catalog and no schema" in description
    assert "configuration of ZerobusIOManager" in description


def test_none_is_refused_and_nothing_is_materialized(table: str, zerobus: ZerobusResource) -> None:
    @dg.asset(metadata={"table": table})
    def flights():  # type: ignore[no-untyped-def]  # an annotated None would never reach the IO manager
        return None

    result = run(flights, ZerobusIOManager(zerobus=zerobus))
    assert "the output is None" in description_of(result)
    assert materializations(result) == []


@pytest.mark.parametrize("empty", [[], pd.DataFrame(ROWS).head(0), pa.Table.from_pylist(ROWS).slice(0, 0)], ids=type)
def test_no_rows_are_a_success_without_any_stream(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, empty: Any
) -> None:
    @dg.asset(metadata={"table": table})
    def flights():  # type: ignore[no-untyped-def]  # of several types
        return empty

    result = run(flights, ZerobusIOManager(zerobus=zerobus))
    assert result.success
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_read"].value == 0
    assert materialization.metadata["dagster-zerobus/streams"].value == 0
    assert ids(server, table) == []


def test_any_write_mode_but_append_is_refused_with_the_way_out(table: str, zerobus: ZerobusResource) -> None:
    with pytest.raises(Exception, match="staging table and MERGE"):
        ZerobusIOManager(zerobus=zerobus, write_mode="overwrite")

    @dg.asset(metadata={"table": table, "write_mode": "overwrite"})
    def flights() -> list[dict[str, Any]]:
        return ROWS

    assert "must be \"append\", not 'overwrite'" in description_of(run(flights, ZerobusIOManager(zerobus=zerobus)))


def test_loading_an_input_is_refused_with_the_alternative(table: str, zerobus: ZerobusResource) -> None:
    @dg.asset(metadata={"table": table})
    def flights() -> list[dict[str, Any]]:
        return ROWS

    @dg.asset
    def report(flights: Any) -> None: ...

    with pytest.raises(NotImplementedError, match="cannot load flights: name the upstream asset in deps"):
        dg.materialize([flights, report], resources={"io_manager": ZerobusIOManager(zerobus=zerobus)})


def test_a_bad_row_in_an_output_fails_once_naming_row_and_field(table: str, zerobus: ZerobusResource) -> None:
    tries = []

    @dg.asset(metadata={"table": table}, retry_policy=dg.RetryPolicy(max_retries=3))
    def flights() -> list[dict[str, Any]]:
        tries.append(1)
        return [*ROWS[:3], {"id": None, "carrier": "UA", "delay": 1.0}]

    result = run(flights, ZerobusIOManager(zerobus=zerobus))
    assert "row 3, field id" in description_of(result)
    assert len(tries) == 1
    assert materializations(result) == []


def test_what_the_user_says_in_output_metadata_stays(table: str, zerobus: ZerobusResource) -> None:
    @dg.asset(metadata={"table": table})
    def flights() -> dg.Output[list[dict[str, Any]]]:
        return dg.Output(ROWS, metadata={"dagster-zerobus/rows_read": -1, "mine": "kept"})

    result = run(flights, ZerobusIOManager(zerobus=zerobus))
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_read"].value == -1
    assert materialization.metadata["mine"].value == "kept"
    assert materialization.metadata["dagster-zerobus/rows_acked"].value == 100


def test_options_of_the_asset_win_over_the_managers_and_those_over_the_resources(
    table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset(metadata={"table": table, "ingest_options": {"record_format": "json"}})
    def flights() -> list[dict[str, Any]]:
        return ROWS

    result = run(flights, ZerobusIOManager(zerobus=zerobus, options={"record_format": "protobuf", "batch_rows": 10}))
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/record_format"].value == "json"
    assert materialization.metadata["dagster-zerobus/receipt"].value["batches"] == 10


def test_a_retry_of_the_step_sends_only_what_is_missing(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    rules = [
        server.faults.add(action="fail", table=table, message=5, status="UNAVAILABLE"),
        server.faults.add(action="refuse_open", table=table, stream=[2, 3, 4, 5, 6, 7, 8]),
    ]

    @dg.asset(metadata={"table": table}, retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext) -> list[dict[str, Any]]:
        if context.retry_number == 1:
            for rule in rules:
                server.faults.remove(rule)
        return ROWS

    options = {"batch_rows": 10, "max_unacked_bytes": 1, "source_version": "1"}  # one batch at a time
    result = run(flights, ZerobusIOManager(zerobus=zerobus, options=options))
    assert result.success
    receipt = result.asset_materializations_for_node("flights")[0].metadata["dagster-zerobus/receipt"].value
    assert 0 < receipt["rows_skipped"] < 100
    assert receipt["rows_skipped"] + receipt["rows_acked"] == 100
    assert ids(server, table) == list(range(100))
