"""Writes rows to Delta tables by group commit: one writer per table commits the rows of many streams together.

``Storage.append`` takes rows and a function ``done``, which is called once. If the rows were committed, ``done`` gets
the version of the Delta commit, even if a step after the commit failed. Otherwise, ``done`` gets the error. If
the error is UnknownOutcome, the rows may be in the table; after any other error, none of the rows are in the table.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pyarrow as pa

from ..errors import UnknownTable
from .writer import Append, Budget, StorageClosedError, TableWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..catalog.catalog import Catalog
    from ..model.objects import Table

__all__ = ["Storage", "StorageClosedError"]


class Storage:
    """All writers of one data folder. Thread-safe.

    ``commit_delay`` is the maximum time, in seconds, for which the first rows of a commit wait for more rows.
    ``max_pending_bytes`` limits the size of all rows that wait for a commit, in all tables together. ``append`` blocks
    while its rows would exceed this limit; this slows the clients down. If no rows are waiting, ``append`` takes
    rows of any size.
    """

    def __init__(
        self, catalog: Catalog, *, commit_delay: float = 0.05, max_pending_bytes: int = 256 * 1024 * 1024
    ) -> None:
        self._catalog = catalog
        self._commit_delay = commit_delay
        self._budget = Budget(max_pending_bytes)
        # guards _writers and _closed
        self._lock = threading.Lock()
        self._writers: dict[str, TableWriter] = {}
        self._closed = False
        catalog.when_dropped(self._end_writer)
        self._warm_up = threading.Thread(target=_warm_up, name="zerobus-local-warm-up", daemon=True)
        self._warm_up.start()

    def append(self, table: Table, batch: pa.RecordBatch, done: Callable[[int | Exception], None]) -> None:
        """Queue rows that have the table's schema; ``done`` is called once, after their commit succeeded or failed.

        The writer's thread calls ``done``, which must not block. If the table was dropped, ``append`` itself calls
        ``done`` at once, with an UnknownTable error. ``append`` blocks while too many bytes are waiting. Raises
        StorageClosedError if ``close`` was called.
        """
        self._budget.take(batch.nbytes)
        try:
            with self._lock:  # so that the writer cannot end before it takes the rows
                self._writer(table).put(Append(batch, done))
        except UnknownTable as error:
            self._budget.give(batch.nbytes)
            done(error)
        except BaseException:
            self._budget.give(batch.nbytes)
            raise

    def append_and_wait(self, table: Table, batch: pa.RecordBatch, *, timeout: float) -> int:
        """Append rows, wait for their commit, and return the commit's version.

        If the commit fails, raises the commit's error. Raises TimeoutError if the commit takes longer than ``timeout``
        seconds, not counting the time for which ``append`` blocks; then it is unknown whether the rows will be stored.
        """
        finished = threading.Event()
        result: list[int | Exception] = []

        def done(outcome: int | Exception) -> None:
            result.append(outcome)
            finished.set()

        self.append(table, batch, done)
        if not finished.wait(timeout):
            raise TimeoutError(f"no commit to {table.full_name} within {timeout:g} s")
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]

    def close(self, timeout: float = 10.0) -> None:
        """Commit the waiting rows and stop all writers; can be called twice.

        Waits at most ``timeout`` seconds for each thread.
        """
        with self._lock:
            self._closed = True
            writers = list(self._writers.values())
        for writer in writers:
            writer.close()
        for writer in writers:
            writer.join(timeout)
        # If a daemon thread is still importing libraries of pyarrow or pandas when Python ends, the process aborts.
        self._warm_up.join(timeout)

    def _writer(self, table: Table) -> TableWriter:
        """Return the table's writer, and start one if there is none; the caller must hold ``_lock``."""
        if self._closed:
            raise StorageClosedError("the storage is closed: the server is stopping")
        writer = self._writers.get(table.table_id)
        if writer is None:
            if self._catalog.table(table.full_name).table_id != table.table_id:
                raise UnknownTable(f"table {table.full_name} was dropped and created again")
            writer = TableWriter(table, self._catalog, commit_delay=self._commit_delay, budget=self._budget)
            self._writers[table.table_id] = writer
            writer.start()
        return writer

    def _end_writer(self, table: Table) -> None:
        with self._lock:
            writer = self._writers.pop(table.table_id, None)
        if writer is not None:
            writer.close()
            writer.join()


def _warm_up() -> None:
    """Make pyarrow import pandas now, if pandas is installed.

    Without this call, pyarrow would import pandas later, when it first builds an array from Python objects. The import
    takes seconds.
    """
    pa.array([0])
