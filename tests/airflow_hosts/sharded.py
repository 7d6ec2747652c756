"""A Dag for a whole Airflow: the shards of a folder as mapped tasks, and one receipt of theirs."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from zerobus_airflow import ZerobusIngestOperator, merge_receipts_task, split_source_task

with DAG("sharded", schedule=None):
    push = ZerobusIngestOperator.partial(
        task_id="push",
        table="{{ dag_run.conf['table'] }}",
        # One small batch after the other, so that a shard takes seconds.
        options={"batch_rows": 10, "max_unacked_bytes": 1},
        retries=1,
        retry_delay=timedelta(seconds=1),
    ).expand(source=split_source_task("{{ dag_run.conf['folder'] }}", 8))
    merge_receipts_task(push.output)
