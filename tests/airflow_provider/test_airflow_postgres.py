"""Values of a real PostgreSQL that have no counterpart among the columns of a Delta table."""

from __future__ import annotations

import json
from contextlib import closing
from types import SimpleNamespace

import psycopg
import pytest

from zerobus_airflow import SqlToZerobusOperator
from zerobus_core import ingest
from zerobus_core.hosting import execute_on_server

# Airflow's provider for PostgreSQL brings it.
psycopg2 = pytest.importorskip("psycopg2")

UUID = "01890a5d-ac96-774b-bcce-b302099a8057"
NAMES = ("object", "scalar", "span", "spans", "identifier", "identifiers", "numbers", "texts", "documents")
TABLE = (
    "CREATE TABLE things (id bigint, object jsonb, scalar json, span interval, spans interval[], identifier uuid, "
    "identifiers uuid[], numbers int[], texts text[], documents jsonb[])"
)
ROWS = f"""
    INSERT INTO things VALUES
        (1, '{{"a": [1, 2.5, null], "t": "é"}}', '"x"', '1 year 2 months -3 days 04:05:06.7', '{{1 mon,02:00:00}}',
         '{UUID}', '{{{UUID}}}', '{{1,NULL,3}}', '{{a,"b c"}}', ARRAY['{{"k": 1}}'::jsonb]),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
"""
VALUES = {
    "object": {"a": [1, 2.5, None], "t": "é"},
    "scalar": "x",
    "span": "1 year 2 mons -3 days +04:05:06.7",
    "spans": ["1 mon", "02:00:00"],
    "identifier": UUID,
    "identifiers": [UUID],
    "numbers": [1, None, 3],
    "texts": ["a", "b c"],
    "documents": [{"k": 1}],
}


@pytest.fixture(scope="module")
def database(postgres):
    name = postgres.new_database()
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute(TABLE)
        connection.execute(ROWS)
    return name


def new_table(target, kind):
    return target.new_table(", ".join(["id BIGINT", *(f"{name} {kind}" for name in NAMES)]))


def check(target, table, kind):
    first, second = target.rows(table)
    assert second == {"id": 2} | dict.fromkeys(NAMES)
    seen = {name: first[name] for name in NAMES}
    if kind == "VARIANT":
        assert {name: json.loads(value) for name, value in seen.items()} == VALUES
    else:
        is_json = {name for name in NAMES if not isinstance(VALUES[name], str)} | {"scalar"}
        assert {name: json.loads(v) if name in is_json else v for name, v in seen.items()} == VALUES


@pytest.fixture
def deliver(postgres, database, target, monkeypatch):
    """Run the operator over a query; it is given back as it is after the delivery."""
    source = {"conn_type": "postgres", "host": postgres.host, "port": postgres.port, "schema": database}
    source |= {"login": postgres.user, "password": postgres.password}
    monkeypatch.setenv("AIRFLOW_CONN_THINGS", json.dumps(source))
    monkeypatch.setenv("AIRFLOW_CONN_ZEROBUS_DEFAULT", json.dumps(target.connection))

    def deliver(table, sql):
        operator = SqlToZerobusOperator(task_id="push", table=table, sql=sql, sql_conn_id="things", resume="never")
        ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="push", map_index=-1, max_tries=0, try_number=1)
        operator.execute({"ti": ti, "dag_run": SimpleNamespace(clear_number=0), "outlet_events": {}})
        return operator

    return deliver


@pytest.mark.parametrize("kind", ["STRING", "VARIANT"])
def test_the_operator_takes_values_of_postgresql_without_a_cast(deliver, target, kind):
    table = new_table(target, kind)
    deliver(table, "SELECT * FROM things ORDER BY id")
    check(target, table, kind)


def test_openlineage_gets_the_table_of_a_query_as_input(deliver, postgres, database, target):
    table = target.new_table("id BIGINT")
    lineage = deliver(table, "SELECT id FROM things ORDER BY id").get_openlineage_facets_on_complete(None)
    (source,) = lineage.inputs
    assert source.namespace == f"postgres://{postgres.host}:{postgres.port}"
    assert source.name == f"{database}.public.things"
    assert [output.name for output in lineage.outputs] == [table]


@pytest.mark.parametrize("driver", [psycopg, psycopg2], ids=["psycopg", "psycopg2"])
@pytest.mark.parametrize("kind", ["STRING", "VARIANT"])
def test_both_drivers_give_the_same_values(postgres, database, target, driver, kind):
    table = new_table(target, kind)
    with (
        closing(driver.connect(postgres.url(database))) as connection,
        closing(execute_on_server(connection, "SELECT * FROM things ORDER BY id")) as cursor,
    ):
        ingest(target.workspace, table, cursor, options={"write_json": True})
    check(target, table, kind)
