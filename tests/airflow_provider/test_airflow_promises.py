"""What the guide promises of the hook, of retries and of time-outs, on the operators themselves."""

from __future__ import annotations

import json
import signal
import time
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from zerobus_airflow import ZerobusHook, ZerobusIngestOperator
from zerobus_airflow.alarm import TALK_TO_SUPERVISOR, ExecutionTimeout
from zerobus_airflow.compat import AirflowFailException
from zerobus_core import TableNotFoundError
from zerobus_core.hosting import StopRequest

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
ROWS = [{"id": n, "note": f"row {n}"} for n in range(10)]


@pytest.fixture
def hook(target, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_ZEROBUS_DEFAULT", json.dumps(target.connection))
    return ZerobusHook()


@pytest.fixture
def context():
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="task", map_index=-1, max_tries=3, try_number=1)
    return {"ti": ti, "dag_run": SimpleNamespace(clear_number=0), "outlet_events": {}}


@pytest.mark.matrix
def test_the_hook_takes_its_options_as_a_mapping(hook, target):
    table = target.new_table()
    receipt = hook.ingest(table, ROWS, options={"batch_rows": 3, "source_version": "1"})
    assert (receipt.rows_acked, receipt.batches) == (10, 4)
    assert target.rows(table) == ROWS


@pytest.mark.matrix
def test_the_hook_reads_the_columns_of_a_table(hook, target):
    schema = hook.get_schema(target.new_table("id BIGINT NOT NULL, at TIMESTAMP"))
    assert [(column.name, str(column.type)) for column in schema.columns] == [("id", "BIGINT"), ("at", "TIMESTAMP")]


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="there are no retry policies before Airflow 3.3")
@pytest.mark.parametrize(("action", "is_retried"), [("RETRY", True), ("FAIL", True), ("DEFAULT", False)])
def test_a_retry_policy_is_asked_about_errors_that_are_permanent(hook, context, action, is_retried):
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

    rule = RetryRule(exception=TableNotFoundError, action=getattr(RetryAction, action))
    operator = ZerobusIngestOperator(
        task_id="push",
        table="main.default.nowhere",
        records=ROWS,
        resume="never",
        retry_policy=ExceptionRetryPolicy(rules=[rule]),
    )
    # Airflow asks the policy about what it gets, and nobody about an AirflowFailException.
    with pytest.raises(TableNotFoundError if is_retried else AirflowFailException, match=r"main\.default\.nowhere"):
        operator.execute(context)


def test_an_alarm_that_comes_into_a_request_to_the_supervisor_waits_for_its_answer():
    def time_is_up(*_):
        raise TimeoutError

    # As if the module that talks to the supervisor waited for an answer.
    request = {"__name__": TALK_TO_SUPERVISOR, "ring": lambda: signal.raise_signal(signal.SIGALRM)}
    exec("def answer():\n    ring()\n    return 'the answer'", request)
    before = signal.signal(signal.SIGALRM, time_is_up)
    stop = StopRequest()
    timeout = ExecutionTimeout(stop)
    answers = []

    def ask_and_wait():
        with timeout:
            answers.append(request["answer"]())
            assert not timeout.has_passed
            time.sleep(30)

    try:
        with pytest.raises(TimeoutError):
            ask_and_wait()
        assert answers == ["the answer"]
        assert timeout.has_passed
        assert stop.is_set()
        assert signal.getsignal(signal.SIGALRM) is time_is_up
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
