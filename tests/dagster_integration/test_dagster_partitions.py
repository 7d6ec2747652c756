"""Partitions: one, a range in one run, and what each of them receives."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from zerobus_dagster import ZerobusIOManager, ZerobusResource
from zerobus_local import LocalZerobus

MONTHS = dg.StaticPartitionsDefinition(["jan", "feb", "mar"])
RANGE = {"dagster/asset_partition_range_start": "jan", "dagster/asset_partition_range_end": "mar"}


def rows(month: str, count: int) -> list[dict[str, Any]]:
    return [{"id": n, "carrier": month, "delay": 0.0} for n in range(count)]


BY_MONTH = {"jan": rows("jan", 10), "feb": rows("feb", 20), "mar": rows("mar", 30)}


def acked_by_partition(result: dg.ExecuteInProcessResult) -> dict[str | None, Any]:
    events = result.asset_materializations_for_node("flights")
    return {event.partition: event.metadata["dagster-zerobus/rows_acked"].value for event in events}


@pytest.fixture
def resources(zerobus: ZerobusResource) -> dict[str, Any]:
    return {"zerobus": zerobus, "io_manager": ZerobusIOManager(zerobus=zerobus)}


def by_resource(table: str) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        records = {month: BY_MONTH[month] for month in context.partition_keys}
        return zerobus.ingest(context, table, records)

    return flights


def by_io_manager(table: str) -> dg.AssetsDefinition:
    @dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run(), metadata={"table": table})
    def flights(context: dg.AssetExecutionContext) -> dict[str, Any]:
        return {month: BY_MONTH[month] for month in context.partition_keys}

    return flights


@pytest.mark.parametrize("asset", [by_resource, by_io_manager])
@pytest.mark.parametrize(
    ("run", "expected"),
    [({"partition_key": "feb"}, {"feb": 20}), ({"tags": RANGE}, {"jan": 10, "feb": 20, "mar": 30})],
    ids=["one", "range"],
)
def test_each_partition_gets_the_figures_of_its_own_records(
    server: LocalZerobus, table: str, resources: dict[str, Any], asset: Any, run: Any, expected: dict[str, int]
) -> None:
    result = dg.materialize([asset(table)], resources=resources, **run)
    assert acked_by_partition(result) == expected
    carriers = server.read(table)["carrier"].to_pylist()
    assert {month: carriers.count(month) for month in set(carriers)} == expected


def test_records_that_are_not_told_apart_are_reported_once_for_the_whole_range(
    server: LocalZerobus, table: str, resources: dict[str, Any]
) -> None:
    @dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, [row for month in context.partition_keys for row in BY_MONTH[month]])

    result = dg.materialize([flights], resources=resources, tags=RANGE)
    assert acked_by_partition(result) == {"jan": 60, "feb": 60, "mar": 60}
    events = result.asset_materializations_for_node("flights")
    assert {event.metadata["dagster-zerobus/partitions"].value for event in events} == {"jan...mar (3)"}
    assert server.read(table).num_rows == 60


def test_a_mapping_that_lacks_a_partition_is_refused_before_anything_is_sent(
    server: LocalZerobus, table: str, resources: dict[str, Any]
) -> None:
    @dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, {"jan": BY_MONTH["jan"], "may": []})

    with pytest.raises(dg.Failure, match=r"missing keys: \['feb', 'mar'\]; keys that are not in this run: \['may'\]"):
        dg.materialize([flights], resources=resources, tags=RANGE)
    assert server.read(table).num_rows == 0


def test_a_partition_that_fails_leaves_none_materialized_and_a_retry_sends_the_rest(
    server: LocalZerobus, table: str, resources: dict[str, Any]
) -> None:
    @dg.asset(
        partitions_def=MONTHS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        if context.retry_number == 0:
            server.faults.add(action="refuse_open", table=table, stream=[2, 3, 4])
        else:
            server.faults.clear()
        return zerobus.ingest(context, table, dict(BY_MONTH), options={"source_version": "1"})

    result = dg.materialize([flights], resources=resources, tags=RANGE)
    skipped = {
        event.partition: event.metadata["dagster-zerobus/rows_skipped"].value
        for event in result.asset_materializations_for_node("flights")
    }
    assert skipped == {"jan": 10, "feb": 0, "mar": 0}
    assert server.read(table).num_rows == 60


def test_a_partition_in_two_dimensions_is_delivered_under_its_own_key(
    server: LocalZerobus, table: str, resources: dict[str, Any]
) -> None:
    months_and_places = dg.MultiPartitionsDefinition(
        {"month": MONTHS, "place": dg.StaticPartitionsDefinition(["EWR", "JFK"])}
    )

    @dg.asset(partitions_def=months_and_places)
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        assert isinstance(context.partition_key, dg.MultiPartitionKey)
        return zerobus.ingest(context, table, BY_MONTH[context.partition_key.keys_by_dimension["month"]])

    key = dg.MultiPartitionKey({"month": "feb", "place": "JFK"})
    result = dg.materialize([flights], resources=resources, partition_key=key)
    assert acked_by_partition(result) == {"feb|JFK": 20}
    assert server.read(table).num_rows == 20


def test_a_partition_that_was_delivered_can_be_refused_and_another_still_goes(
    server: LocalZerobus,
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
) -> None:
    resources = {"zerobus": zerobus_with(on_rematerialize="refuse")}
    asset = by_resource(table)
    assert dg.materialize([asset], resources=resources, instance=instance, partition_key="jan").success
    assert dg.materialize([asset], resources=resources, instance=instance, partition_key="feb").success
    with pytest.raises(dg.Failure, match="partition jan of flights was delivered by run"):
        dg.materialize([asset], resources=resources, instance=instance, tags=RANGE)
    assert server.read(table).num_rows == 30


@pytest.mark.parametrize(
    ("on_rematerialize", "counts"), [("refuse", {"jan": 10, "feb": 20, "mar": 30}), ("append", {})]
)
def test_the_row_count_of_a_partition_is_reported_if_no_row_can_be_there_twice(
    table: str, zerobus_with: Callable[..., ZerobusResource], on_rematerialize: str, counts: dict[str, int]
) -> None:
    resources = {"zerobus": zerobus_with(on_rematerialize=on_rematerialize)}
    result = dg.materialize([by_resource(table)], resources=resources, tags=RANGE)
    events = result.asset_materializations_for_node("flights")
    key = "dagster/partition_row_count"
    assert {event.partition: event.metadata[key].value for event in events if key in event.metadata} == counts


@pytest.mark.parametrize("are_told_apart", [True, False], ids=["a mapping", "one source"])
def test_partitions_that_a_failed_run_over_a_range_left_rows_of_are_refused(
    server: LocalZerobus,
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    are_told_apart: bool,
) -> None:
    bad = {"id": None, "carrier": "mar", "delay": 0.0}
    by_month = {**BY_MONTH, "mar": [*rows("mar", 15), bad]}
    together = [row for month in by_month.values() for row in month]

    @dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        if context.has_partition_key:
            return zerobus.ingest(context, table, BY_MONTH[context.partition_key])
        options = {"batch_rows": 5}
        return zerobus.ingest(context, table, dict(by_month) if are_told_apart else together, options=options)

    def run(**options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize([flights], resources=resources, instance=instance, **options)

    resources = {"zerobus": zerobus_with(on_rematerialize="refuse")}
    with pytest.raises(dg.Failure, match="row 15, field id" if are_told_apart else "row 45, field id"):
        run(tags=RANGE)
    delivered = server.read(table).num_rows
    assert delivered >= 30
    with pytest.raises(dg.Failure, match="delivered some rows of partition jan of flights"):
        run(partition_key="jan")
    with pytest.raises(dg.Failure, match="delivered some rows of partition mar of flights"):
        run(partition_key="mar")
    assert server.read(table).num_rows == delivered


def test_a_partition_is_not_refused_for_the_rows_of_another(
    server: LocalZerobus, table: str, zerobus_with: Callable[..., ZerobusResource], instance: dg.DagsterInstance
) -> None:
    @dg.asset(partitions_def=MONTHS)
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        result = zerobus.ingest(context, table, BY_MONTH[context.partition_key])
        if context.partition_key == "jan":
            raise RuntimeError("after the delivery")
        return result

    resources = {"zerobus": zerobus_with(on_rematerialize="refuse")}
    with pytest.raises(RuntimeError, match="after the delivery"):
        dg.materialize([flights], resources=resources, instance=instance, partition_key="jan")
    assert dg.materialize([flights], resources=resources, instance=instance, partition_key="feb").success
    with pytest.raises(dg.Failure, match="delivered some rows of partition jan"):
        dg.materialize([flights], resources=resources, instance=instance, partition_key="jan")
    assert server.read(table).num_rows == 30


def test_the_keys_of_rows_are_others_in_each_partition_whatever_the_user_names_the_delivery(
    server: LocalZerobus, zerobus: ZerobusResource
) -> None:
    table = "main.default.keyed_partitions"
    server.create_table(f"CREATE TABLE {table} (id BIGINT, delivery STRING, number BIGINT)")
    columns = {"delivery_id": "delivery", "row_number": "number"}

    @dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        options = {"delivery_columns": columns, "delivery_name": "air", "source_version": "1"}
        return zerobus.ingest(context, table, {month: [{"id": 1}] for month in context.partition_keys}, options=options)

    assert dg.materialize([flights], resources={"zerobus": zerobus}, tags=RANGE).success
    keys = server.read(table).select(["delivery", "number"]).to_pylist()
    assert len({tuple(key.values()) for key in keys}) == 3
