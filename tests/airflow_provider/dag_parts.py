"""What the Dags of several files use."""

from __future__ import annotations

from datetime import timedelta

from zerobus_airflow.compat import DAG

TABLE = "{{ dag_run.conf['table'] }}"


def push_dag(dag_id, **defaults):
    return DAG(dag_id, schedule=None, default_args={"retries": 0, "retry_delay": timedelta(0), **defaults})


def rows_from(start, count):
    return [{"id": n, "note": f"row {n}"} for n in range(start, start + count)]


def only_even(rows, **context):
    """As SQLInsertRowsOperator has it: the rows, and the context as keyword arguments."""
    assert context["ti"].task_id
    return (row for row in rows if row["id"] % 2 == 0)
