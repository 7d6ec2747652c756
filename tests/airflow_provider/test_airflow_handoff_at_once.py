"""Two runs at the same time whose handoff is kept in the state of one asset, and how long that state can be."""

from __future__ import annotations

import json
import sqlite3
import threading
import time

import pytest

from tests.airflow_provider.conftest import AIRFLOW

pytestmark = pytest.mark.skipif(AIRFLOW < (3, 3), reason="assets have no state before Airflow 3.3")

TABLE = "main.default.handoff_shared"


@pytest.fixture
def environ(target, tmp_path):
    orders = {"conn_type": "sqlite", "host": str(tmp_path / "orders.db")}
    return {**target.environ, "HANDOFF_FOLDER": str(tmp_path), "AIRFLOW_CONN_ORDERS": json.dumps(orders)}


@pytest.fixture
def other(airflow):
    host = airflow.second()
    yield host
    host.close()


class Shared:
    """A table of orders, and a run of another Airflow process that stops in the middle of their slice."""

    def __init__(self, other, target, tmp_path, environ):
        target.server.create_table(f"CREATE OR REPLACE TABLE {TABLE} (id BIGINT)")
        self.other, self.target, self.folder, self.environ = other, target, tmp_path, environ
        self.accounts = []
        self.thread = None

    def insert(self, *numbers):
        connection = sqlite3.connect(self.folder / "shared.db")
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
        connection.executemany("INSERT INTO orders VALUES (?)", [(number,) for number in numbers])
        connection.commit()
        connection.close()

    def hold(self, dag_id):
        (self.folder / "hold").touch()

        def run():
            try:
                self.accounts.append(self.other.run(dag_id, environ=self.environ))
            except AssertionError:  # its process was killed
                self.accounts.append(None)

        self.thread = threading.Thread(target=run)
        self.thread.start()
        for _ in range(1_200):
            if (self.folder / "held").exists():
                return
            time.sleep(0.1)
        raise AssertionError("the first run did not begin to send")

    def let_go(self):
        (self.folder / "go").touch()
        self.thread.join(150)
        return self.accounts[-1]

    def ids(self):
        return sorted(row["id"] for row in self.target.rows(TABLE))


@pytest.fixture
def shared(other, target, tmp_path, environ):
    one = Shared(other, target, tmp_path, environ)
    yield one
    (tmp_path / "go").touch()
    if one.thread is not None:
        one.thread.join(150)


def receipt_of(account):
    assert account["tasks"]["push"]["state"] == "success", account["log"]
    return account["tasks"]["push"]["xcom"]["return_value"]


def test_of_two_runs_at_once_one_owns_the_slice_and_the_others_do_as_on_busy_says(airflow, shared, environ):
    shared.insert(*range(600))
    shared.hold("shared_rows_wait")
    failed = airflow.run("shared_rows_fail", environ=environ)
    assert failed["tasks"]["push"]["state"] == "failed"
    assert "HandoffBusyError" in failed["log"]
    assert "shared_rows_wait" in failed["log"], "it says who is in the way"
    skipped = receipt_of(airflow.run("shared_rows_skip", environ=environ))
    assert (skipped["rows_read"], "shared_rows_wait" in skipped["handoff"]["busy"]) == (0, True)

    shared.insert(*range(600, 700))
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(airflow.run("shared_rows_wait", environ=environ)))
    thread.start()
    first = receipt_of(shared.let_go())
    thread.join(150)
    second = receipt_of(waiting[0])
    assert (first["rows_acked"], second["rows_acked"]) == (600, 100)
    assert (first["rows_resent"], second["rows_resent"]) == (0, 0)
    assert receipt_of(airflow.run("shared_rows_fail", environ=environ))["rows_read"] == 0
    assert shared.ids() == list(range(700))


def test_a_run_takes_over_the_slice_of_one_that_was_killed(airflow, shared, environ):
    shared.insert(*range(1_000, 1_600))
    shared.hold("shared_rows_skip")
    shared.other.kill()
    receipt = receipt_of(airflow.run("shared_rows_fail", environ=environ))
    stored = shared.ids()
    assert sorted(set(stored)) == list(range(1_000, 1_600))
    assert len(stored) - 600 <= receipt["rows_resent"] <= 600
    assert receipt_of(airflow.run("shared_rows_fail", environ=environ))["rows_read"] == 0


def test_a_state_that_is_too_long_for_the_asset_is_refused_before_anything_is_frozen_or_sent(
    airflow, target, tmp_path, environ
):
    target.server.create_table("CREATE TABLE main.default.handoff_notes (id BIGINT, note STRING)")
    connection = sqlite3.connect(tmp_path / "orders.db")
    connection.execute("CREATE TABLE notes (id INTEGER, note TEXT)")
    connection.executemany("INSERT INTO notes VALUES (?, ?)", [(1, "a" * 100), (2, "b" * 35_000)])
    connection.commit()
    refused = airflow.run("rows_of_long_text", environ=environ)
    assert refused["tasks"]["push"]["state"] == "failed"
    assert "state_uri" in refused["log"]
    assert "60,000" in refused["log"]
    assert target.rows("main.default.handoff_notes") == []
    connection.execute("DELETE FROM notes WHERE id = 2")
    connection.commit()
    connection.close()
    receipt = receipt_of(airflow.run("rows_of_long_text", environ=environ))
    assert (receipt["rows_acked"], receipt["handoff"]["from"]) == (1, None), "no slice was frozen before"
