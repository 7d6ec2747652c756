"""Checkpoints in a real event log: what a later try finds, and what it must not find."""

from dataclasses import replace

import dagster as dg
import pytest

from zerobus_core.checkpoint import Checkpoint, CheckpointKeeper, CheckpointStore, RowsKept, SourceFacts
from zerobus_core.errors import Counts
from zerobus_core.ranges import RowRanges
from zerobus_core.schema import Field, Kind, PrimitiveType, TableSchema
from zerobus_dagster.checkpoint import ObservationCheckpointStore, tries_of
from zerobus_dagster.step import Step

TABLE = "main.default.flights"


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def store_in(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, **changes: object
) -> ObservationCheckpointStore:
    step = Step.of(context)
    assert step.attempt is not None
    facts = {"step": step, "attempt": step.attempt, "table": TABLE, "delivery": "ingest 1", **changes}
    return ObservationCheckpointStore(**facts)  # type: ignore[arg-type]  # the changes are of the right types


def checkpoint_of(store: ObservationCheckpointStore, rows: int) -> Checkpoint:
    return Checkpoint(
        table=store.table,
        table_identity="id-of-the-table",
        schema_fingerprint="sha256:a",
        source_fingerprint="sha256:b",
        epoch=store.epoch,
        durable=RowRanges([(0, rows)]),
        written_at="2026-11-22T00:00:00+00:00",
    )


def rows_of(store: ObservationCheckpointStore) -> int | None:
    checkpoint = store.load()
    return None if checkpoint is None else checkpoint.durable.rows


def run(asset: dg.AssetsDefinition, instance: dg.DagsterInstance, **options: object) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset], instance=instance, raise_on_error=False, **options)  # type: ignore[arg-type]


def test_the_store_has_the_shape_that_the_core_asks_for(instance: dg.DagsterInstance) -> None:
    shapes = []

    @dg.asset
    def flights(context: dg.AssetExecutionContext) -> None:
        shapes.append(isinstance(store_in(context), CheckpointStore))

    assert run(flights, instance).success
    assert shapes == [True]


def test_a_retry_of_the_step_finds_what_the_failed_try_saved(sqlite_instance: dg.DagsterInstance) -> None:
    found = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flights(context: dg.AssetExecutionContext) -> None:
        store = store_in(context)
        found.append((store.load(), store.epoch))
        store.save(checkpoint_of(store, rows=7))
        if context.retry_number == 0:
            raise RuntimeError("the first try fails")

    result = run(flights, sqlite_instance)
    assert result.success
    first, second = found
    assert first == (None, result.run_id)
    assert second[0].durable == RowRanges([(0, 7)])
    assert second[1] == result.run_id


def test_a_new_run_of_the_asset_starts_from_the_first_row(instance: dg.DagsterInstance) -> None:
    found = []

    @dg.asset
    def flights(context: dg.AssetExecutionContext) -> None:
        store = store_in(context)
        found.append(rows_of(store))
        store.save(checkpoint_of(store, rows=7))

    assert run(flights, instance).success
    assert run(flights, instance).success
    assert found == [None, None]


@pytest.mark.parametrize("tag", ["dagster/is_resume_retry", "dagster/is_asset_resume_retry"])
def test_a_chain_of_re_executions_from_failure_is_one_delivery_and_a_full_one_begins_another(
    instance: dg.DagsterInstance, tag: str
) -> None:
    def add(run_id: str, parent: str | None, tags: dict[str, str]) -> dg.DagsterRun:
        return instance.add_run(
            dg.DagsterRun("flights_job", run_id=run_id, parent_run_id=parent, root_run_id=parent and "1", tags=tags)
        )

    first = add("1", None, {})
    second = add("2", "1", {tag: "true"})
    third = add("3", "2", {tag: "true"})
    again = add("4", "3", {})
    assert [run.run_id for run in tries_of(third, instance)] == ["3", "2", "1"]
    assert [run.run_id for run in tries_of(second, instance)] == ["2", "1"]
    assert tries_of(first, instance) == [first]
    assert tries_of(again, instance) == [again]


def test_deliveries_to_other_tables_and_of_other_names_keep_apart(instance: dg.DagsterInstance) -> None:
    found = {}

    @dg.asset
    def flights(context: dg.AssetExecutionContext) -> None:
        store = store_in(context)
        store.save(checkpoint_of(store, rows=7))
        found["same"] = rows_of(store_in(context))
        found["other delivery"] = rows_of(store_in(context, delivery="ingest 2"))
        found["other table"] = rows_of(store_in(context, table="main.default.weather"))

    assert run(flights, instance).success
    assert found == {"same": 7, "other delivery": None, "other table": None}


def test_partitions_keep_apart_and_show_on_their_own_partition(instance: dg.DagsterInstance) -> None:
    found = []

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["jan", "feb"]))
    def flights(context: dg.AssetExecutionContext) -> None:
        store = store_in(context)
        found.append(rows_of(store))
        store.save(checkpoint_of(store, rows=7))

    assert run(flights, instance, partition_key="jan").success
    assert run(flights, instance, partition_key="feb").success
    records = instance.fetch_observations(dg.AssetKey("flights"), limit=10).records
    assert found == [None, None]
    assert sorted(str(record.partition_key) for record in records) == ["feb", "jan"]


def test_an_op_observes_the_table_itself(instance: dg.DagsterInstance) -> None:
    found = []

    @dg.op
    def push(context: dg.OpExecutionContext) -> None:
        store = store_in(context)
        store.save(checkpoint_of(store, rows=7))
        found.append(rows_of(store))

    @dg.job
    def push_job() -> None:
        push()

    assert push_job.execute_in_process(instance=instance).success
    assert found == [7]
    assert instance.fetch_observations(dg.AssetKey(TABLE.split(".")), limit=1).records


@pytest.mark.parametrize(("seconds", "observations"), [(600, 19), (7_200, 90)])
def test_a_long_delivery_leaves_few_observations_and_a_kill_costs_few_rows(
    instance: dg.DagsterInstance, seconds: int, observations: int
) -> None:
    """A thousand rows are sent each second, of which each is durable at once; the clock is turned by hand."""
    schema = TableSchema(table=TABLE, columns=(Field("id", PrimitiveType(Kind.BIGINT)),))
    kept: list[tuple[int, int]] = []
    found = []

    @dg.asset
    def flights(context: dg.AssetExecutionContext) -> None:
        clock = Clock()
        store = store_in(context, clock=clock)
        keeper = CheckpointKeeper(store, schema, SourceFacts(fingerprint="sha256:b"), clock=clock)
        reserved = 0
        for second in range(seconds + 1):
            clock.now = float(second)
            sent = second * 1_000 + 1_000
            is_reserved = sent <= reserved
            if not is_reserved or keeper.is_due(clock.now):
                reserved = max(reserved, sent + keeper.rows_to_reserve(1_000, is_used_up=not is_reserved))
                keeper.save(RowsKept(durable=RowRanges([(0, sent - 1_000)]), reached=reserved, counts=Counts()))
                keeper.begin_reservation()
            kept.append((store.rows_durable, second * 1_000))
        found.append(store.load())

    assert run(flights, instance).success
    (checkpoint,) = found
    assert checkpoint.reached >= seconds * 1_000, "how far rows may have gone is written before they go"
    assert len(instance.fetch_observations(dg.AssetKey("flights"), limit=1_000).records) <= observations
    assert all(saved >= 0.87 * durable for saved, durable in kept[200:])
    assert kept[300][0] >= 0.9 * kept[300][1]
    assert all(saved >= 0.96 * durable for saved, durable in kept[4_000:])


def test_a_checkpoint_that_says_nothing_new_is_not_written_again(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def flights(context: dg.AssetExecutionContext) -> None:
        store = store_in(context)
        for written_at in ("2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00"):
            store.save(replace(checkpoint_of(store, rows=7), written_at=written_at))

    assert run(flights, instance).success
    assert len(instance.fetch_observations(dg.AssetKey("flights"), limit=10).records) == 1


def test_rows_that_were_sent_are_known_to_the_next_try_before_any_of_them_is_durable(
    instance: dg.DagsterInstance,
) -> None:
    found = []

    @dg.asset
    def flights(context: dg.AssetExecutionContext) -> None:
        store = store_in(context)
        store.save(replace(checkpoint_of(store, rows=0), durable=RowRanges()))
        found.append(store.load())
        store.save(replace(checkpoint_of(store, rows=0), durable=RowRanges(), reached=1_000))
        found.append(store.load())

    assert run(flights, instance).success
    nothing, checkpoint = found
    assert nothing is None
    assert (checkpoint.reached, checkpoint.durable.rows) == (1_000, 0)


@pytest.mark.parametrize("begun", [False, True], ids=["in its first attempt", "after an attempt that saw none"])
def test_a_retry_finds_rows_that_were_sent_although_the_asset_shows_no_event_of_them(
    sqlite_instance: dg.DagsterInstance, begun: bool
) -> None:
    found: list[int | None] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def flights(context: dg.AssetExecutionContext) -> None:
        store, other = store_in(context), store_in(context, delivery="ingest 2")
        checkpoint = store.load()
        found.append(None if checkpoint is None else checkpoint.reached)
        assert other.load() is None
        if context.retry_number < 1 + begun:
            reached = 1_000 * (context.retry_number + 1)
            store.save(replace(checkpoint_of(store, rows=0), durable=RowRanges(), reached=reached))
            raise RuntimeError("the process is gone")

    assert run(flights, sqlite_instance).success
    assert found == ([None, 1_000, 2_000] if begun else [None, 1_000])
    # What a first attempt says before any row is durable is in the log of its run only.
    assert len(sqlite_instance.fetch_observations(dg.AssetKey("flights"), limit=9).records) == int(begun)
