"""What a Dag file may say, and what is refused while it is parsed."""

from __future__ import annotations

import copy
from importlib import import_module

import pytest

from zerobus_airflow import SqlToZerobusOperator, ZerobusIngestOperator, table_asset
from zerobus_airflow.alarm import TALK_TO_SUPERVISOR
from zerobus_airflow.compat import DAG, IS_AIRFLOW_3, XComArg, task
from zerobus_core import IngestOptions
from zerobus_core.errors import ConfigurationError

TABLE = "main.default.flights"
ROWS = [{"id": 1}]


@pytest.fixture(autouse=True)
def dag():
    with DAG("under_test", schedule=None) as dag:
        yield dag


def push(**parameters):
    return ZerobusIngestOperator(**{"task_id": "push", "table": TABLE} | parameters)


@pytest.mark.matrix
@pytest.mark.parametrize("given", [{}, {"records": ROWS, "source": "/data/*.parquet"}], ids=["none", "two"])
def test_records_come_from_exactly_one_place(given):
    with pytest.raises(ConfigurationError, match="exactly one of records, source, records_callable"):
        push(**given)


@pytest.mark.parametrize("given", [lambda: ROWS, iter(ROWS), (row for row in ROWS)], ids=type)
def test_what_a_dag_cannot_hold_is_sent_to_its_own_parameter(given):
    with pytest.raises(ConfigurationError, match="records_callable"):
        push(records=given)


def test_an_unknown_option_is_refused_while_the_dag_is_parsed():
    with pytest.raises(ConfigurationError, match="no such ingest option: stream"):
        push(records=ROWS, options={"stream": 4})


def test_an_option_that_cannot_be_right_is_refused_while_the_dag_is_parsed():
    with pytest.raises(ConfigurationError, match=r"IngestOptions\.streams"):
        push(records=ROWS, options={"streams": 0})


def test_a_templated_option_is_left_until_it_is_rendered():
    assert push(records=ROWS, options={"source_version": "{{ ds }}"}).options == {"source_version": "{{ ds }}"}


def test_options_given_as_an_object_are_templated_too():
    operator = push(records=ROWS, options=IngestOptions(streams=2, source_version="{{ ds }}"))
    assert operator.options == {"streams": 2, "source_version": "{{ ds }}"}


@pytest.mark.parametrize("whole", [True, False], ids=["options", "one of them"])
def test_options_may_be_the_output_of_a_task_which_becomes_upstream(whole):
    @task
    def choose():
        return {"streams": 2} if whole else 2

    options = choose() if whole else {"streams": choose()}
    assert push(records=ROWS, options=options).upstream_task_ids == {"choose"}


@pytest.mark.parametrize("given", [["streams"], "streams", 2], ids=type)
def test_options_that_are_no_mapping_are_refused_while_the_dag_is_parsed(given):
    with pytest.raises(ConfigurationError, match=f"options is of type {type(given).__name__}"):
        push(records=ROWS, options=given)


@pytest.mark.parametrize("name", ["on_empty", "resume"])
def test_a_choice_that_does_not_exist_is_refused_with_the_ones_that_do(name):
    with pytest.raises(ConfigurationError, match=f"{name} must be one of"):
        push(records=ROWS, **{name: "sometimes"})


@pytest.mark.matrix
def test_a_task_whose_output_is_given_becomes_upstream():
    @task
    def make():
        return ROWS

    made = make()
    assert isinstance(made, XComArg)
    assert push(records=made).upstream_task_ids == {"make"}


def test_the_output_of_a_task_inside_a_list_is_refused_with_the_way_out():
    @task
    def make():
        return 1

    with pytest.raises(ConfigurationError, match="inside a collection"):
        push(records=[{"id": make()}])


def test_rows_in_the_dag_file_are_not_shown_by_the_operator():
    assert "sensitive" not in repr(push(records=[{"note": "sensitive"}]).records)


def test_no_hook_is_made_and_no_connection_read_while_a_dag_is_parsed():
    # The connections do not exist, and the database driver is not installed.
    push(records=ROWS, zerobus_conn_id="nowhere")
    SqlToZerobusOperator(task_id="query", table=TABLE, sql="SELECT 1", sql_conn_id="nowhere")


@pytest.mark.matrix
def test_the_hook_of_an_operator_is_made_once():
    operator = push(records=ROWS, zerobus_conn_id="elsewhere", endpoint="https://1.zerobus.eu.cloud.databricks.com")
    assert operator.hook is operator.hook
    assert operator.hook.zerobus_conn_id == "elsewhere"


def test_airflow_may_copy_a_dag_deeply(dag):
    operator = push(records=ROWS)
    operator.on_kill()
    assert copy.deepcopy(dag).get_task("push").records.value.rows == ROWS


def test_multiple_outputs_of_the_decorator_are_refused_with_the_way_out():
    with pytest.raises(ConfigurationError, match="multiple_outputs=True has nothing to split"):
        task.zerobus_ingest(table=TABLE, multiple_outputs=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"records": "rows.csv"}, "records is the text 'rows.csv'"),
        ({"records": {"id": 1}}, "records is a dict, which is one record"),
        ({"source": ""}, "source is empty"),
        ({"source": []}, "source is an empty list"),
        ({"records": ROWS, "op_args": [1]}, "op_args and op_kwargs need records_callable"),
        ({"source": "/data/a.csv", "rows_processor": list}, "rows_processor can be used with records"),
        ({"records": ROWS, "table": "default.flights"}, "must be catalog.schema.table, three parts"),
        ({"records": ROWS, "options": {"streams": 0, "source_version": "{{ ds }}"}}, r"IngestOptions\.streams"),
        ({"records": ROWS, "options": {"stream": "{{ params.n }}"}}, "no such ingest option: stream"),
        ({"records": ROWS, "outlets": [table_asset("https://dbc-1", "main.default.other")]}, "is not the table that"),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_refused_while_the_dag_is_parsed(given, message):
    with pytest.raises(ConfigurationError, match=message):
        push(**given)


def test_several_statements_are_refused_while_the_dag_is_parsed():
    with pytest.raises(ConfigurationError, match="pass one SELECT as text"):
        SqlToZerobusOperator(task_id="query", table=TABLE, sql=["SET x = 1", "SELECT 1"], sql_conn_id="db")


def test_durable_is_the_old_name_of_a_part_of_resume():
    with pytest.deprecated_call(match="resume='never'"):
        assert push(records=ROWS, durable=False).resume == "never"
    with pytest.deprecated_call():
        assert push(task_id="other", records=ROWS, durable=True, resume="always").resume == "always"


@pytest.mark.matrix
def test_the_asset_of_a_table_is_named_by_its_uri_in_lower_case():
    asset = table_asset("https://DBC-1.cloud.databricks.com/", "Main.default.Flights")
    assert (
        asset.uri == getattr(asset, "name", asset.uri) == "databricks://dbc-1.cloud.databricks.com/main/default/flights"
    )


@pytest.mark.parametrize(
    ("url", "table"),
    [("https://dbc-1.cloud.databricks.com", "default.flights"), ("{{ var.value.host }}", TABLE), ("", TABLE)],
)
def test_an_asset_without_a_static_identity_is_refused(url, table):
    with pytest.raises(ConfigurationError):
        table_asset(url, table)


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="tasks of Airflow 2 have no supervisor")
def test_what_a_kill_must_not_break_off_is_where_airflow_talks_to_its_supervisor():
    assert hasattr(import_module(TALK_TO_SUPERVISOR), "CommsDecoder")
