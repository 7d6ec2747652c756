"""One stream of EphemeralStream or Arrow Flight, from its first record to its last acknowledgement.

The rules of a stream:

1. Offsets of a stream's requests start at 0 and go up by one; any other offset ends the stream (error code 4002).
2. A request is stored as a whole or refused as a whole. All requests that precede a refused request are committed and
   acknowledged first, so that the first unacknowledged request is the one that was refused.
3. An acknowledgement covers all requests up to its offset. It is sent only after their rows are committed, and the
   offsets of successive acknowledgements never decrease.
4. When the client has sent everything, the stream ends with OK after the last acknowledgement.
5. A client is asked to close a stream before the stream reaches its maximum age. At that age, the stream ends with
   error code 6002.

A stream runs in the thread in which gRPC reads its responses. It waits on ``inbox.changed`` for a request, a commit, a
timer or the end of the call.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc

from ..decode.refusal import RefusedRecordError
from ..errors import InvalidRequest, NotFound
from ..limits import Pace
from ..status import NOT_NEXT_OFFSET, STREAM_LIFETIME, CutError, StatusError, invalid_error
from ..storage.writer import StorageClosedError
from .acks import AckQueue, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from ..limits import Limits
    from .faults import StreamFaults
    from .inbox import Inbox
    from .sink import StreamSink
    from .statistics import StreamRecord

__all__ = ["Request", "ServedStream", "StreamProtocol"]

# The most bytes that one append takes from the inbox, and the uncommitted bytes at which a stream stops reading.
_GROUP_BYTES: Final = 8 * 1024 * 1024
_UNCOMMITTED_BYTES: Final = 32 * 1024 * 1024


_COMMIT_ERRORS: Final = ((NotFound, grpc.StatusCode.NOT_FOUND), (InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT))
_UNKNOWN_ERROR: Final = grpc.StatusCode.INTERNAL


@dataclass(frozen=True, slots=True)
class Request:
    """One ingest request of a stream.

    ``records`` are the records of the request, in the form that ``StreamProtocol.decode`` accepts.
    """

    offset: int
    rows: int
    records: list[Any]
    nbytes: int


class StreamProtocol(Protocol):
    """The functions in which EphemeralStream and Arrow Flight differ."""

    def parse(self, message: bytes) -> Request:
        """Return the request that ``message`` contains; raise StatusError if the message is not a valid request."""

    def decode(self, records: list[Any]) -> pa.RecordBatch:
        """Return the rows of one or more requests, in order; ``records`` are the records of all these requests.

        Raises RefusedRecordError if a row does not fit the table. The error contains the row's index, counted from the
        first row of the first request.
        """

    def acknowledgement(self, offset: int, rows: int) -> bytes:
        """Return a message which says that all requests up to and including ``offset`` are durable.

        ``rows`` is the number of rows in all these requests.
        """

    def close_signal(self, seconds: float) -> bytes:
        """Return a message which says that the stream will end in ``seconds`` seconds."""


class ServedStream:
    """One stream. It follows the rules in the module's docstring.

    ``run`` yields the responses. It raises StatusError or CutError if the stream ends with an error.
    """

    def __init__(  # a stream uses all of these parts
        self,
        *,
        protocol: StreamProtocol,
        inbox: Inbox,
        sink: StreamSink,
        faults: StreamFaults,
        limits: Limits,
        record: StreamRecord,
    ) -> None:
        self._protocol = protocol
        self._inbox = inbox
        self._sink = sink
        self._faults = faults
        self._limits = limits
        self._record = record
        # used only by the stream's own thread
        self._acks = AckQueue()
        self._pace = Pace(limits)
        self._next_offset = 0
        self._rows = 0
        self._read_at = 0.0
        self._signals: deque[bytes] = deque()
        self._end: Exception | None = None
        self._ends_at, self._signal_at = self._life()
        # guarded by inbox.changed
        self._committed = 0
        self._commit_error: Exception | None = None
        self._cancelled = False
        self._stopping = False

    def shut_down(self) -> None:
        """Refuse new requests, and end with UNAVAILABLE once the accepted ones are acknowledged. Thread-safe."""
        with self._inbox.changed:
            self._stopping = True
            self._inbox.changed.notify_all()

    def cancel(self) -> None:
        """End the stream, because the call is over. Thread-safe."""
        with self._inbox.changed:
            self._cancelled = True
            self._inbox.changed.notify_all()

    def run(self) -> Iterator[bytes]:
        """Yield ACKs and close signals until the call ends, or until the last request is acknowledged."""
        while True:
            self._settle()
            self._keep_time()
            while self._signals:
                yield self._signals.popleft()
            due = self._acks.take_due(time.monotonic())
            if due is not None:
                self._record.on_acknowledged(due.rows_so_far, due.received_at)
                yield self._protocol.acknowledgement(due.offset, due.rows_so_far)
            if self._end is not None and self._acks.is_settled:
                raise self._end
            if not self._wait():
                return
            if self._is_reading(time.monotonic()):
                # Rate limits and faults apply to single requests. If none is set, waiting requests are stored together.
                one_by_one = self._pace.is_limited or self._faults.any
                messages = self._inbox.take(0 if one_by_one else _GROUP_BYTES)
                if messages:
                    self._accept(messages)

    # requests

    def _accept(self, messages: list[bytes]) -> None:
        requests: list[Request] = []
        try:
            for message in messages:
                request = self._protocol.parse(message)
                if request.offset != self._next_offset:
                    raise invalid_error(
                        f"the request has offset {request.offset}, but the next offset is {self._next_offset}: "
                        "offsets of a stream start at 0 and increase by one",
                        error_code=NOT_NEXT_OFFSET,
                    )
                self._faults.break_off(request.offset, "before_commit")
                self._next_offset += 1
                requests.append(request)
                self._announce_close(request.offset)
        except (StatusError, CutError) as error:
            self._end = error
        if requests:
            self._store(requests)

    def _store(self, requests: list[Request]) -> None:
        records = requests[0].records if len(requests) == 1 else [record for r in requests for record in r.records]
        first_offset = requests[0].offset
        try:
            batch = self._protocol.decode(records)
            self._sink.check(batch, first_offset)
        except RefusedRecordError as error:
            self._refuse(requests, error)
            return
        now = time.monotonic()
        for request in requests:
            self._rows += request.rows
            self._acks.store(Stored(request.offset, request.nbytes, self._rows, now))
        nbytes = sum(request.nbytes for request in requests)
        self._record.on_received(self._rows, nbytes)
        if self._pace.is_limited:
            self._read_at = self._pace.charge(sum(request.rows for request in requests), nbytes, now)
        count = len(requests)

        def done(outcome: int | Exception) -> None:
            with self._inbox.changed:
                if isinstance(outcome, Exception):
                    self._commit_error = outcome
                else:
                    self._committed += count
                self._inbox.changed.notify_all()

        try:
            self._sink.append(batch, first_offset, done)
        except StorageClosedError as error:
            raise StatusError(grpc.StatusCode.UNAVAILABLE, str(error)) from error
        self._faults.break_off(first_offset, "during_commit")

    def _refuse(self, requests: list[Request], error: RefusedRecordError) -> None:
        """Store the requests that precede the one with the bad record, then end the stream because of that record."""
        before = 0
        for index, request in enumerate(requests):
            if error.record < before + request.rows:
                self._end = invalid_error(
                    f"Invalid record for table {self._sink.table}: request with offset {request.offset}, "
                    f"{error.moved(-before)}. None of the request's {request.rows} records are stored"
                )
                if index:
                    self._store(requests[:index])
                return
            before += request.rows
        raise AssertionError(f"record {error.record} was refused, but there are only {before} records")

    # acknowledgements

    def _settle(self) -> None:
        """Schedule the acknowledgement of committed requests; raise StatusError if a commit failed."""
        with self._inbox.changed:
            committed, self._committed = self._committed, 0
            commit_error = self._commit_error
        now = time.monotonic()
        for _ in range(committed):
            request = self._acks.next_committed()
            if self._acks.is_withholding:
                continue
            try:
                self._faults.break_off(request.offset, "after_commit")
            except (StatusError, CutError) as error:
                # Acknowledgements of the requests before this one are still sent; see run.
                self._end = error
                delay = None
            else:
                delay = self._faults.acknowledgement_delay(request.offset)
            if delay is None:
                self._acks.withhold()
            else:
                self._acks.acknowledge_at(now + self._limits.ack_delay + delay, request)
        if commit_error is not None:
            code = next((code for kind, code in _COMMIT_ERRORS if isinstance(commit_error, kind)), _UNKNOWN_ERROR)
            raise StatusError(code, f"storing rows in {self._sink.table} failed: {commit_error}")

    # time

    def _keep_time(self) -> None:
        now = time.monotonic()
        if self._signal_at is not None and now >= self._signal_at:
            self._signal_at = None
            if self._ends_at is not None:
                self._signals.append(self._protocol.close_signal(max(0.0, self._ends_at - now)))
        if self._ends_at is not None and now >= self._ends_at and self._end is None:
            self._end = StatusError(
                grpc.StatusCode.UNAVAILABLE,
                f"Stream timeout reached. Closing the stream on {self._sink.table}",
                error_code=STREAM_LIFETIME,
            )

    def _announce_close(self, offset: int) -> None:
        """If a ``close_signal`` fault triggers at ``offset``, ask the client to close the stream.

        The server ends the stream ``seconds`` later; ``seconds`` is a parameter of the fault.
        """
        rule = self._faults.trigger("close_signal", offset)
        if rule:
            self._signal_at = time.monotonic()
            self._ends_at = self._signal_at + rule.seconds

    def _life(self) -> tuple[float | None, float | None]:
        """Return the time at which the stream ends, and the time at which to ask the client to close it.

        Both times are None if there is no maximum age.
        """
        life = self._limits.max_stream_life
        if life is None:
            return None, None
        ends_at = time.monotonic() + life
        return ends_at, ends_at - min(life, self._limits.close_signal_lead)

    # waiting

    def _is_reading(self, now: float) -> bool:
        return self._end is None and self._acks.uncommitted_bytes < _UNCOMMITTED_BYTES and now >= self._read_at

    def _wait(self) -> bool:
        """Wait until there is something to do, and return True; return False if the stream ends without an error."""
        with self._inbox.changed:
            while True:
                if self._cancelled:
                    return False
                if self._stopping and self._end is None:
                    self._end = StatusError(grpc.StatusCode.UNAVAILABLE, "zerobus-local is stopping")
                if self._inbox.broken and not self._inbox.filled:
                    self._end = self._inbox.broken
                if self._committed or self._commit_error or (self._end is not None and self._acks.is_settled):
                    return True
                if self._inbox.ended and self._acks.is_drained and self._end is None:
                    return False
                now = time.monotonic()
                alarm = self._next_alarm(now)
                if alarm is not None and alarm <= now:
                    return True
                self._inbox.changed.wait(None if alarm is None else alarm - now)

    def _next_alarm(self, now: float) -> float | None:
        alarms = [self._acks.next_due]
        if self._end is None:
            alarms += [self._ends_at, self._signal_at]
            if self._is_reading(now):
                alarms.append(self._inbox.take_at)
            elif self._read_at > now:
                alarms.append(self._read_at)
        return min((alarm for alarm in alarms if alarm is not None), default=None)
