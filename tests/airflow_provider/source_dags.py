"""Dags that deliver files, queries and shards of them."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import guarded_files  # noqa: F401 - registers a file system
import pyarrow.dataset
from dag_parts import TABLE, only_even, push_dag, rows_from
from fsspec.implementations.memory import MemoryFileSystem

from zerobus_airflow import (
    DeadLetterReplayOperator,
    SqlToZerobusOperator,
    ZerobusIngestOperator,
    finish_slice_task,
    freeze_slice_task,
    merge_receipts_task,
    split_source_task,
    split_sql_task,
)
from zerobus_airflow.compat import IS_AIRFLOW_3, ObjectStoragePath, task
from zerobus_core import NewFiles, split_source

attach = import_module("airflow.sdk.io" if IS_AIRFLOW_3 else "airflow.io.store").attach


with push_dag("files"):
    ZerobusIngestOperator(task_id="push", table=TABLE, source="{{ dag_run.conf['source'] }}")


with push_dag("mapped"):

    @task
    def places(dag_run=None):
        return dag_run.conf["places"]

    @task.zerobus_ingest(table=TABLE)
    def rows(start):
        yield from rows_from(start, 5)

    ZerobusIngestOperator.partial(task_id="files", table=TABLE, on_empty="skip").expand(source=places())
    ZerobusIngestOperator.partial(task_id="template", table=TABLE).expand(source=["{{ dag_run.conf['places'][0] }}"])
    rows.expand(start=[100, 200])


with push_dag("object_storage"):

    @task.zerobus_ingest(table=TABLE)
    def dataset(dag_run=None):
        path = ObjectStoragePath(dag_run.conf["source"])
        return pyarrow.dataset.dataset(path.path, filesystem=path.fs)

    dataset()
    ZerobusIngestOperator(
        task_id="path", table=TABLE, source=ObjectStoragePath("file:///{{ dag_run.conf['source'][8:] }}")
    )
    ZerobusIngestOperator(task_id="whole", table=TABLE, source=ObjectStoragePath("{{ dag_run.conf['source'] }}"))
    # A bucket in memory, which only the connection's own file system can read.
    bucket = MemoryFileSystem()
    bucket.pipe("/bucket/rows.jsonl", b'{"id": 100, "note": "of the connection"}\n')
    attach("s3", conn_id="aws", fs=bucket)
    ZerobusIngestOperator(
        task_id="connection", table=TABLE, source=ObjectStoragePath("s3://bucket/rows.jsonl", conn_id="aws")
    )


with push_dag("query"):
    SqlToZerobusOperator(
        task_id="push",
        table=TABLE,
        sql="SELECT id, note FROM rows WHERE id >= ? ORDER BY id",
        parameters=["{{ dag_run.conf['first'] }}"],
        ordered_by="id",
        sql_conn_id="rows_db",
    )


with push_dag("on_empty"):
    for meaning in ("success", "skip", "fail"):
        ZerobusIngestOperator(task_id=meaning, table=TABLE, records=[], on_empty=meaning)
    ZerobusIngestOperator(task_id="unstated", table=TABLE, records=[])


with push_dag("no_files", retries=1):
    for meaning in ("success", "skip", "fail", None):
        ZerobusIngestOperator(
            task_id=meaning or "unstated", table=TABLE, source="{{ dag_run.conf['source'] }}", on_empty=meaning
        )


with push_dag("sources_of_a_task"):

    @task
    def places(dag_run=None):
        return dag_run.conf["places"]

    @task
    def nothing():
        return None

    some = places()
    ZerobusIngestOperator(task_id="files", table=TABLE, source=some)
    ZerobusIngestOperator(task_id="skipped", table=TABLE, source=some, on_empty="skip")
    ZerobusIngestOperator(task_id="nothing_given", table=TABLE, source=nothing())
    ZerobusIngestOperator(task_id="no_rows", table=TABLE, records=some)


with push_dag("query_processed"):
    SqlToZerobusOperator(
        task_id="push",
        table=TABLE,
        sql="SELECT id, note FROM rows ORDER BY id",
        sql_conn_id="rows_db",
        rows_processor=only_even,
    )


with push_dag("dead_letters"):
    LETTERS = "{{ dag_run.conf['letters'] }}"
    letters_of = ZerobusIngestOperator(
        task_id="push",
        table=TABLE,
        records=[{"id": 1, "note": "good"}, {"id": "two", "note": "bad"}, {"id": 3, "note": None}],
        options={"on_bad_record": "dead_letter", "dead_letter_uri": LETTERS},
    )
    letters_of >> DeadLetterReplayOperator(task_id="replay", table=TABLE, dead_letter_uri=LETTERS)


with push_dag("fan_out", retries=1):

    @task
    def shards(dag_run=None):
        return split_source(dag_run.conf["source"], 4)

    pushed = ZerobusIngestOperator.partial(
        task_id="push", table=TABLE, options={"batch_rows": 10, "max_unacked_bytes": 1, "max_attempts": 1}
    ).expand(source=shards())
    merge_receipts_task.override(task_id="merged")(pushed.output)


with push_dag("fan_out_whatever_became_of_the_shards"):
    pushed = ZerobusIngestOperator.partial(
        task_id="push", table=TABLE, options={"batch_rows": 10, "max_unacked_bytes": 1, "max_attempts": 1}
    ).expand(source=split_source_task("{{ dag_run.conf['source'] }}", 4))
    merge_receipts_task.override(trigger_rule="all_done")(pushed.output)


with push_dag("fan_out_that_is_skipped_if_empty"):
    pushed = ZerobusIngestOperator.partial(task_id="push", table=TABLE, on_empty="skip").expand(
        source=split_source_task("{{ dag_run.conf['source'] }}", 4)
    )
    merge_receipts_task(pushed.output)


with push_dag("files_that_change_after_the_split", retries=2):

    @task
    def split_too_early(dag_run=None):
        folder = Path(dag_run.conf["source"])
        split = split_source(str(folder), 2)
        (folder / "0.parquet").unlink()
        return split

    pushed = ZerobusIngestOperator.partial(task_id="push", table=TABLE).expand(source=split_too_early())
    merge_receipts_task(pushed.output)


with push_dag("shard_of_a_task_that_returns_none"):

    @task
    def no_shard():
        return None

    @task
    def no_shards():
        return [None]

    source = "{{ dag_run.conf['source'] }}"
    ZerobusIngestOperator(task_id="push", table=TABLE, source=source, shard=no_shard())
    ZerobusIngestOperator.partial(task_id="mapped", table=TABLE, source=source).expand(shard=no_shards())


with push_dag("guarded_files"):
    # What is not from the environment at run time would be in the Dag's file, which Airflow stores as it is.
    PLACE, SIGNATURE = "{{ var.value.guarded_place }}", "{{ var.value.guarded_signature }}"
    place = os.environ.get("AIRFLOW_VAR_GUARDED_PLACE", "guarded://host/nowhere")
    what = {"table": TABLE, "source": NewFiles(f"{place}/landing"), "state_uri": f"{PLACE}/state.json{SIGNATURE}"}
    pushed = ZerobusIngestOperator.partial(task_id="push", **what).expand(shard=freeze_slice_task(n=2, **what))
    finish_slice_task(pushed.output, **what)
    source = f"{PLACE}/landing/*.jsonl{SIGNATURE}"
    parts = ZerobusIngestOperator.partial(
        task_id="part",
        table=TABLE,
        source=source,
        checkpoint_uri=f"{PLACE}/checkpoints",
        options={"on_bad_record": "dead_letter", "dead_letter_uri": f"{PLACE}/letters-{{{{ ti.map_index }}}}.jsonl"},
    ).expand(shard=split_source_task(source, 2))
    merge_receipts_task(parts.output)


with push_dag("fan_out_of_rows"):
    pushed = SqlToZerobusOperator.partial(
        task_id="push", table=TABLE, sql="SELECT id, note FROM rows", sql_conn_id="rows_db"
    ).expand(shard=split_sql_task("SELECT id, note FROM rows", "rows_db", 3, by="id"))
    merge_receipts_task(pushed.output)


with push_dag("all_shards_at_once"):
    ZerobusIngestOperator(task_id="push", table=TABLE, source=split_source_task("{{ dag_run.conf['source'] }}", 4))
