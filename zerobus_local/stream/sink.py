"""Passes the rows of one stream to the storage, after checking constraints and applying faults."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..decode.refusal import RefusedRecordError
from ..storage.conditions import ConditionError, Conditions

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from ..faults import Rule
    from ..model.objects import Table
    from ..storage.storage import Storage
    from .faults import StreamFaults
    from .statistics import Streams

__all__ = ["StreamSink"]

_log = logging.getLogger("zerobus_local")


class StreamSink:
    """Checks and stores the rows of one stream, in the stream's thread. Call ``close`` when the stream has ended."""

    def __init__(self, table: Table, storage: Storage, faults: StreamFaults, streams: Streams) -> None:
        self.table = table.full_name
        self._table = table
        self._storage = storage
        self._faults = faults
        self._streams = streams
        self._unfit_tables: set[str] = set()  # predicates that do not fit the table; each is reported once
        self._conditions: Conditions | None = None

    def check(self, batch: pa.RecordBatch, offset: int) -> None:
        """Raise RefusedRecordError if a row violates a constraint or matches a ``refuse_records`` fault."""
        if self._table.checks:
            self._engine().refuse_broken(batch, self._table.checks)
        rule = self._faults.peek("refuse_records", offset)
        if rule:
            found = self._first_where(batch, rule)
            if found is not None and self._faults.trigger("refuse_records", offset):
                raise RefusedRecordError(found, None, f"injected fault: {rule.predicate}")

    def _first_where(self, batch: pa.RecordBatch, rule: Rule) -> int | None:
        try:
            return self._engine().first_where(batch, rule.predicate)
        except ConditionError as error:
            # Refuse nothing: the rule might be meant for another table. A test that expects the fault does not find it
            # in the log of faults, and finds the reason in the messages below.
            if rule.predicate not in self._unfit_tables:
                self._unfit_tables.add(rule.predicate)
                reason = f"the fault refuse_records does not trigger: its predicate {error}"
                _log.warning("stream on %s: %s", self.table, reason)
                self._streams.on_failed(self.table, reason)
            return None

    def append(self, batch: pa.RecordBatch, offset: int, done: Callable[[int | Exception], None]) -> None:
        """Pass the rows to the storage, which calls ``done`` with the commit's version or an exception; may block."""
        if self._faults.trigger("duplicate_commit", offset):
            self._storage.append(self._table, batch, lambda _outcome: None)
        self._storage.append(self._table, batch, done)

    def close(self) -> None:
        """Free the engine that evaluates constraints and predicates."""
        if self._conditions is not None:
            self._conditions.close()

    def _engine(self) -> Conditions:
        if self._conditions is None:
            self._conditions = Conditions()
        return self._conditions
