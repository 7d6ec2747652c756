"""A sharded asset: shards as steps of their own, one materialization, and only what failed runs again."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests import guarded_files  # noqa: F401 - registers a file system
from zerobus_core import ConfigurationError, NewFiles, NewRows, SqlQuery, TransportError, read_shard, split_source
from zerobus_core.workspace import ClientCredentials
from zerobus_dagster import ZerobusResource, build_zerobus_sharded_asset
from zerobus_local import LocalZerobus

CHILD = Path(__file__).with_name("sharded_child.py")
KEY = dg.AssetKey("flights")


def written(folder: Path, files: int, rows: int) -> Path:
    """Write the files that are not there yet."""
    folder.mkdir(exist_ok=True)
    for number in range(len(list(folder.iterdir())), files):
        lines = [
            json.dumps({"id": row, "carrier": "UA", "delay": 0.5}) for row in range(number * rows, (number + 1) * rows)
        ]
        (folder / f"{number:02d}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def ids(server: LocalZerobus, table: str) -> list[int]:
    return sorted(server.read(table)["id"].to_pylist())


def receipt_in(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(KEY)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata["dagster-zerobus/receipt"].value  # type: ignore[return-value]  # JSON


def materializations(instance: dg.DagsterInstance) -> int:
    return len(instance.fetch_materializations(KEY, limit=100).records)


def test_the_asset_is_materialized_once_with_the_merged_receipt(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder = written(tmp_path / "files", 12, 50)
    asset = build_zerobus_sharded_asset("flights", table=table, split=lambda context: split_source(str(folder), 4))
    result = dg.materialize([asset], instance=instance, resources={"zerobus": zerobus})
    assert result.success
    receipt = receipt_in(instance)
    assert (receipt["rows_acked"], receipt["shards"], materializations(instance)) == (600, 4, 1)
    assert ids(server, table) == list(range(600))
    event = instance.get_latest_materialization_event(KEY)
    metadata = event.asset_materialization.metadata  # type: ignore[union-attr]  # asserted above
    assert metadata["dagster/table_name"].value == table
    assert [column.name for column in metadata["dagster/column_schema"].value.columns] == ["id", "carrier", "delay"]
    assert metadata["dagster-zerobus/shards"].value == 4
    assert "path" not in metadata


@pytest.mark.parametrize(
    ("shards", "found"),
    [
        ("shards", "str"),
        ("", "str"),
        ({}, "dict"),
        ([{}, "shard"], "a list with str"),
        (({}, None), "a tuple with NoneType"),
    ],
)
def test_a_split_that_returns_something_else_is_refused(
    table: str, zerobus: ZerobusResource, shards: Any, found: str
) -> None:
    asset = build_zerobus_sharded_asset("flights", table=table, split=lambda context: shards)
    with pytest.raises(dg.Failure, match=f"split_source returns, not {found}"):
        dg.materialize([asset], resources={"zerobus": zerobus})


def test_a_shard_that_failed_is_retried_alone_by_the_retry_policy(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder = written(tmp_path / "files", 4, 50)
    calls: list[int] = []

    def read(context: dg.OpExecutionContext, shard: Any) -> Any:
        calls.append(shard["index"])
        if calls.count(2) == 1 and shard["index"] == 2:
            raise TransportError("the first attempt of this shard fails")
        return shard

    asset = build_zerobus_sharded_asset(
        "flights",
        table=table,
        split=lambda context: split_source(str(folder), 4),
        read=read,
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    assert dg.materialize([asset], instance=instance, resources={"zerobus": zerobus}).success
    assert sorted(calls) == [0, 1, 2, 2, 3]
    assert ids(server, table) == list(range(200))
    assert materializations(instance) == 1


def test_shards_of_a_query_are_read_by_the_step_that_delivers_them(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "flights.db") as connection:
        connection.execute("CREATE TABLE flights (id INTEGER, carrier TEXT, delay REAL)")
        connection.executemany("INSERT INTO flights VALUES (?, 'UA', 1.5)", [(row,) for row in range(300)])
    connection.close()
    query = SqlQuery(lambda: sqlite3.connect(tmp_path / "flights.db"), "SELECT * FROM flights")
    asset = build_zerobus_sharded_asset(
        ["plant", "flights"],
        table=table,
        split=lambda context: split_source(query, 3, by="id"),
        read=lambda context, shard: read_shard(query, shard),
        group_name="plant",
    )
    result = dg.materialize([asset], instance=instance, resources={"zerobus": zerobus})
    assert result.success
    assert ids(server, table) == list(range(300))
    assert result.asset_materializations_for_node("plant__flights")[0].asset_key == dg.AssetKey(["plant", "flights"])


def test_partitions_of_a_sharded_asset_are_materialized_one_by_one(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    months = dg.StaticPartitionsDefinition(["a", "b"])
    written(tmp_path / "a", 3, 10)
    asset = build_zerobus_sharded_asset(
        "flights",
        table=table,
        split=lambda context: split_source(str(tmp_path / context.partition_key), 2),
        partitions_def=months,
    )
    assert dg.materialize([asset], instance=instance, partition_key="a", resources={"zerobus": zerobus}).success
    assert ids(server, table) == list(range(30))
    assert instance.get_materialized_partitions(KEY) == {"a"}


def test_shards_of_files_that_changed_after_the_split_fail_at_once_and_send_nothing(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    folder = written(tmp_path / "files", 4, 50)

    def split(context: dg.OpExecutionContext) -> list[dict[str, Any]]:
        shards = split_source(str(folder), 2)
        (folder / "03.jsonl").unlink()
        return shards

    asset = build_zerobus_sharded_asset("flights", table=table, split=split, retry_policy=dg.RetryPolicy(max_retries=2))
    result = dg.materialize([asset], instance=instance, resources={"zerobus": zerobus}, raise_on_error=False)
    assert not result.success
    events = [event.event_type for event in result.all_events]
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in events
    failures = [event for event in result.all_events if event.is_step_failure and "[shard_" in str(event.step_key)]
    assert len(failures) == 2
    assert "not those that were split" in str(failures[0].step_failure_data.error)
    assert (ids(server, table), materializations(instance)) == ([], 0)


@pytest.mark.parametrize("how", ["split", "handoff"])
def test_secrets_in_uris_are_in_no_event_and_no_file_of_the_instance(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, tmp_path: Path, how: str
) -> None:
    written(tmp_path / "files", 4, 50)
    place = f"guarded://me:S3CR3T-password@host{tmp_path}"
    source, signature = f"{place}/files/*.jsonl?sig=S3CR3T-signature", "?sig=S3CR3T-signature"
    kinds: dict[str, dict[str, Any]] = {
        "split": {
            "split": lambda context: split_source(source, 2),
            "read": lambda context, shard: read_shard(source, shard),
            "options": {"on_bad_record": "dead_letter", "dead_letter_uri": f"{place}/letters.jsonl"},
        },
        "handoff": {
            "source": lambda context: NewFiles(f"{place}/files"),
            "shards": 2,
            "state_uri": f"{place}/state.json{signature}",
        },
    }
    asset = build_zerobus_sharded_asset("flights", table=table, **kinds[how])
    kept = zerobus.model_copy(update={"checkpoint_uri": f"{place}/checkpoints"})
    home = tmp_path / "home"
    home.mkdir()
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        assert dg.materialize([asset], instance=instance, resources={"zerobus": kept}).success
    assert ids(server, table) == list(range(200))
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert [path.name for path in files if b"S3CR3T" in path.read_bytes()] == []


def test_a_source_without_shards_is_materialized_and_says_so(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    asset = build_zerobus_sharded_asset(
        "flights", table=table, split=lambda context: split_source(f"{tmp_path}/*.parquet", 4)
    )
    assert dg.materialize([asset], instance=instance, resources={"zerobus": zerobus}).success
    event = instance.get_latest_materialization_event(KEY)
    assert event.asset_materialization.metadata["dagster-zerobus/shards"].value == 0  # type: ignore[union-attr]  # it is
    assert ids(server, table) == []


@pytest.mark.parametrize("table_name", ["flights", "main.flights"])
def test_a_table_that_is_not_named_in_full_is_refused_when_the_asset_is_built(table_name: str) -> None:
    with pytest.raises(ConfigurationError):
        build_zerobus_sharded_asset("flights", table=table_name, split=lambda context: [])


@pytest.mark.parametrize("state", ["file", "events"])
def test_each_run_delivers_the_shards_of_what_is_new_and_a_failed_one_alone_again(
    server: LocalZerobus, table: str, zerobus: ZerobusResource, instance: dg.DagsterInstance, tmp_path: Path, state: str
) -> None:
    folder = tmp_path / "files"
    database = tmp_path / "flights.db"

    def grow(files: int, rows: int) -> None:
        written(folder, files, rows)
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS flights (id INTEGER, carrier TEXT, delay REAL)")
            count = connection.execute("SELECT count(*) FROM flights").fetchone()[0]
            new = [(row,) for row in range(count, files * rows)]
            connection.executemany("INSERT INTO flights VALUES (?, 'UA', 1.5)", new)
        connection.close()

    def source(context: dg.OpExecutionContext) -> Any:
        if state == "file":
            return NewFiles(folder)
        return NewRows(lambda: sqlite3.connect(database), "SELECT * FROM flights", column="id", commits_in_order=True)

    asset = build_zerobus_sharded_asset(
        "flights",
        table=table,
        source=source,
        shards=3,
        state_uri=str(tmp_path / "state" / "s.json") if state == "file" else None,
        options={"batch_rows": 10, "max_unacked_bytes": 1, "max_attempts": 1},
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    grow(6, 50)
    fault = server.faults.add(action="cut", at="before_commit", table=table, message=5, times=1)
    result = dg.materialize([asset], instance=instance, resources={"zerobus": zerobus})
    server.faults.remove(fault)
    assert result.success
    started = result.all_events
    retried = [event.step_key for event in started if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert len(retried) == 1, "only the shard that failed"
    receipt = receipt_in(instance)
    assert (receipt["rows_read"], receipt["shards"], materializations(instance)) == (300, 3, 1)
    assert receipt["rows_acked"] + receipt["rows_skipped"] == 300
    delivered = ids(server, table)
    assert sorted(set(delivered)) == list(range(300))
    assert len(delivered) - 300 <= receipt["rows_resent"]
    grow(7, 50)
    assert dg.materialize([asset], instance=instance, resources={"zerobus": zerobus}).success
    assert receipt_in(instance)["rows_acked"] == 50
    assert dg.materialize([asset], instance=instance, resources={"zerobus": zerobus}).success
    nothing = receipt_in(instance)
    assert nothing["rows_read"] == 0
    assert "new" in nothing["notes"][0]
    assert sorted(set(ids(server, table))) == list(range(350))


def test_what_does_not_belong_together_is_refused_when_the_asset_is_built() -> None:
    for given in ({}, {"split": list, "source": list}, {"source": list}, {"split": list, "shards": 3}):
        with pytest.raises(ConfigurationError, match="pass either split"):
            build_zerobus_sharded_asset("flights", table="main.default.flights", **given)  # type: ignore[arg-type]  # it is wrong


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_shard_killed_by_kill_9_is_the_only_one_to_run_again_from_failure(
    server: LocalZerobus, table: str, tmp_path: Path
) -> None:
    credentials = server.workspace.credentials
    assert isinstance(credentials, ClientCredentials)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environ = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "TEST_TABLE": table,
        "TEST_FILES": str(written(tmp_path / "files", 4, 200)),
        "ZEROBUS_SERVER_ENDPOINT": server.workspace.endpoint,
        "DATABRICKS_HOST": server.workspace.workspace_url,
        "DATABRICKS_CLIENT_ID": credentials.client_id,
        "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
    }

    def child(*arguments: str) -> int:
        command = [sys.executable, str(CHILD), *arguments]
        with (tmp_path / "output").open("ab") as output:
            done = subprocess.run(
                command, env=environ, stdout=output, stderr=subprocess.STDOUT, timeout=280, check=False
            )
        return done.returncode

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert child("run") == 1, (tmp_path / "output").read_text()[-5_000:]
        assert materializations(instance) == 0
        killed = instance.get_runs(limit=1)[0]
        assert child("from-failure", killed.run_id) == 0, (tmp_path / "output").read_text()[-5_000:]
        assert delivered_again(instance) == ["flights.flights__deliver[shard_0002]"]
        assert materializations(instance) == 1
        receipt = receipt_in(instance)
    assert (receipt["rows_read"], receipt["shards"]) == (800, 4)
    assert receipt["rows_acked"] + receipt["rows_skipped"] == 800
    assert receipt["rows_skipped"] > 0
    delivered = ids(server, table)
    assert sorted(set(delivered)) == list(range(800))
    assert len(delivered) - 800 <= receipt["rows_resent"]


def delivered_again(instance: dg.DagsterInstance) -> list[str]:
    run = instance.get_runs(limit=1)[0]
    started = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
    return sorted(event.step_key for event in started if "__deliver" in (event.step_key or ""))
