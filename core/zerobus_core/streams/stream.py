"""One SDK stream in its own worker thread: the stream opens once, dies once, and is never reopened.

Calls to the SDK block in native code: they ignore time-outs, and the thread that makes them runs no Python signal
handlers. So a daemon thread makes all calls to the SDK. Nobody has to wait until this thread ends: the thread does not
keep the process alive, and it sends nothing after ``kill``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from .sdk_errors import translated_error
from .workers import Workers

if TYPE_CHECKING:
    from ..batch import Batch
    from ..errors import ZerobusIngestError

__all__ = ["Acked", "Closed", "Died", "Event", "Listener", "Opened", "SdkStream", "Stream"]

# Seconds from the close of a stream until its SDK object can be freed; callbacks of the SDK take milliseconds.
_LINGER = 1.0
_workers = Workers()


@dataclass(frozen=True, slots=True)
class Opened:
    """The service accepted the stream."""

    stream: Stream
    stream_id: str | None


@dataclass(frozen=True, slots=True)
class Acked:
    """The service acknowledged an offset and all lower ones."""

    stream: Stream
    offset: int
    at: float
    """When the SDK reported the acknowledgement, on the stream's clock."""


@dataclass(frozen=True, slots=True)
class Died:
    """The stream died or could not be opened. This event can be posted several times; only the first one counts."""

    stream: Stream
    error: ZerobusIngestError


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream was closed on request."""

    stream: Stream


Event = Opened | Acked | Died | Closed


class Listener(Protocol):
    """Receives the reports of an SDK stream. All methods of a listener can be called in any thread."""

    def on_ack(self, offset: int) -> None:
        """Handle an acknowledgement: this offset and all lower ones are durable."""

    def on_error(self, reason: BaseException | str) -> None:
        """Handle a failure of the stream."""


class SdkStream(Protocol):
    """The part of an SDK stream that a Stream uses.

    The module ``sdk`` has one class of this kind for record streams and one for Arrow streams.
    """

    stream_id: str | None

    def ingest(self, payload: Any) -> int:
        """Queue one batch in the SDK and return its offset; raises the SDK's errors unchanged."""
        ...

    def cause(self) -> BaseException | None:
        """Return why the stream closed; None if the SDK gives no reason. Call this after ``ingest`` has raised."""
        ...

    def close(self) -> None:
        """Close the stream. This can block for about a second.

        Call this only after everything that was sent on the stream has been acknowledged.
        """

    def abandon(self) -> None:
        """Drop the stream without waiting. Not needed if ``open_stream`` raised an error."""


class Stream:
    """One SDK stream in its own worker thread; see the module's docstring.

    Any thread can call ``send``, ``close`` and ``kill``, which return at once. The stream calls ``post`` with each
    event, in the worker thread or in the thread in which ``on_ack`` or ``on_error`` was called.
    """

    def __init__(
        self,
        number: int,
        open_stream: Callable[[Listener], SdkStream],
        post: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.number = number
        self._post = post
        self._clock = clock
        self._inbox: SimpleQueue[tuple[int, Batch] | None] = SimpleQueue()
        self._lock = threading.Lock()  # guards _killed and _reached
        self._killed = False
        self._reached = 0
        _workers.run(partial(self._run, open_stream), name=f"zerobus-stream-{number}")

    def __repr__(self) -> str:
        return f"<Stream {self.number}{' killed' if self._killed else ''}, {self._reached} batches reached the SDK>"

    def send(self, offset: int, batch: Batch) -> None:
        """Queue a batch for the worker thread.

        If the SDK gives the batch an offset other than ``offset``, the stream dies.
        """
        self._inbox.put((offset, batch))

    def close(self) -> None:
        """Ask the worker thread to close the stream; the event ``Closed`` follows, or ``Died`` if closing fails.

        Call this only after every batch has been acknowledged.
        """
        self._inbox.put(None)

    def kill(self) -> int:
        """Stop sending batches and posting events; return how many batches may have reached the service."""
        with self._lock:
            self._killed = True
            reached = self._reached
        self._inbox.put(None)
        return reached

    # Listener, called in the threads that get the SDK's reports

    def on_ack(self, offset: int) -> None:
        """Post an ``Acked`` event: this offset and all lower ones are durable."""
        self._tell(Acked(self, offset, self._clock()))

    def on_error(self, reason: BaseException | str) -> None:
        """Post a ``Died`` event: the stream failed because of ``reason``."""
        self._tell(Died(self, translated_error(reason)))

    # The worker thread

    def _run(self, open_stream: Callable[[Listener], SdkStream]) -> None:
        # The opener is passed to the thread and not stored in the stream: the SDK holds its listener, and a reference
        # cycle through the SDK is never collected.
        if self._serve(open_stream):
            time.sleep(_LINGER)

    def _serve(self, open_stream: Callable[[Listener], SdkStream]) -> bool:
        """Open the SDK stream, and pass batches to it until ``close`` or ``kill`` is called, or the stream breaks.

        Returns True if the SDK stream was closed, and False if the SDK stream could not be opened or was abandoned.
        """
        try:
            sdk_stream = open_stream(self)
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: whoever waits must hear of it
            self.on_error(error)
            return False
        self._tell(Opened(self, sdk_stream.stream_id))
        try:
            # A stream that was killed before any batch reached the SDK can also be closed: nothing is in flight.
            if self._pass_on(sdk_stream) or not self._reached:
                sdk_stream.close()
                self._tell(Closed(self))
                return True
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: whoever waits must hear of it
            self.on_error(sdk_stream.cause() or error)
        sdk_stream.abandon()
        return False

    def _pass_on(self, sdk_stream: SdkStream) -> bool:
        """Pass queued batches to the SDK, until ``close`` or ``kill`` is called.

        Returns False if the stream was killed, otherwise True.
        """
        while (queued := self._inbox.get()) is not None:
            expected, batch = queued
            with self._lock:
                if self._killed:
                    return False
                self._reached += 1
            offset = sdk_stream.ingest(batch.payload)
            if offset != expected:
                raise RuntimeError(f"the SDK gave offset {offset} to a batch that has offset {expected} in the ledger")
        return not self._killed

    def _tell(self, event: Event) -> None:
        if not self._killed:
            self._post(event)
