"""Runs a database cursor in a thread of its own, so that the main thread can handle signals during a query.

A driver's call is a native call, and Python runs a signal handler only after the call has returned: a statement that
takes an hour would delay SIGTERM and ``execution_timeout`` for an hour. Waiting for another thread can be interrupted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeAlias

from .database_types import DatabaseColumn, columns_of

__all__ = ["CursorThread"]

Call: TypeAlias = Callable[[], Any]

# All of these are seconds.
_STEP = 0.1
# If the database does not get the cancellation in this time, the statement can continue there; the task ends anyway.
_CANCEL_TIMEOUT = 0.25
# How long to wait until the connection is closed. After the last row, nothing else is waited for.
_CLOSE_TIMEOUT = 5.0

_log = logging.getLogger("zerobus_core")


class CursorThread:
    """The result of a statement, read like a cursor.

    Entering the ``with`` block opens a connection and executes the statement; leaving it closes the connection. Because
    some drivers bind a connection to its thread, one daemon thread makes all calls to the connection, except for the
    call that cancels a statement.

    If a signal interrupts the wait for a call, the call continues in the daemon thread. The database is asked to cancel
    the statement if the driver can do that, and the process can end without waiting for the thread.

    The function ``connect`` also runs in the daemon thread. This function can ask Airflow for the connection's fields:
    Airflow allows requests to its supervisor from any thread, and sends them one after the other.
    """

    def __init__(self, connect: Callable[[], Any], execute: Callable[[Any], Any], *, name: str) -> None:
        """Prepare the cursor without opening a connection.

        ``connect`` returns a connection. ``execute`` gets this connection and returns a cursor. ``name`` is the
        connection's name in the log.
        """
        self.description: Any = None
        self.special_columns: tuple[DatabaseColumn, ...] = ()
        """The result of ``database_types.columns_of`` for the cursor."""
        self._connect = connect
        self._execute = execute
        self._name = name
        self._connection: Any = None
        self._cursor: Any = None
        self._calls: SimpleQueue[tuple[Future[Any], Call] | None] = SimpleQueue()
        self._latest: Future[Any] = Future()
        self._closed: Future[Any] | None = None

    def __repr__(self) -> str:
        return f"<CursorThread of {self._name}>"

    def __enter__(self) -> CursorThread:
        # The thread runs in the caller's context, because Airflow stores the current task there.
        work = copy_context().run
        threading.Thread(target=work, args=(self._work,), name=f"sql {self._name}", daemon=True).start()
        try:
            self._wait_for(self._open)
            self._wait_for(self._run)
        except BaseException:
            self._break_off()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._break_off()

    def fetchmany(self, size: int) -> Any:
        """Return the next ``size`` rows, or fewer at the end; signal handlers can run, and raise, during the wait."""
        return self._wait_for(lambda: self._cursor.fetchmany(size))

    def close(self) -> None:
        """Close the connection, and wait at most 5 s until it is closed. Errors are logged, not raised."""
        if not wait([self._end()], timeout=_CLOSE_TIMEOUT).done:
            _log.warning("The connection %s was not closed within %.0f s", self._name, _CLOSE_TIMEOUT)

    def _break_off(self) -> None:
        if not self._latest.done():
            cancelling = threading.Thread(target=self._cancel, name=f"cancel {self._name}", daemon=True)
            cancelling.start()
            cancelling.join(_CANCEL_TIMEOUT)
        self._end()

    def _wait_for(self, call: Call) -> Any:
        future = self._post(call)
        # Waits in short steps: a signal that comes just before a wait begins does not end that wait.
        while not wait([future], timeout=_STEP).done:
            pass
        return future.result()

    def _post(self, call: Call) -> Future[Any]:
        if self._closed is not None:
            raise RuntimeError(f"the connection {self._name} is closed")
        self._latest = Future()
        self._calls.put((self._latest, call))
        return self._latest

    def _end(self) -> Future[Any]:
        if self._closed is None:
            self._closed = self._post(self._close)
            self._calls.put(None)
        return self._closed

    # These methods run in the thread.

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  # the edge of the thread: the waiting thread raises the error
                future.set_exception(error)
            del item, future, call  # otherwise rows would stay in memory until the next call

    def _open(self) -> None:
        self._connection = self._connect()

    def _run(self) -> None:
        self._cursor = self._execute(self._connection)
        self.description = self._cursor.description
        self.special_columns = columns_of(self._cursor)

    def _close(self) -> None:
        # The cursor first: psycopg warns of server-side cursors that are left open.
        for owner in (self._cursor, self._connection):
            close = getattr(owner, "close", None)
            try:
                if close is not None:
                    close()
            except Exception:  # noqa: BLE001  # every driver has its own errors, and after the last ACK nothing may fail the task
                _log.warning("Closing the connection %s failed", self._name, exc_info=True)

    def _cancel(self) -> None:
        """Ask the database to cancel the statement, if the connection or the cursor has a method for that."""
        for owner, name in ((self._connection, "interrupt"), (self._connection, "cancel"), (self._cursor, "cancel")):
            cancel = getattr(owner, name, None)
            if cancel is not None:
                try:
                    cancel()
                except Exception:  # noqa: BLE001  # as above; the task has ended by then
                    _log.warning("The statement on %s was not cancelled and might still run", self._name, exc_info=True)
                return
