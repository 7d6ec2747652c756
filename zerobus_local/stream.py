"""One stream from its first record to its last acknowledgement, whatever protocol carries it.

The law of a stream:

1. Offsets of a connection start at 0 and go up by one; anything else ends the stream (4002).
2. A request is stored as a whole or refused as a whole.  What came before a refused request is committed and
   acknowledged first, so that the first unacknowledged request is the one that was refused.
3. An acknowledgement is cumulative, never goes back, and leaves only after the commit that holds the rows.
4. When the client has sent all, the stream ends with OK after the last acknowledgement.

A stream runs in the thread in which gRPC takes its responses.  It sleeps on ``inbox.changed`` and wakes for a request,
a commit, a timer or the end of the call.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from .decode import RefusedRecordError
from .errors import NotFound
from .wire_status import NOT_NEXT_OFFSET, CutError, StatusError, invalid, status_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from .faults import Faults
    from .model import Table
    from .storage import Storage
    from .stream_inbox import Inbox
    from .stream_statistics import StreamRecord

__all__ = ["Request", "Stream", "StreamProtocol"]

# What one append takes from the inbox, and what a stream may have waiting for commits before it stops reading.
_GROUP_BYTES = 8 * 1024 * 1024
_UNCOMMITTED_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One ingest request: its offset on this connection, and its records as the protocol carries them."""

    offset: int
    records: list[Any]
    nbytes: int


class StreamProtocol(Protocol):
    """What differs between EphemeralStream and Arrow Flight."""

    def parse(self, message: bytes) -> Request:
        """A request; StatusError for what is none."""

    def decode(self, records: list[Any]) -> pa.RecordBatch:
        """Records of one or more requests; RefusedRecordError counts through all of them."""

    def acknowledgement(self, offset: int, rows: int) -> bytes:
        """All requests up to ``offset`` are durable, which are ``rows`` rows since the connection began."""


@dataclass(slots=True)
class _Pending:
    """A request whose rows are handed to the storage."""

    offset: int
    nbytes: int
    rows_so_far: int
    received_at: float


class Stream:
    """See the module's docstring.  ``run`` yields responses; it raises StatusError or CutError to end badly."""

    def __init__(
        self,
        *,
        table: Table,
        protocol: StreamProtocol,
        inbox: Inbox,
        storage: Storage,
        faults: Faults,
        record: StreamRecord,
    ) -> None:
        self._table = table
        self._number = record.number
        self._protocol = protocol
        self._inbox = inbox
        self._storage = storage
        self._faults = faults
        self._record = record
        # of the stream's own thread
        self._next_offset = 0
        self._rows = 0
        self._pending: deque[_Pending] = deque()
        self._uncommitted = 0
        self._ready: deque[tuple[float, _Pending]] = deque()
        self._withheld = False
        self._end: Exception | None = None
        # guarded by inbox.changed
        self._committed = 0
        self._commit_error: Exception | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """The call is over; from any thread."""
        with self._inbox.changed:
            self._cancelled = True
            self._inbox.changed.notify_all()

    def run(self) -> Iterator[bytes]:
        """Acknowledgements, until all is acknowledged and the client has no more to send."""
        while True:
            self._settle()
            due = self._due()
            if due is not None:
                self._record.acknowledged(due.rows_so_far, due.received_at)
                yield self._protocol.acknowledgement(due.offset, due.rows_so_far)
            if self._end is not None and not self._pending and (not self._ready or self._withheld):
                raise self._end
            if not self._wait():
                return
            if self._end is None and self._uncommitted < _UNCOMMITTED_BYTES:
                messages = self._inbox.take(_GROUP_BYTES)
                if messages:
                    self._accept(messages)

    # requests

    def _accept(self, messages: list[bytes]) -> None:
        requests: list[Request] = []
        try:
            for message in messages:
                request = self._protocol.parse(message)
                if request.offset != self._next_offset:
                    raise invalid(
                        f"offset {request.offset} is not the next one, which is {self._next_offset}: "
                        "offsets of a stream start at 0 and go up by one",
                        error_code=NOT_NEXT_OFFSET,
                    )
                self._strike(request.offset, "before_commit")
                self._next_offset += 1
                requests.append(request)
        except (StatusError, CutError) as error:
            self._end = error
        if requests:
            self._store(requests)

    def _store(self, requests: list[Request]) -> None:
        records = requests[0].records if len(requests) == 1 else [record for r in requests for record in r.records]
        try:
            batch = self._protocol.decode(records)
        except RefusedRecordError as error:
            self._refuse(requests, error)
            return
        now = time.monotonic()
        for request in requests:
            self._rows += len(request.records)
            self._pending.append(_Pending(request.offset, request.nbytes, self._rows, now))
            self._uncommitted += request.nbytes
        self._record.received(self._rows, sum(request.nbytes for request in requests))
        count = len(requests)

        def done(outcome: int | Exception) -> None:
            with self._inbox.changed:
                if isinstance(outcome, Exception):
                    self._commit_error = outcome
                else:
                    self._committed += count
                self._inbox.changed.notify_all()

        self._storage.append(self._table, batch, done)

    def _refuse(self, requests: list[Request], error: RefusedRecordError) -> None:
        """Store what came before the request with the bad record, and end the stream because of that one."""
        before = 0
        for index, request in enumerate(requests):
            if error.record < before + len(request.records):
                self._end = invalid(
                    f"Invalid record for table {self._table.full_name}: request with offset {request.offset}, "
                    f"{error.moved(-before)}. None of the request's {len(request.records)} records are stored"
                )
                if index:
                    self._store(requests[:index])
                return
            before += len(request.records)
        raise AssertionError(f"record {error.record} of {before}")

    # acknowledgements

    def _settle(self) -> None:
        """Move what is committed towards its acknowledgement."""
        with self._inbox.changed:
            committed, self._committed = self._committed, 0
            commit_error = self._commit_error
        for _ in range(committed):
            request = self._pending.popleft()
            self._uncommitted -= request.nbytes
            if isinstance(self._end, CutError):
                continue
            try:
                self._strike(request.offset, "after_commit")
            except (StatusError, CutError) as error:
                self._end = error
                self._withheld = True
            self._ready.append((self._acknowledge_at(request.offset), request))
        if commit_error is not None:
            code = grpc.StatusCode.NOT_FOUND if isinstance(commit_error, NotFound) else grpc.StatusCode.INTERNAL
            raise StatusError(code, f"rows could not be stored in {self._table.full_name}: {commit_error}")

    def _acknowledge_at(self, offset: int) -> float:
        now = time.monotonic()
        if not self._faults.any:
            return now
        if self._faults.strike("withhold_ack", self._table.full_name, self._number, offset):
            self._withheld = True
        delay = self._faults.strike("delay_ack", self._table.full_name, self._number, offset)
        return now + delay.seconds if delay else now

    def _due(self) -> _Pending | None:
        """The last request that can be acknowledged now; those before it are acknowledged with it."""
        due = None
        now = time.monotonic()
        while self._ready and not self._withheld and self._ready[0][0] <= now:
            due = self._ready.popleft()[1]
        return due

    def _strike(self, offset: int, at: str) -> None:
        if not self._faults.any:
            return
        table = self._table.full_name
        if self._faults.strike("cut", table, self._number, offset, at):
            raise CutError
        rule = self._faults.strike("fail", table, self._number, offset, at)
        if rule:
            raise StatusError(status_code(rule.status), rule.text)

    # waiting

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when the stream is over."""
        with self._inbox.changed:
            while True:
                if self._cancelled:
                    return False
                if self._committed or self._commit_error:
                    return True
                readable = self._end is None and self._uncommitted < _UNCOMMITTED_BYTES
                if readable and self._inbox.filled:
                    return True
                if self._inbox.ended and not self._pending and not self._ready and self._end is None:
                    return False
                timeout = None
                if self._ready and not self._withheld:
                    timeout = self._ready[0][0] - time.monotonic()
                    if timeout <= 0:
                        return True
                elif self._end is not None and not self._pending:
                    return True
                self._inbox.changed.wait(timeout)
