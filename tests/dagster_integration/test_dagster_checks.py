"""build_zerobus_delivery_check: what it says about deliveries that were, and about none."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from deltalake import DeltaTable

from zerobus_core import ingest
from zerobus_dagster import ZerobusResource, build_zerobus_delivery_check, delta_row_count
from zerobus_dagster.checks import receipts_to_check
from zerobus_local import LocalZerobus

ROWS = [{"id": n, "carrier": "UA", "delay": n / 2} for n in range(100)]


def check_of(asset: Any, checks: list[Any], zerobus: ZerobusResource, **options: Any) -> dg.AssetCheckEvaluation:
    result = dg.materialize([asset, *checks], resources={"zerobus": zerobus}, **options)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def flights_in(table: str) -> dg.AssetsDefinition:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    return flights


@pytest.mark.parametrize(
    ("bounds", "problem"),
    [
        ({}, None),
        ({"min_rows": 100, "max_rows": 100}, None),
        ({"min_rows": 101}, "100 rows were read, fewer than 101"),
        ({"max_rows": 99}, "100 rows were read, more than 99"),
    ],
)
def test_the_check_holds_the_rows_of_the_delivery_against_the_bounds(
    table: str, zerobus: ZerobusResource, bounds: dict[str, int], problem: str | None
) -> None:
    flights = flights_in(table)
    evaluation = check_of(flights, [build_zerobus_delivery_check(flights, **bounds)], zerobus)
    assert evaluation.passed == (problem is None)
    assert evaluation.description == (problem or "every row that was read is durable")
    assert evaluation.metadata["dagster-zerobus/rows_acked"].value == 100
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR


def test_an_asset_without_a_delivery_does_not_pass(zerobus: ZerobusResource) -> None:
    @dg.asset
    def flights() -> None: ...

    check = build_zerobus_delivery_check("flights", severity=dg.AssetCheckSeverity.WARN)
    evaluation = check_of(flights, [check], zerobus)
    assert not evaluation.passed
    assert evaluation.description == "flights has no delivery through Zerobus yet"
    assert evaluation.severity == dg.AssetCheckSeverity.WARN


@pytest.mark.parametrize(("allowed", "passed"), [(0, False), (1, True)])
def test_rows_in_the_dead_letter_file_are_told(
    table: str, zerobus: ZerobusResource, tmp_path: Any, allowed: int, passed: bool
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        options = {"on_bad_record": "dead_letter", "dead_letter_uri": str(tmp_path / "bad.jsonl")}
        return zerobus.ingest(context, table, [*ROWS, {"id": "no number"}], options=options)

    evaluation = check_of(flights, [build_zerobus_delivery_check(flights, max_dead_lettered=allowed)], zerobus)
    assert evaluation.passed is passed
    assert evaluation.metadata["dagster-zerobus/rows_dead_lettered"].value == 1


def test_a_check_run_alone_looks_at_the_last_delivery(
    table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    flights = flights_in(table)
    check = build_zerobus_delivery_check(flights, min_rows=100)
    assert dg.materialize([flights], resources={"zerobus": zerobus}, instance=instance).success
    alone = dg.materialize(
        [flights, check], instance=instance, resources={"zerobus": zerobus}, selection=dg.AssetSelection.checks(check)
    )
    (evaluation,) = alone.get_asset_check_evaluations()
    assert evaluation.passed


def test_a_delivery_over_a_range_of_partitions_counts_once(table: str, zerobus: ZerobusResource) -> None:
    months = dg.StaticPartitionsDefinition(["jan", "feb", "mar"])

    @dg.asset(partitions_def=months, backfill_policy=dg.BackfillPolicy.single_run())
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    tags = {"dagster/asset_partition_range_start": "jan", "dagster/asset_partition_range_end": "mar"}
    evaluation = check_of(flights, [build_zerobus_delivery_check(flights, min_rows=101)], zerobus, tags=tags)
    assert evaluation.description == "3 partitions together: 100 rows were read, fewer than 101"
    assert evaluation.metadata["dagster-zerobus/rows_read"].value == 100
    assert evaluation.metadata["dagster-zerobus/deliveries"].value == 1


def test_all_deliveries_of_the_step_count_together(table: str, zerobus: ZerobusResource, tmp_path: Any) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        options = {"on_bad_record": "dead_letter", "dead_letter_uri": str(tmp_path / "bad.jsonl")}
        zerobus.ingest(context, table, [*ROWS, {"id": "no number"}], options=options)
        return zerobus.ingest(context, table, [])

    evaluation = check_of(flights, [build_zerobus_delivery_check(flights, min_rows=101, max_rows=101)], zerobus)
    assert not evaluation.passed
    assert evaluation.description == "1 row went to the dead-letter file (max_dead_lettered is 0)"
    assert evaluation.metadata["dagster-zerobus/deliveries"].value == 2
    allowed = build_zerobus_delivery_check(flights, max_dead_lettered=1)
    evaluation = check_of(flights, [allowed], zerobus)
    assert evaluation.passed
    assert evaluation.description == "every row that was read is durable, except 1 in the dead-letter file"


def test_a_delivery_to_another_table_counts_whichever_result_the_step_returns(
    table: str, zerobus: ZerobusResource, server: LocalZerobus, tmp_path: Any
) -> None:
    server.create_table(f"CREATE TABLE {table}_audit (id BIGINT NOT NULL)")

    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        options = {"on_bad_record": "dead_letter", "dead_letter_uri": str(tmp_path / "bad.jsonl")}
        result = zerobus.ingest(context, table, ROWS)
        zerobus.ingest(context, f"{table}_audit", [{"id": 1}, {"id": "no number"}], options=options)
        return result

    evaluation = check_of(flights, [build_zerobus_delivery_check(flights)], zerobus)
    assert not evaluation.passed
    assert evaluation.metadata["dagster-zerobus/rows_read"].value == 102


def test_a_check_run_alone_looks_past_what_was_reported_by_hand(
    table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    flights = flights_in(table)
    check = build_zerobus_delivery_check(flights, min_rows=100)
    assert dg.materialize([flights], resources={"zerobus": zerobus}, instance=instance).success
    instance.report_runless_asset_event(dg.AssetMaterialization("flights", metadata={"note": "by hand"}))
    evaluation = check_of(flights, [check], zerobus, instance=instance, selection=dg.AssetSelection.checks(check))
    assert evaluation.passed
    assert evaluation.metadata["dagster-zerobus/rows_read"].value == 100


def test_a_check_run_alone_looks_at_all_partitions_of_the_last_run(
    table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    @dg.asset(
        partitions_def=dg.StaticPartitionsDefinition(["jan", "feb"]), backfill_policy=dg.BackfillPolicy.single_run()
    )
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        zerobus.ingest(context, table, {"jan": ROWS, "feb": []})
        return zerobus.ingest(context, table, ROWS[:1])

    check = build_zerobus_delivery_check(flights, min_rows=2)
    tags = {"dagster/asset_partition_range_start": "jan", "dagster/asset_partition_range_end": "feb"}
    result = dg.materialize([flights], resources={"zerobus": zerobus}, instance=instance, tags=tags)
    # The last delivery is of both months, and shows in each of them.
    assert {
        event.partition: event.metadata["dagster-zerobus/rows_read"].value
        for event in result.asset_materializations_for_node("flights")
    } == {"jan": 101, "feb": 1}
    evaluation = check_of(flights, [check], zerobus, instance=instance, selection=dg.AssetSelection.checks(check))
    assert evaluation.description == "partition feb: 1 row was read, fewer than 2"
    assert evaluation.metadata["dagster-zerobus/rows_read"].value == 101
    assert evaluation.metadata["dagster-zerobus/deliveries"].value == 3


def test_a_step_that_was_tried_again_after_its_materialization_counts_once(
    table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> Iterator[dg.MaterializeResult]:
        yield zerobus.ingest(context, table, ROWS)
        if context.retry_number == 0:
            raise RuntimeError("after the materialization")

    evaluation = check_of(flights, [build_zerobus_delivery_check(flights, max_rows=100)], zerobus)
    assert evaluation.passed
    assert evaluation.metadata["dagster-zerobus/rows_read"].value == 100
    assert evaluation.metadata["dagster-zerobus/rows_skipped"].value == 100


@pytest.mark.slow
def test_more_partitions_than_dagster_tells_of_at_once_are_all_counted(
    table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2020-01-01"))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS[:1])

    resources = {"zerobus": zerobus}
    before = dg.materialize([flights], resources=resources, instance=instance, partition_key="2025-01-01")
    with dg.build_asset_context() as context:
        receipt = (zerobus.ingest(context, table, ROWS).metadata or {})["dagster-zerobus/receipt"].value
    days = dg.DailyPartitionsDefinition("2020-01-01").get_partition_keys()[:1_001]
    for day in days:
        own = dg.MetadataValue.json({**receipt, "started_at": day})
        event = dg.AssetMaterialization("flights", partition=day, metadata={"dagster-zerobus/receipt": own})
        instance.report_runless_asset_event(event)
    check = build_zerobus_delivery_check(flights, min_rows=100, max_rows=100)
    evaluation = check_of(flights, [check], zerobus, instance=instance, selection=dg.AssetSelection.checks(check))
    assert evaluation.passed
    assert evaluation.metadata["dagster-zerobus/deliveries"].value == 1_001
    assert evaluation.metadata["dagster-zerobus/rows_read"].value == 100_100
    strict = build_zerobus_delivery_check(flights, max_rows=99)
    evaluation = check_of(flights, [strict], zerobus, instance=instance, selection=dg.AssetSelection.checks(strict))
    assert "partition 2022-09-27: 100 rows were read, more than 99" in (evaluation.description or "")
    assert (evaluation.description or "").endswith("; and 981 more")
    # A check looks at its own run, however many deliveries of other runs came after it.
    assert list(receipts_to_check(instance, before.run_id, flights.key)) == ["2025-01-01"]


def test_an_asset_may_have_several_checks_with_names_and_one_that_blocks(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    made = []

    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, [{"id": 1}])

    @dg.asset(deps=[flights])
    def report() -> None:
        made.append(True)

    small = build_zerobus_delivery_check(flights, name="not_too_many", description="At most ten rows.", max_rows=10)
    large = build_zerobus_delivery_check(flights, name="enough_rows", min_rows=2, blocking=True)
    result = dg.materialize([flights, report, small, large], resources={"zerobus": zerobus}, raise_on_error=False)
    outcome = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert outcome == {"not_too_many": True, "enough_rows": False}
    assert {spec.description for spec in small.check_specs} == {"At most ten rows."}
    assert made == []


@pytest.mark.parametrize(
    ("others", "is_only_writer", "problem"),
    [
        (0, False, ""),
        (0, True, ""),
        (5, False, ""),
        (5, True, "the table holds 105 rows, more than the 100 that were delivered"),
        (-5, False, "the table holds 95 rows, fewer than the 100 that are durable"),
    ],
)
def test_the_delivery_is_compared_with_the_rows_of_the_table_itself(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, others: int, is_only_writer: bool, problem: str
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        result = zerobus.ingest(context, table, [{"id": n} for n in range(100)])
        if others > 0:
            ingest(server.workspace, table, [{"id": n} for n in range(others)])
        if others < 0:
            DeltaTable(server.catalog.table(table).path).delete(f"id < {-others}")
        return result

    check = build_zerobus_delivery_check(
        flights, row_count=delta_row_count(str(server.catalog.table(table).path)), is_only_writer=is_only_writer
    )
    result = dg.materialize([flights, check], resources={"zerobus": zerobus}, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed == (not problem)
    assert problem in (evaluation.description or "")
    assert evaluation.metadata["dagster-zerobus/rows_in_table"].value == 100 + others
