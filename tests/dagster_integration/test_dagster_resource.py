"""ZerobusResource in real runs against the local service: the gate, the events, the errors."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from zerobus_core import ConfigurationError, IngestOptions
from zerobus_dagster import ZerobusCredentials, ZerobusIngestConfig, ZerobusIOManager, ZerobusResource
from zerobus_local import LocalZerobus

ROWS = [{"id": n, "carrier": "UA", "delay": n / 2} for n in range(100)]


def run(asset: dg.AssetsDefinition, zerobus: ZerobusResource, **options: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset], resources={"zerobus": zerobus}, raise_on_error=False, **options)


def failure_of(result: dg.ExecuteInProcessResult) -> Any:
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    return failed.step_failure_data


def materializations(result: dg.ExecuteInProcessResult) -> list[dg.DagsterEvent]:
    return [event for event in result.all_events if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION]


def job_of(asset: dg.AssetsDefinition, zerobus: ZerobusResource) -> dg.JobDefinition:
    definitions = dg.Definitions(assets=[asset], resources={"zerobus": zerobus}, executor=dg.in_process_executor)
    return definitions.resolve_implicit_global_asset_job_def()


def re_execute(
    job: dg.JobDefinition,
    failed: dg.ExecuteInProcessResult,
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    **facts: Any,
) -> bool:
    """Whether the run succeeds when it is re-executed as the UI does it."""
    again = instance.create_run_for_job(job, parent_run_id=failed.run_id, root_run_id=failed.run_id, tags=tags, **facts)
    execute_run(InMemoryJob(job), again, instance)
    return instance.get_runs(dg.RunsFilter(run_ids=[again.run_id]))[0].is_success


def ids(server: LocalZerobus, table: str) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


def test_an_asset_is_materialized_with_its_receipt_when_its_rows_are_in_the_table(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    result = run(flights, zerobus)
    assert result.success
    assert server.read(table).sort_by("id").to_pylist() == ROWS
    (materialization,) = result.asset_materializations_for_node("flights")
    plain = {key: value.value for key, value in materialization.metadata.items()}
    assert plain["dagster/table_name"] == table
    assert plain["dagster/storage_kind"] == "databricks"
    assert plain["dagster-zerobus/rows_read"] == plain["dagster-zerobus/rows_acked"] == 100
    assert plain["dagster-zerobus/rows_skipped"] == plain["dagster-zerobus/rows_resent"] == 0
    assert plain["dagster-zerobus/receipt"]["rows_acked"] == 100
    assert "dagster/row_count" not in plain
    columns = plain["dagster/column_schema"].columns
    assert [(c.name, c.type, c.constraints.nullable) for c in columns] == [
        ("id", "BIGINT", False),
        ("carrier", "STRING", True),
        ("delay", "DOUBLE", True),
    ]
    assert columns[1].description == "IATA code"


def test_an_op_pushes_and_gets_the_figures(server: LocalZerobus, table: str, zerobus: ZerobusResource) -> None:
    seen = []

    @dg.op
    def push(context: dg.OpExecutionContext, zerobus: ZerobusResource) -> None:
        seen.append(zerobus.ingest(context, table, ROWS).metadata)

    @dg.job(resource_defs={"zerobus": zerobus})
    def push_job() -> None:
        push()

    assert push_job.execute_in_process().success
    assert seen[0]["dagster-zerobus/rows_acked"] == 100
    assert ids(server, table) == list(range(100))


@pytest.mark.parametrize("annotation", [dict, dict[str, Any], dg.MaterializeResult, dg.MaterializeResult[Any], Any])
def test_an_op_may_return_the_result_of_its_delivery(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, tmp_path: Path, annotation: Any
) -> None:
    def push(context, zerobus: ZerobusResource):
        return zerobus.ingest(context, table, ROWS)

    push.__annotations__["return"] = annotation

    @dg.op
    def look(receipt: Any) -> int:
        return receipt["rows_acked"]

    @dg.job(resource_defs={"zerobus": zerobus, "io_manager": dg.FilesystemIOManager(base_dir=str(tmp_path))})
    def push_job() -> None:
        look(dg.op(push)())

    result = push_job.execute_in_process(raise_on_error=False)
    assert result.success
    assert result.output_for_node("look") == 100
    assert ids(server, table) == list(range(100))


def test_an_asset_function_can_be_called_directly_in_a_unit_test(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    with dg.build_asset_context() as context:
        result = flights(context, zerobus)
        outside_of_an_asset = zerobus.ingest(context, table, ROWS[:1])
    assert result.metadata["dagster-zerobus/rows_acked"] == 100
    assert result.asset_key == dg.AssetKey("flights")
    assert outside_of_an_asset.asset_key is None
    assert len(ids(server, table)) == 101


def test_a_step_with_several_assets_says_which_one_it_delivers(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec("early"), dg.AssetSpec("late")])
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> Iterator[dg.MaterializeResult]:
        yield zerobus.ingest(context, table, ROWS[:60], asset_key="early")
        yield zerobus.ingest(context, table, ROWS[60:], asset_key="late")

    result = run(flights, zerobus)
    assert result.success
    assert {e.asset_key.to_user_string() for e in materializations(result) if e.asset_key} == {"early", "late"}
    assert ids(server, table) == list(range(100))


@pytest.mark.parametrize(
    ("asset_key", "text"), [(None, "set asset_key to one of early, late"), ("middle", "not one of this step's assets")]
)
def test_a_wrong_or_missing_asset_key_is_refused_before_anything_is_sent(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, asset_key: str | None, text: str
) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec("early"), dg.AssetSpec("late")])
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> Iterator[dg.MaterializeResult]:
        yield zerobus.ingest(context, table, ROWS, asset_key=asset_key)

    result = run(flights, zerobus)
    description = failure_of(result).user_failure_data.description
    assert text in description
    assert "early, late" in description
    assert ids(server, table) == []


def test_a_bad_row_fails_the_step_naming_row_and_field_and_is_not_tried_again(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    tries = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=3))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        tries.append(context.retry_number)
        return zerobus.ingest(context, table, [*ROWS[:5], {"id": 5, "carrier": "UA", "delay": "late"}])

    result = run(flights, zerobus)
    assert not result.success
    assert tries == [0]
    assert materializations(result) == []
    failure = failure_of(result).user_failure_data
    assert "row 5, field delay" in failure.description
    plain = {key: value.value for key, value in failure.metadata.items()}
    assert plain["dagster-zerobus/error"] == "RecordError"
    assert plain["dagster/table_name"] == table
    (bad,) = plain["dagster-zerobus/bad_fields"]
    assert (bad["row"], bad["field"]) == (5, "delay")


def test_an_acknowledgement_that_never_comes_leaves_no_materialization(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    server.faults.add(action="withhold_ack", table=table)

    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS, options={"ack_timeout": 0.5, "timeout": 3.0})

    result = run(flights, zerobus)
    assert not result.success
    assert materializations(result) == []
    # Not a Failure: an error that another try can fix leaves as it is, and a RetryPolicy would apply.
    assert failure_of(result).user_failure_data is None
    assert "IngestTimeoutError" in str(failure_of(result).error)


def test_a_retry_sends_only_the_rows_that_are_missing(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    # Batches of ten rows; the stream dies for good at the sixth, and the second try finds it repaired.
    rule = server.faults.add(action="fail", table=table, message=5, status="UNAVAILABLE")
    refuse = server.faults.add(action="refuse_open", table=table, stream=[2, 3, 4, 5, 6, 7, 8])
    options = {"batch_rows": 10, "max_unacked_bytes": 1, "source_version": "1"}  # one batch at a time

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        if context.retry_number == 1:
            server.faults.remove(rule)
            server.faults.remove(refuse)
        return zerobus.ingest(context, table, ROWS, options=options)

    result = run(flights, zerobus)
    assert result.success
    (materialization,) = result.asset_materializations_for_node("flights")
    receipt = materialization.metadata["dagster-zerobus/receipt"].value
    assert 0 < receipt["rows_skipped"] < 100
    assert receipt["rows_skipped"] + receipt["rows_acked"] == 100
    assert ids(server, table) == list(range(100))
    assert receipt["resumed_from"]


def test_a_resumed_step_says_what_it_resumes_and_checkpoints_can_be_files(
    server: LocalZerobus,
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    tmp_path: Path,
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        result = zerobus.ingest(context, table, iter(ROWS), options={"source_version": "1", "batch_rows": 10})
        if context.retry_number == 0:
            raise RuntimeError("after the delivery")
        return result

    result = run(flights, zerobus_with(checkpoint_uri=str(tmp_path / "checkpoints")), instance=instance)
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_skipped"].value == 100
    assert ids(server, table) == list(range(100))
    assert instance.fetch_observations(dg.AssetKey("flights"), limit=10).records == []
    log = [entry.user_message for entry in instance.all_logs(result.run_id)]
    (resumed,) = [line for line in log if "this is a retry of the step" in line]
    assert "100 rows of the delivery are durable" in resumed


def test_a_short_delivery_leaves_one_observation_so_that_plots_show_many_materializations(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, iter(ROWS), options={"source_version": "1"})

    for number in range(1, 4):
        assert run(flights, zerobus, instance=instance).success
        assert len(instance.fetch_observations(dg.AssetKey("flights"), limit=100).records) == number
    assert server.read(table).num_rows == 300


def test_a_step_that_is_interrupted_says_what_is_durable_and_what_to_do(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from ROWS
        deadline = time.monotonic() + 60
        while server.read(table).num_rows < 50 and time.monotonic() < deadline:
            time.sleep(0.3)
            yield {"id": 100, "carrier": "UA", "delay": 0.0}
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, rows(), options={"source_version": "1", "batch_rows": 10})

    result = run(flights, zerobus, instance=instance)
    assert not result.success
    log = [entry.user_message for entry in instance.all_logs(result.run_id)]
    (stopped,) = [line for line in log if "stopped, " in line]
    durable = server.read(table).num_rows
    assert stopped == f"{table}: stopped, {durable} rows are durable; re-execute the run from failure to send the rest"


def test_rows_of_a_try_that_was_never_connected_are_not_taken_for_sent_twice(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    rule = server.faults.add(action="refuse_open", table=table, status="UNAVAILABLE")

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        if context.retry_number == 1:
            server.faults.remove(rule)
        return zerobus.ingest(context, table, ROWS)

    result = run(flights, zerobus)
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/rows_acked"].value == 100
    assert materialization.metadata["dagster-zerobus/rows_resent"].value == 0
    assert ids(server, table) == list(range(100))


def test_a_source_that_changed_between_tries_is_sent_from_its_first_row_and_the_log_says_why(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        result = zerobus.ingest(context, table, ROWS, options={"source_version": str(context.retry_number)})
        if context.retry_number == 0:
            raise RuntimeError("after the delivery")
        return result

    result = run(flights, zerobus, instance=instance)
    assert result.success
    assert len(ids(server, table)) == 200
    messages = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert any("starting at the first row: the source has changed" in message for message in messages)


@pytest.mark.parametrize("are_files", [False, True], ids=["in the event log", "in files"])
def test_a_retry_of_a_source_without_a_fingerprint_admits_every_row_that_it_sends_again(
    server: LocalZerobus,
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    tmp_path: Path,
    are_files: bool,
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        result = zerobus.ingest(context, table, iter(ROWS), options={"batch_rows": 10})
        if context.retry_number < 2:
            raise RuntimeError("after the delivery")
        return result

    place = {"checkpoint_uri": str(tmp_path / "checkpoints")} if are_files else {}
    result = run(flights, zerobus_with(**place), instance=instance)
    (materialization,) = result.asset_materializations_for_node("flights")
    assert len(ids(server, table)) == 300
    receipt = materialization.metadata["dagster-zerobus/receipt"].value
    assert (receipt["rows_resent"], receipt["rows_skipped"]) == (200, 0)
    assert "no fingerprint" in receipt["started_over"]


def test_without_resume_a_retry_sends_every_row(
    server: LocalZerobus, table: str, zerobus_with: Callable[..., ZerobusResource]
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        result = zerobus.ingest(context, table, ROWS, options={"source_version": "1"})
        if context.retry_number == 0:
            raise RuntimeError("after the delivery")
        return result

    assert run(flights, zerobus_with(resume="never")).success
    assert len(ids(server, table)) == 200


def test_the_key_of_a_row_is_the_same_in_all_tries_and_another_one_when_it_is_asked_for_anew(
    server: LocalZerobus, zerobus_with: Callable[..., ZerobusResource], instance: dg.DagsterInstance
) -> None:
    table = "main.default.keyed"
    server.create_table(f"CREATE TABLE {table} (id BIGINT, delivery STRING, number BIGINT)")
    columns = {"delivery_id": "delivery", "row_number": "number"}

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def keyed(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        result = zerobus.ingest(context, table, [{"id": 1}, {"id": 2}], options={"delivery_columns": columns})
        if context.retry_number == 0:
            raise RuntimeError("after the delivery")
        return result

    def keys() -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in server.read(table).select(["delivery", "number"]).to_pylist()]

    zerobus = zerobus_with(resume="never")
    assert run(keyed, zerobus, instance=instance).success
    assert (len(keys()), len(set(keys()))) == (4, 2)
    assert run(keyed, zerobus, instance=instance).success
    assert (len(keys()), len(set(keys()))) == (8, 4)


def test_a_step_that_fails_after_its_delivery_sends_nothing_again(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        zerobus.ingest(context, table, ROWS[:50], options={"source_version": "first half"})
        result = zerobus.ingest(context, table, ROWS[50:], options={"source_version": "second half"})
        if context.retry_number == 0:
            raise RuntimeError("after both deliveries")
        return result

    result = run(flights, zerobus)
    assert result.success
    assert ids(server, table) == list(range(100))


def test_two_resources_of_one_step_deliver_all_rows_of_both(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, zerobus_with: Callable[..., ZerobusResource]
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(
        context: dg.AssetExecutionContext, zerobus: ZerobusResource, other: ZerobusResource
    ) -> dg.MaterializeResult:
        options = {"source_version": "2026-11-22"}
        zerobus.ingest(context, table, iter(ROWS[:50]), options=options)
        result = other.ingest(context, table, iter(ROWS[50:]), options=options)
        if context.retry_number == 0:
            raise RuntimeError("after both deliveries")
        return result

    result = dg.materialize([flights], resources={"zerobus": zerobus, "other": zerobus_with()})
    assert ids(server, table) == list(range(100))
    (materialization,) = result.asset_materializations_for_node("flights")
    plain = {key: value.value for key, value in materialization.metadata.items()}
    assert (plain["dagster-zerobus/rows_read"], plain["dagster-zerobus/rows_skipped"]) == (100, 100)
    assert [receipt["rows_read"] for receipt in plain["dagster-zerobus/receipts"]] == [50, 50]
    assert plain["dagster-zerobus/receipt"] == plain["dagster-zerobus/receipts"][-1]


def test_threads_of_one_step_deliver_all_rows_of_each_and_a_retry_in_another_order_none_again(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> None:
        def push(n: int) -> None:
            options = {"source_version": "1", "delivery_name": f"from {n}"}
            zerobus.ingest(context, table, iter(ROWS[n : n + 25]), options=options)

        parts = range(0, 100, 25) if context.retry_number == 0 else range(75, -1, -25)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(push, parts))
        if context.retry_number == 0:
            raise RuntimeError("after all deliveries")

    result = run(flights, zerobus)
    assert result.success
    assert ids(server, table) == list(range(100))
    (materialization,) = result.asset_materializations_for_node("flights")
    receipts = materialization.metadata["dagster-zerobus/receipts"].value
    assert [receipt["rows_skipped"] for receipt in receipts] == [25] * 4


def test_threads_whose_deliveries_a_retry_could_not_tell_apart_are_refused(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> None:
        zerobus.ingest(context, table, iter(ROWS[:50]), options={"source_version": "1"})
        with ThreadPoolExecutor(1) as pool:
            pool.submit(zerobus.ingest, context, table, iter(ROWS[50:]), options={"source_version": "1"}).result()

    description = failure_of(run(flights, zerobus)).user_failure_data.description
    assert "give each delivery its own delivery_name" in description
    assert ids(server, table) == list(range(50))


def test_mapped_steps_of_one_run_deliver_all_rows_of_each_and_a_retry_none_again(
    server: LocalZerobus, table: str, zerobus: ZerobusResource
) -> None:
    @dg.op(out=dg.DynamicOut())
    def parts() -> Iterator[dg.DynamicOutput[int]]:
        yield from (dg.DynamicOutput(n, mapping_key=str(n)) for n in range(0, 100, 25))

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def push(context: dg.OpExecutionContext, zerobus: ZerobusResource, n: int) -> int:
        metadata = {}
        for first in (n, n + 10):
            rows = iter(ROWS[first : (n + 10 if first == n else n + 25)])
            metadata = dict(zerobus.ingest(context, table, rows, options={"source_version": "1"}).metadata or {})
        if context.retry_number == 0:
            raise RuntimeError("after both deliveries")
        return metadata["dagster-zerobus/rows_read"]

    @dg.job(resource_defs={"zerobus": zerobus})
    def push_job() -> None:
        parts().map(push)

    result = push_job.execute_in_process()
    assert result.output_for_node("push") == {"0": 25, "25": 25, "50": 25, "75": 25}
    assert ids(server, table) == list(range(100))


def test_an_asset_that_is_re_executed_without_its_siblings_is_taken_up_where_it_was(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec(key, skippable=True) for key in ("early", "late")], can_subset=True)
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> Iterator[dg.MaterializeResult]:
        for key, rows in (("early", ROWS[:60]), ("late", ROWS[60:])):
            if dg.AssetKey(key) in context.selected_asset_keys:
                result = zerobus.ingest(context, table, rows, asset_key=key)
                if key == "late" and not context.run.parent_run_id:
                    raise RuntimeError("after the delivery")
                yield result

    failed = run(flights, zerobus, instance=instance)
    assert not failed.success
    job = job_of(flights, zerobus)
    late = frozenset([dg.AssetKey("late")])
    # Dagster selects the assets that are not materialized, and tags the run.
    tags = {"dagster/is_asset_resume_retry": "true"}
    assert re_execute(job.get_subset(asset_selection=late), failed, instance, tags, asset_selection=late)
    assert ids(server, table) == list(range(100))


def test_materializing_again_appends_the_rows_again_unless_it_is_refused(
    server: LocalZerobus,
    table: str,
    zerobus: ZerobusResource,
    zerobus_with: Callable[..., ZerobusResource],
    sqlite_instance: dg.DagsterInstance,
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    first = run(flights, zerobus, instance=sqlite_instance)
    assert run(flights, zerobus, instance=sqlite_instance).success
    assert len(ids(server, table)) == 200
    careful = zerobus_with(on_rematerialize="refuse")
    refused = run(flights, careful, instance=sqlite_instance)
    assert not refused.success
    assert "was delivered by run" in failure_of(refused).user_failure_data.description
    assert first.success
    assert len(ids(server, table)) == 200
    sqlite_instance.wipe_assets([dg.AssetKey("flights")])
    assert run(flights, careful, instance=sqlite_instance).success
    assert len(ids(server, table)) == 300


@pytest.mark.parametrize("can_resume", [True, False], ids=["with a fingerprint", "without"])
def test_a_run_that_failed_after_some_rows_has_its_delivery_refused_but_to_a_re_execution_from_failure(
    server: LocalZerobus,
    table: str,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    can_resume: bool,
) -> None:
    bad = [{"id": 100, "carrier": "UA", "delay": "late"}]

    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        options: dict[str, Any] = {"batch_rows": 10, **({"source_version": "1"} if can_resume else {})}
        return zerobus.ingest(context, table, iter([*ROWS, *bad]), options=options)

    careful = zerobus_with(on_rematerialize="refuse", resume="retry" if can_resume else "never")
    failed = run(flights, careful, instance=instance)
    assert not failed.success
    delivered = ids(server, table)
    assert delivered
    bad.clear()
    refused = run(flights, careful, instance=instance)
    description = failure_of(refused).user_failure_data.description
    assert f"run {failed.run_id} delivered some rows of flights" in description
    assert "Re-execute that run from failure" in description
    assert ids(server, table) == delivered
    assert re_execute(job_of(flights, careful), failed, instance, {"dagster/is_resume_retry": "true"})
    assert ids(server, table) == sorted(range(100) if can_resume else [*delivered, *range(100)])


def test_a_retry_after_the_materialization_is_not_taken_for_another_delivery(
    server: LocalZerobus, table: str, zerobus_with: Callable[..., ZerobusResource]
) -> None:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> Iterator[dg.MaterializeResult]:
        yield zerobus.ingest(context, table, ROWS, options={"source_version": "1"})
        if context.retry_number == 0:
            raise RuntimeError("after the materialization")

    assert run(flights, zerobus_with(on_rematerialize="refuse")).success
    assert ids(server, table) == list(range(100))


def test_an_asset_says_of_itself_which_table_it_fills() -> None:
    @dg.asset(**ZerobusResource.asset_attributes("main.default.flights"))
    def flights() -> None: ...

    spec = flights.get_asset_spec()
    assert spec.kinds == {"databricks", "zerobus"}
    assert spec.metadata["dagster/table_name"] == "main.default.flights"
    with pytest.raises(ConfigurationError, match=r"catalog\.schema\.table"):
        ZerobusResource.asset_attributes("flights")


def test_wrong_settings_are_told_by_name_before_anything_is_sent(
    table: str, zerobus_with: Callable[..., ZerobusResource]
) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS)

    swapped = run(flights, zerobus_with(endpoint="https://adb-1.azuredatabricks.net"))
    assert "looks like a workspace URL" in failure_of(swapped).user_failure_data.description


def test_options_with_a_wrong_name_or_value_are_refused_when_definitions_are_loaded(
    zerobus: ZerobusResource, zerobus_with: Callable[..., ZerobusResource]
) -> None:
    with pytest.raises(ConfigurationError, match="no such ingest option: stream"):
        zerobus_with(options={"stream": 4})
    with pytest.raises(ConfigurationError, match="IngestOptions.streams must be"):
        zerobus_with(options={"streams": 0})
    with pytest.raises(ConfigurationError, match="no such ingest option: stream"):
        ZerobusIOManager(zerobus=zerobus, options={"stream": 4})
    with pytest.raises(ConfigurationError, match="no such ingest option: stream"):
        ZerobusIngestConfig(options={"stream": 4})
    zerobus_with(options={"on_bad_record": "dead_letter"})  # the file may be named by the asset


def test_ingest_options_replace_those_of_the_resource(table: str, zerobus: ZerobusResource) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.ingest(context, table, ROWS, options=IngestOptions(record_format="json"))

    result = run(flights, zerobus)
    (materialization,) = result.asset_materializations_for_node("flights")
    assert materialization.metadata["dagster-zerobus/receipt"].value["record_format"] == "json"


def test_a_wrong_secret_fails_without_retries_and_shows_up_nowhere(
    table: str,
    zerobus: ZerobusResource,
    zerobus_with: Callable[..., ZerobusResource],
    instance: dg.DagsterInstance,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = "dose-0123456789-wrong"
    tries = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def flights(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        tries.append(context.retry_number)
        return zerobus.ingest(context, table, ROWS)

    wrong = zerobus_with(client_secret=secret)
    result = run(flights, wrong, instance=instance)
    assert not result.success
    assert tries == [0]
    assert failure_of(result).user_failure_data.metadata["dagster-zerobus/error"].value == "AuthenticationError"
    log = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))
    assert secret not in log + caplog.text + repr(wrong) + str(wrong)


def test_the_secret_is_a_secret_to_dagster_which_masks_it_in_the_ui() -> None:
    fields = ZerobusCredentials.to_config_schema().as_field().config_type.fields
    assert {name for name, field in fields.items() if field.is_secret} == {"client_secret"}
