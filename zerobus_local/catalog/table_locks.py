"""Two locks per table: one for commits of rows, one for merges of files. ALTER TABLE, for example, takes both."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model.objects import Table

__all__ = ["TableLocks"]


class TableLocks:
    """Two locks for each table id. Thread-safe; each lock can be taken again by the thread that holds it."""

    def __init__(self) -> None:
        # by table_id; setdefault is atomic
        self._commits: dict[str, threading.RLock] = {}
        self._compactions: dict[str, threading.RLock] = {}

    def commit(self, table_id: str) -> AbstractContextManager[bool]:
        """Return the lock to hold during a commit of rows. While it is held, the table is not altered or dropped.

        Look the table up again once you hold the lock. By then, the table may have been dropped, and a new table with a
        different ``table_id`` may have the same name.
        """
        return self._commits.setdefault(table_id, threading.RLock())

    def compaction(self, table_id: str) -> AbstractContextManager[bool]:
        """Return the lock to hold while files of the table are merged.

        Rows can be committed while this lock is held: a commit takes only the lock for commits.
        """
        return self._compactions.setdefault(table_id, threading.RLock())

    @contextmanager
    def alone(self, *tables: Table) -> Generator[None]:
        """Hold both locks of each of ``tables`` within the ``with`` block.

        Use this to alter or drop a table, or to delete rows. Until the block ends, other threads can neither
        commit rows nor merge files.
        """
        with ExitStack() as held:
            for table in tables:
                held.enter_context(self.compaction(table.table_id))
                held.enter_context(self.commit(table.table_id))
            yield
