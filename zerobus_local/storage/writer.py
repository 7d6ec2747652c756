"""The thread that writes one Delta table, and the limit on the total number of bytes that wait in all such threads."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from ..errors import InvalidRequest, LocalZerobusError, UnknownOutcome, UnknownTable
from ..model.nullability import without_not_null
from .compaction import Compactor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..catalog.catalog import Catalog
    from ..model.objects import Table

__all__ = ["Append", "Budget", "StorageClosedError", "TableWriter"]

_log = logging.getLogger("zerobus_local")
_COMMIT_BYTES = 32 * 1024 * 1024  # a commit with this many bytes does not wait for more rows
_COMMITS_BETWEEN_LOOKS = 32
# The application id under which the Delta log stores the number of the writer's last commit.
_APP_ID = "zerobus-local"


class StorageClosedError(RuntimeError):
    """The storage is closed and accepts no more rows."""


@dataclass(frozen=True, slots=True)
class Append:
    """Rows that wait for a commit, and the function to call after their commit succeeded or failed."""

    batch: pa.RecordBatch
    done: Callable[[int | Exception], None]


class Budget:
    """Limits the number of bytes that wait for a commit. If no bytes wait, ``take`` allows any number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0  # guarded by _changed
        self._changed = threading.Condition()

    def take(self, nbytes: int) -> None:
        """Block until ``nbytes`` bytes fit into the limit, then reserve them."""
        with self._changed:
            while self._used and self._used + nbytes > self._limit:
                self._changed.wait()
            self._used += nbytes

    def give(self, nbytes: int) -> None:
        """Release ``nbytes`` bytes that ``take`` reserved."""
        with self._changed:
            self._used -= nbytes
            self._changed.notify_all()


class TableWriter(threading.Thread):
    """Collects rows for at most ``commit_delay`` seconds, then commits all of these rows together."""

    def __init__(self, table: Table, catalog: Catalog, *, commit_delay: float, budget: Budget) -> None:
        super().__init__(name=f"zerobus-local-writer {table.full_name}", daemon=True)
        self._table = table
        self._catalog = catalog
        self._delay = commit_delay
        self._budget = budget
        self._delta: DeltaTable | None = None
        self._number = 0  # the number of the last attempted commit
        self._compactor = Compactor(table, catalog)
        self._commits = 0
        self._altered = table  # the catalog entry at the time of the snapshot _delta
        # guards the fields below
        self._changed = threading.Condition()
        self._waiting: list[Append] = []
        self._waiting_bytes = 0
        self._closing = False

    def put(self, append: Append) -> None:
        """Queue rows for the next commit; raise StorageClosedError if ``close`` was called."""
        with self._changed:
            if self._closing:
                raise StorageClosedError(f"the writer of {self._table.full_name} is closed: the server is stopping")
            self._waiting.append(append)
            self._waiting_bytes += append.batch.nbytes
            self._changed.notify()

    def close(self) -> None:
        """Tell the thread to commit the waiting rows and then end; return at once."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def run(self) -> None:
        """Commit the queued rows, one group after the other, until ``close`` was called and no rows are left."""
        while group := self._next_group():
            self._commit(group)
        self._compactor.wait()

    def _next_group(self) -> list[Append]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            due = time.monotonic() + self._delay
            while not self._closing and self._waiting_bytes < _COMMIT_BYTES:
                left = due - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            group, self._waiting, self._waiting_bytes = self._waiting, [], 0
            return group

    def _commit(self, group: list[Append]) -> None:
        try:
            outcome = self._write([append.batch for append in group])
        except Exception as error:  # noqa: BLE001  # the edge of the thread: everyone who waits has to be notified
            self._delta = None
            if len(group) > 1 and not isinstance(error, LocalZerobusError):
                # Perhaps the rows of one stream are the cause: commit each append alone, so that only its rows fail.
                for append in group:
                    self._commit([append])
                return
            _log.warning("commit into %s failed: %s", self._table.full_name, error)
            self._tell(group, error)
        else:
            self._tell(group, outcome)
            self._commits += 1
            if self._commits % _COMMITS_BETWEEN_LOOKS == 0:
                self._compactor.look()

    def _tell(self, group: list[Append], outcome: int | Exception) -> None:
        for append in group:
            self._budget.give(append.batch.nbytes)
            append.done(outcome)

    def _write(self, batches: list[pa.RecordBatch]) -> int:
        with self._catalog.locks.commit(self._table.table_id):
            current = self._catalog.table(self._table.full_name)
            if current.table_id != self._table.table_id:
                raise UnknownTable(f"table {self._table.full_name} was dropped and created again")
            if self._delta is None or current is not self._altered:
                # ALTER TABLE makes a commit of its own, which an older snapshot does not contain.
                self._delta, self._altered = DeltaTable(self._table.path), current
                self._number = self._delta.transaction_version(_APP_ID) or 0
            rows = _widened(batches, current)
            if rows.num_rows:
                self._append(self._delta, rows)
            return int(self._delta.version())

    def _append(self, delta: DeltaTable, rows: pa.Table) -> None:
        self._number += 1
        properties = CommitProperties(app_transactions=[Transaction(_APP_ID, self._number)])
        try:
            write_deltalake(delta, rows, mode="append", commit_properties=properties)
        except Exception as error:
            # If only a step after the commit failed, such as a checkpoint of the log, the rows are in the table.
            self._delta = self._read_again(error)
            if self._delta.transaction_version(_APP_ID) != self._number:
                raise
            _log.warning("the rows are in %s, but a step after the commit failed: %s", self._table.full_name, error)

    def _read_again(self, error: Exception) -> DeltaTable:
        try:
            return DeltaTable(self._table.path)
        except Exception as second:  # noqa: BLE001  # whatever the reason, the outcome is unknown
            # This error keeps _commit from committing the rows again: they may be in the table.
            raise UnknownOutcome(
                f"it is unknown whether rows are in {self._table.full_name}: their commit failed ({error}), and "
                f"reading the table's log again failed too ({second})"
            ) from error


def _widened(batches: list[pa.RecordBatch], table: Table) -> pa.Table:
    """Join ``batches`` into one Arrow table with the current schema of the Delta table.

    A column that was added while rows were waiting is NULL in these rows. Raises InvalidRequest if the rows have a
    column that was dropped.
    """
    schema = without_not_null(table.arrow_schema)
    aligned = []
    for batch in batches:
        names = set(batch.schema.names)
        if gone := sorted(names - set(schema.names)):
            raise InvalidRequest(f"column {', '.join(gone)} was dropped from {table.full_name}: open the stream again")
        columns = [
            batch.column(field.name) if field.name in names else pa.nulls(batch.num_rows, field.type)
            for field in schema
        ]
        aligned.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    return pa.Table.from_batches(aligned, schema=schema)
