"""Handoffs in Dagster: three runs, one that fails and is retried, a wiped asset, and a sensor."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from zerobus_core import Handoff, NewFiles, NewItems, NewRows
from zerobus_core.hosting import Owner
from zerobus_dagster import ZerobusIngestComponent, ZerobusIngestConfig, ZerobusResource, build_zerobus_handoff_sensor
from zerobus_local import LocalZerobus


class Orders:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.execute("CREATE TABLE orders (id INTEGER, carrier TEXT)")

    def execute(self, sql: str) -> None:
        connection = sqlite3.connect(self.file)
        connection.execute(sql)
        connection.commit()
        connection.close()

    def insert(self, *ids: int) -> None:
        self.execute(f"INSERT INTO orders VALUES {', '.join(f'({number}, NULL)' for number in ids)}")

    def source(self) -> NewRows:
        return NewRows(
            lambda: sqlite3.connect(self.file), "SELECT * FROM orders", column="id", key="id", commits_in_order=True
        )


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "orders.db")


def asset_of(table: str, source: Callable[[], Any], **options: Any) -> dg.AssetsDefinition:
    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=options.pop("max_retries", 0)))
    def delivered(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.hand_over(context, table, source(), **options)

    return delivered


def ids(server: LocalZerobus, table: str) -> list[int]:
    return sorted(server.read(table).column("id").to_pylist())


def test_three_runs_deliver_new_rows_once_with_the_state_in_the_events(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, orders: Orders
) -> None:
    asset = asset_of(table, orders.source)
    for number in range(3):
        orders.insert(number, number + 10 * (number + 1))
        result = dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance)
        assert result.success
    assert len(ids(server, table)) == len(set(ids(server, table)))
    event = instance.get_latest_materialization_event(dg.AssetKey("delivered"))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["dagster-zerobus/handoff"].value == "delivered"
    assert metadata["dagster-zerobus/handoff_to"].value == 32
    assert metadata["dagster-zerobus/handoff_remaining"].value is False
    empty = dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance)
    assert empty.success
    assert max(ids(server, table)) == 32


def test_a_step_that_fails_is_retried_with_the_rest_of_its_slice(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance
) -> None:
    attempts: list[Any] = []

    def fetch(since: Any, upto: Any) -> tuple[Any, int]:
        attempts.append((since, upto))

        def records() -> Any:
            for number in range(500):
                if number == 400 and len(attempts) == 1:
                    raise ConnectionError("the API went away")
                yield {"id": number}

        return records(), 500

    asset = asset_of(table, lambda: NewItems(fetch), options={"batch_rows": 50}, max_retries=1)
    result = dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance)
    assert result.success
    assert attempts == [(None, None), (None, 500)]
    assert set(ids(server, table)) == set(range(500))


def test_wiping_the_asset_is_a_rewind_and_a_lost_state_is_refused(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, orders: Orders
) -> None:
    orders.insert(1, 2)
    asset = asset_of(table, orders.source)
    assert dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance).success
    instance.wipe_assets([dg.AssetKey("delivered")])
    assert dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance).success
    assert ids(server, table) == [1, 1, 2, 2]
    # Materializations of the handoff, but no state: as if the observations had been deleted.
    other = asset_of(table, orders.source, name="other")
    instance.wipe_assets([dg.AssetKey("delivered")])
    instance.report_runless_asset_event(
        dg.AssetMaterialization("delivered", metadata={"dagster-zerobus/handoff": "other", "dagster/table_name": table})
    )
    result = dg.materialize([other], resources={"zerobus": zerobus}, instance=instance, raise_on_error=False)
    assert not result.success
    assert ids(server, table) == [1, 1, 2, 2]


def test_new_files_need_a_state_uri(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')

    def source() -> NewFiles:
        return NewFiles(tmp_path / "*.jsonl")

    result = dg.materialize(
        [asset_of(table, source)], resources={"zerobus": zerobus}, instance=instance, raise_on_error=False
    )
    assert not result.success
    asset = asset_of(table, source, state_uri=str(tmp_path / "state" / "s.json"))
    for _ in range(2):
        assert dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance).success
    assert ids(server, table) == [1]


def test_a_step_does_as_on_busy_says_while_another_run_delivers(
    server: LocalZerobus,
    table: str,
    zerobus: ZerobusResource,
    instance: dg.DagsterInstance,
    orders: Orders,
    tmp_path: Path,
) -> None:
    def materialize(on_busy: str) -> dg.ExecuteInProcessResult:
        asset = asset_of(table, orders.source, on_busy=on_busy, state_uri=str(tmp_path / "s.json"))
        return dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance, raise_on_error=False)

    def facts(result: dg.ExecuteInProcessResult) -> Any:
        (event,) = result.asset_materializations_for_node("delivered")
        return event.metadata["dagster-zerobus/handoff_facts"].value

    orders.insert(1)
    holder = Handoff(
        server.workspace, table, orders.source(), state=tmp_path / "s.json", name="delivered", owner=Owner(key="run-1")
    )
    holder.freeze()
    orders.insert(2)
    failed = materialize("fail")
    assert not failed.success
    assert "HandoffBusyError" in str(failed.failure_data_for_node("delivered"))
    skipped = materialize("skip")
    assert skipped.success
    assert "run-1" in facts(skipped)["busy"]
    assert ids(server, table) == []
    finishing = threading.Timer(1.0, lambda: (holder.deliver(), holder.finish()))
    finishing.start()
    waited = materialize("wait")
    finishing.join(60)
    assert waited.success
    assert (facts(waited)["from"], facts(waited)["to"]) == (1, 2)
    assert ids(server, table) == [1, 2]


@pytest.mark.parametrize("change", [{"resume": "never"}, {"resume": "always"}, {"on_rematerialize": "refuse"}])
def test_what_does_not_go_with_a_handoff_is_refused(
    table: str, zerobus_with: Callable[..., ZerobusResource], instance: dg.DagsterInstance, orders: Orders, change: Any
) -> None:
    result = dg.materialize(
        [asset_of(table, orders.source)],
        resources={"zerobus": zerobus_with(**change)},
        instance=instance,
        raise_on_error=False,
    )
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "is not possible in a handoff" in str(failure.step_failure_data.error)


@pytest.mark.parametrize("change", [{"resume": "always"}, {"on_rematerialize": "refuse"}])
def test_what_a_launch_says_against_the_handoff_is_refused(
    table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, orders: Orders, change: Any
) -> None:
    @dg.asset
    def delivered(
        context: dg.AssetExecutionContext, config: ZerobusIngestConfig, zerobus: ZerobusResource
    ) -> dg.MaterializeResult:
        return zerobus.hand_over(context, table, orders.source(), options=config)

    with pytest.raises(Exception, match="is not possible in a handoff"):
        dg.materialize(
            [delivered],
            resources={"zerobus": zerobus},
            instance=instance,
            run_config={"ops": {"delivered": {"config": change}}},
        )


def test_a_partitioned_asset_is_refused(
    table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, orders: Orders
) -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a"]))
    def delivered(context: dg.AssetExecutionContext, zerobus: ZerobusResource) -> dg.MaterializeResult:
        return zerobus.hand_over(context, table, orders.source())

    result = dg.materialize(
        [delivered], resources={"zerobus": zerobus}, instance=instance, partition_key="a", raise_on_error=False
    )
    assert not result.success


def test_the_sensor_requests_one_run_for_the_same_news(
    table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, orders: Orders
) -> None:
    asset = asset_of(table, orders.source)
    sensor = build_zerobus_handoff_sensor(asset, table=table, source=orders.source)
    defs = dg.Definitions(assets=[asset], sensors=[sensor], resources={"zerobus": zerobus})

    def look() -> Any:
        with dg.build_sensor_context(instance=instance, definitions=defs, resources={"zerobus": zerobus}) as context:
            return sensor.evaluate_tick(context)

    assert look().run_requests == []
    orders.insert(5)
    first, second = look(), look()
    assert [request.run_key for request in first.run_requests] == [request.run_key for request in second.run_requests]
    assert dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance).success
    assert look().run_requests == []
    orders.insert(6)
    assert look().run_requests[0].run_key != first.run_requests[0].run_key


def component_defs(attributes: dict[str, Any]) -> dg.Definitions:
    component = ZerobusIngestComponent.from_attributes_dict(attributes=attributes)
    return component.build_defs(dg.ComponentTree.for_test().load_context)


def test_the_component_hands_over_new_files(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    attributes = {
        "table": table,
        "source": f"file://{landing}/*.jsonl",
        "handoff": {"state_uri": str(tmp_path / "s.json"), "max_files": 10},
    }
    defs = component_defs(attributes)
    (asset,) = defs.assets or []
    for number in range(2):
        (landing / f"{number}.jsonl").write_text(f'{{"id": {number}}}\n')
        assert dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance).success
    assert ids(server, table) == [0, 1]


def test_the_component_hands_over_new_rows_of_a_query(
    server: LocalZerobus,
    table: str,
    zerobus: ZerobusResource,
    instance: dg.DagsterInstance,
    orders: Orders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{orders.file}")
    attributes = {
        "table": table,
        "sql": {"query": "SELECT * FROM orders", "url_env": "SHOP_URL"},
        "handoff": {"column": "id", "key": "id", "commits_in_order": True},
    }
    (asset,) = component_defs(attributes).assets or []
    for number in range(2):
        orders.insert(number)
        assert dg.materialize([asset], resources={"zerobus": zerobus}, instance=instance).success
    assert ids(server, table) == [0, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"handoff": {}}, "needs state_uri"),
        ({"on_rematerialize": "refuse"}, "cannot be combined with"),
        ({"resume": "never"}, "cannot be combined with"),
        ({"resume": "always"}, "cannot be combined with"),
        ({"source": None, "sql": {"query": "SELECT 1"}}, "needs column"),
        ({"asset": {"key": "x", "partitions_def": {"type": "static", "partition_keys": ["a"]}}}, "not for partitioned"),
    ],
)
def test_the_component_refuses_at_load_what_cannot_be(change: dict[str, Any], words: str) -> None:
    attributes = {"table": "a.b.c", "source": "/x/*.csv", "handoff": {"state_uri": "/x.json"}, **change}
    with pytest.raises(Exception, match=words):
        component_defs(attributes)
