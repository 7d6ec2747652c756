"""The result of a query, streamed from any database that Airflow has a connection to."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from zerobus_airflow import SqlToZerobusOperator

with DAG(
    "airflow_sql",
    schedule=None,
    params={"since": 0},
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
):
    SqlToZerobusOperator(
        task_id="deliver",
        table="main.default.readings",
        sql_conn_id="plant",
        sql="SELECT sensor, celsius FROM readings WHERE sensor >= :since ORDER BY sensor",
        parameters={"since": "{{ params.since }}"},
        # The column in the query's ORDER BY. With it, a retry can continue where the last attempt ended.
        ordered_by="sensor",
    )
