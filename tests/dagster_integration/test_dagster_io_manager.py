"""ZerobusIOManager in real runs against the local service: kinds of values, tables, and what it refuses."""

import collections.abc
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from zerobus_core import ConfigurationError
from zerobus_dagster import ZerobusIOManager, ZerobusResource, check_definitions
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
        ({}, {"table": "t", "dagster/table_name": "m.d.t"}, {"catalog": "c", "schema": "s"}, "m.d.t"),
        ({}, {"table": "d.t", "dagster/table_name": "m.d.t"}, {}, "m.d.t"),
        ({}, {"table": "t", "catalog": "x", "dagster/table_name": "m.d.t"}, {}, "x.d.t"),
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
    assert materialization.metadata["dagster-zerobus/receipt"].value["streams"] == 0
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

    with pytest.raises(NotImplementedError, match="only writes, so it cannot load flights"):
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
    assert materialization.metadata["dagster-zerobus/receipt"].value["record_format"] == "json"
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


@pytest.mark.parametrize("kind", [pa.Table, pd.DataFrame, pl.DataFrame, Any])
def test_an_input_is_read_from_the_delta_table_as_it_is_annotated(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, kind: Any
) -> None:
    loaded = []

    @dg.asset(metadata={"table": table}, io_manager_key="zerobus_io")
    def flights() -> list[dict[str, Any]]:
        return ROWS

    def report(flights):
        loaded.append(flights)

    report.__annotations__["flights"] = kind
    manager = ZerobusIOManager(zerobus=zerobus, delta_uri=folder_of(server, table))
    assert dg.materialize([flights, dg.asset(report)], resources={"zerobus_io": manager}).success
    (rows,) = loaded
    assert isinstance(rows, pa.Table if kind is Any else kind)
    frame = rows if isinstance(rows, pa.Table) else pa.table(pl.DataFrame(rows).to_arrow())
    assert sorted(frame["id"].to_pylist()) == [row["id"] for row in ROWS]


def folder_of(server: LocalZerobus, table: str) -> str:
    """Where the tables are, for any of them."""
    path = str(server.catalog.table(table).path)
    return path.replace(table.rpartition(".")[2], "{table}")


DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.Table.from_pydict, pa.RecordBatch.from_pydict])
@pytest.mark.parametrize("partitions", [DAYS, dg.StaticPartitionsDefinition(["2026-01-01", "2026-01-02"])])
def test_a_frame_over_several_partitions_is_split_by_the_column_that_partition_expr_names(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, make: Any, partitions: dg.PartitionsDefinition
) -> None:
    name = f"{table}_by_day"
    server.create_table(f"CREATE TABLE {name} (id BIGINT, day DATE)")
    loaded = []
    metadata = {"table": name, "partition_expr": "day"}

    @dg.asset(
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata=metadata,
        io_manager_key="zerobus_io",
    )
    def flights() -> Any:
        first, second = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
        return make({"id": [1, 2, 3], "day": [first, second, second]})

    @dg.asset(partitions_def=partitions)
    def report(flights: pa.Table) -> None:
        loaded.extend(flights["id"].to_pylist())

    manager = ZerobusIOManager(zerobus=zerobus, delta_uri=folder_of(server, name))
    resources = {"zerobus_io": manager}
    tags = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-02"}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([flights], resources=resources, tags=tags, instance=instance)
        acked = {
            event.partition: event.metadata["dagster-zerobus/rows_acked"].value
            for event in result.asset_materializations_for_node("flights")
        }
        assert acked == {"2026-01-01": 1, "2026-01-02": 2}
        one = dg.materialize(
            [flights, report], selection=[report], resources=resources, partition_key="2026-01-02", instance=instance
        )
    assert one.success
    assert sorted(loaded) == [2, 3]


def test_rows_of_a_frame_that_are_of_no_partition_are_refused_before_anything_is_sent(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset(
        partitions_def=dg.StaticPartitionsDefinition(["UA", "AA"]),
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata={"table": table, "partition_expr": "carrier"},
        io_manager_key="zerobus_io",
    )
    def flights() -> pd.DataFrame:
        return pd.DataFrame({"id": [1, 2, 3], "carrier": ["UA", "DL", None]})

    tags = {"dagster/asset_partition_range_start": "UA", "dagster/asset_partition_range_end": "AA"}
    resources = {"zerobus_io": ZerobusIOManager(zerobus=zerobus)}
    result = dg.materialize([flights], resources=resources, tags=tags, raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "2 rows of the frame belong to none of the run's partitions" in str(
        failed.step_failure_data.user_failure_data
    )
    assert server.read(table).num_rows == 0


def asset_with(metadata: dict[str, Any], **options: Any) -> dg.AssetsDefinition:
    def flights() -> list[dict[str, Any]]:
        return ROWS

    return dg.asset(flights, metadata=metadata, io_manager_key="zerobus_io", **options)


@dg.asset(io_manager_key="zerobus_io", metadata={"table": "main.default.flights"})
def nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("asset", "problem"),
    [
        (asset_with({"table": "main.default.flights", "write_mode": "overwrite"}), "write_mode must be"),
        (asset_with({"table": "main.default.flights", "ingest_options": {"stream": 4}}), "no such ingest option"),
        (asset_with({"table": "main.default.flights", "partition_expr": "day"}), "has a partition_expr but no"),
        (asset_with({"table": "main.default.flights", "dagster/table_name": "main.default.other"}), "different tables"),
        (asset_with({}), "no catalog and no schema"),
        (nothing, "annotated to return None"),
    ],
)
def test_mistakes_of_assets_are_refused_when_definitions_are_loaded(
    zerobus: ZerobusResource, asset: dg.AssetsDefinition, problem: str
) -> None:
    definitions = dg.Definitions(assets=[asset], resources={"zerobus_io": ZerobusIOManager(zerobus=zerobus)})
    with pytest.raises(ConfigurationError, match=problem):
        check_definitions(definitions)


def test_definitions_without_mistakes_are_returned_as_they_are(zerobus: ZerobusResource) -> None:
    asset = asset_with({"table": "flights", "schema": "default", "dagster/table_name": "main.default.flights"})
    definitions = dg.Definitions(
        assets=[asset, dg.AssetSpec("other")],
        resources={"zerobus_io": ZerobusIOManager(zerobus=zerobus, catalog="main")},
    )
    assert check_definitions(definitions) is definitions
    dg.Definitions.validate_loadable(definitions)
