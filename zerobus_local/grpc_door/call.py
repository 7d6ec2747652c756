"""Serves the calls of EphemeralStream and Arrow Flight: checks each call, and then runs the stream of the call."""

from __future__ import annotations

import logging
import threading
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc

from ..status import CutError, StatusError, invalid_error
from ..stream.faults import StreamFaults
from ..stream.inbox import Inbox
from ..stream.sink import StreamSink
from ..stream.stream import ServedStream, StreamProtocol
from .admission import Admission, wait_while_active
from .connection import cut_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..limits import Limits
    from ..model.objects import Table
    from ..storage.storage import Storage
    from ..stream.statistics import Streams
    from .admission import Call

__all__ = ["CallServer", "Opened", "Opener"]

_log = logging.getLogger("zerobus_local")
_INBOX_BYTES: Final = 16 * 1024 * 1024
# The longest wait, in seconds, for the first message of a call that is refused anyway.
_REFUSAL_WAIT: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A stream whose schema fits its table."""

    protocol: StreamProtocol
    record_format: str
    #: the first response to the client
    answer: bytes


class Opener(Protocol):
    """Opens the streams of one protocol."""

    name: str

    def open(self, first_message: bytes, table: Table, stream_id: str) -> Opened:
        """Read the first message of a stream; raise StatusError if the message is invalid or does not fit the table."""


class CallServer:
    """Serves the calls of both protocols. Every method can run in several threads at once."""

    def __init__(  # the parts that the calls need
        self,
        *,
        admission: Admission,
        storage: Storage,
        limits: Limits,
        streams: Streams,
        create_timeout: float,
    ) -> None:
        self._admission = admission
        self._storage = storage
        self._limits = limits
        self._streams = streams
        self._create_timeout = create_timeout
        self._lock = threading.Lock()  # guards the fields below
        self._running: set[ServedStream] = set()
        self._stopping = False

    def shut_down(self) -> None:
        """Ask each stream to end when all its accepted requests are acknowledged; return without waiting."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        for stream in running:
            stream.shut_down()

    def serve(self, opener: Opener, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Yield the responses of one call."""
        # The SDK waits for the headers of the answer before it sends its first message.
        context.send_initial_metadata(())
        call = self._admission.call(context)
        try:
            yield from self._stream(opener, requests, context, call)
        except StatusError as status:
            _log.info("stream on %s ended: %s: %s", call.table_name, status.code.name, status.text)
            self._streams.on_failed(call.table_name, f"{status.code.name}: {status.text}")
            context.set_trailing_metadata(status.trailers)
            context.abort(status.code, status.text)
        except CutError:
            cut_connection(context)
        except Exception as error:  # noqa: BLE001  # the edge of the call: this client gets a status, other calls go on
            _log.exception("stream on %s failed", call.table_name)
            text = _internal_error_text(error)
            self._streams.on_failed(call.table_name, text)
            context.abort(grpc.StatusCode.INTERNAL, text)

    def _stream(self, opener: Opener, requests: Iterator[bytes], context: Any, call: Call) -> Iterator[bytes]:
        try:
            self._admission.admit(call, context)
        except StatusError:
            self._let_it_finish_sending(requests)
            raise
        faults = StreamFaults(self._admission.faults, call.table_name, call.number)
        inbox = Inbox(requests, max_bytes=_INBOX_BYTES, faults=faults)
        inbox.start()
        try:
            first_message = self._first_message(inbox)
            table = self._admission.table(call.table_name)
            stream_id = str(uuid.uuid4())
            opened = opener.open(first_message, table, stream_id)
            wait_while_active(context, self._limits.open_delay)
            record = self._streams.on_opened(
                stream_id=stream_id,
                table=table.full_name,
                number=call.number,
                protocol=opener.name,
                record_format=opened.record_format,
                client=call.client,
            )
            with closing(StreamSink(table, self._storage, faults, self._streams)) as sink:
                stream = ServedStream(
                    protocol=opened.protocol, inbox=inbox, sink=sink, faults=faults, limits=self._limits, record=record
                )
                yield from self._run(context, stream, stream_id, opened.answer)
        finally:
            inbox.stop()

    def _run(self, context: Any, stream: ServedStream, stream_id: str, answer: bytes) -> Iterator[bytes]:
        error: str | None = None
        with self._lock:
            self._running.add(stream)
            stopping = self._stopping
        if stopping:
            stream.shut_down()
        if not context.add_callback(stream.cancel):
            stream.cancel()
        try:
            yield answer
            yield from stream.run()
        except StatusError as status:
            error = f"{status.code.name}: {status.text}"
            raise
        except CutError:
            error = "connection cut by a fault"
            raise
        except Exception as failure:
            error = _internal_error_text(failure)
            raise
        finally:
            with self._lock:
                self._running.discard(stream)
            self._streams.on_closed(stream_id, error)

    def _let_it_finish_sending(self, requests: Iterator[bytes]) -> None:
        # Without this wait, a client that is still sending its first message would see the call end without a status.
        # No faults: a call that is refused anyway must not use them up.
        inbox = Inbox(requests, max_bytes=_INBOX_BYTES, faults=None)
        inbox.start()
        with inbox.changed:
            inbox.changed.wait_for(lambda: inbox.filled or inbox.ended, _REFUSAL_WAIT)
        inbox.stop()

    def _first_message(self, inbox: Inbox) -> bytes:
        with inbox.changed:
            inbox.changed.wait_for(lambda: inbox.filled or inbox.ended, self._create_timeout)
        messages = inbox.take(0)
        if messages:
            return messages[0]
        if inbox.ended:
            raise invalid_error("the stream ended before its first message")
        raise StatusError(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"no first message within {self._create_timeout:g} s of the call"
        )


def _internal_error_text(error: Exception) -> str:
    return f"internal error of zerobus-local: {type(error).__name__}: {error}"
