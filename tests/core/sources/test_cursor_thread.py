"""A statement runs in a thread of its own, and what a signal's handler raises breaks it off."""

from __future__ import annotations

import contextvars
import signal
import sqlite3
import threading

import pytest

from zerobus_core.sources.rows.cursor_thread import CursorThread

ENDLESS = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT count(*) AS id FROM n"
NAME = "under_test"


class HandlerError(Exception):
    """What the handler of the signal raises, as Airflow's for ``execution_timeout`` does."""


@pytest.fixture
def send_signal():
    """Has a handler raise HandlerError in the main thread, once."""

    def on_signal(*_):
        raise HandlerError

    former = signal.signal(signal.SIGALRM, on_signal)
    left = [signal.SIGALRM]
    yield lambda: left and signal.pthread_kill(threading.main_thread().ident, left.pop())
    signal.signal(signal.SIGALRM, former)


def query(statement, connect=lambda: sqlite3.connect(":memory:")):
    return CursorThread(connect, lambda connection: connection.execute(statement), name=NAME)


def wait_for_the_end_of_the_thread():
    for thread in threading.enumerate():
        if NAME in thread.name:
            thread.join(60)
            assert not thread.is_alive()


def test_the_rows_of_a_statement_are_fetched_in_parts():
    with query("SELECT 1 AS id, 'a' AS note UNION ALL SELECT 2, 'b' UNION ALL SELECT 3, 'c'") as cursor:
        assert [column[0] for column in cursor.description] == ["id", "note"]
        assert [cursor.fetchmany(2) for _ in range(3)] == [[(1, "a"), (2, "b")], [(3, "c")], []]
    wait_for_the_end_of_the_thread()


def test_an_error_of_the_driver_is_raised_as_it_is():
    with pytest.raises(sqlite3.OperationalError, match="no such table"), query("SELECT * FROM nowhere"):
        pass
    wait_for_the_end_of_the_thread()


@pytest.mark.parametrize(
    "statement", [ENDLESS, f"SELECT 1 AS id UNION ALL SELECT * FROM ({ENDLESS})"], ids=["executing", "fetching"]
)
def test_a_statement_that_is_broken_off_is_cancelled_in_its_database(send_signal, statement):
    def connect():
        connection = sqlite3.connect(":memory:")
        connection.set_progress_handler(send_signal, 100_000)
        return connection

    with pytest.raises(HandlerError), query(statement, connect) as cursor:
        cursor.fetchmany(2)
    wait_for_the_end_of_the_thread()


class Stuck:
    """A connection that cannot cancel: the call named ``stuck`` does ``act`` and then waits for ``over``."""

    description = (("id",),)

    def __init__(self, stuck=None, act=lambda: None):
        self.stuck = stuck
        self.act = act
        self.over = threading.Event()
        self.closed = threading.Event()

    def connect(self):
        return self._called("connect")

    def execute(self, _statement):
        return self._called("execute")

    def close(self):
        self._called("close")
        self.closed.set()

    def _called(self, name):
        if name == self.stuck:
            self.act()
            assert self.over.wait(60)
        return self


@pytest.mark.parametrize("call", ["connect", "execute"])
def test_a_call_that_cannot_be_cancelled_is_left_alone_and_its_connection_closed_after_it(send_signal, call):
    connection = Stuck(call, send_signal)
    with pytest.raises(HandlerError), query("SELECT 1", connection.connect):
        pass
    assert not connection.closed.is_set()
    connection.over.set()
    assert connection.closed.wait(60)
    wait_for_the_end_of_the_thread()


def test_a_connection_that_cannot_be_closed_is_left_alone(caplog):
    connection = Stuck("close")
    with query("SELECT 1", connection.connect):
        pass
    assert not connection.closed.is_set()
    assert "under_test was not closed within 5 s" in caplog.text
    connection.over.set()
    wait_for_the_end_of_the_thread()


def test_an_error_of_closing_is_logged_and_not_raised(caplog):
    class Unclosable(Stuck):
        def close(self):
            raise OSError("gone")

    with query("SELECT 1", Unclosable().connect):
        pass
    assert "Closing the connection under_test failed" in caplog.text
    wait_for_the_end_of_the_thread()


def test_the_thread_runs_in_the_context_of_its_caller():
    task = contextvars.ContextVar("task")
    task.set("push")
    seen = []

    def connect():
        seen.append(task.get())
        return sqlite3.connect(":memory:")

    with query("SELECT 1", connect):
        pass
    assert seen == ["push"]


def test_a_cursor_that_was_closed_says_so_and_is_closed_once():
    with query("SELECT 1") as cursor:
        pass
    cursor.close()
    with pytest.raises(RuntimeError, match="the connection under_test is closed"):
        cursor.fetchmany(1)
