"""One physical SDK stream in its own worker thread: it opens once, dies once, and never comes back.

The SDK's calls block in native code, which ignores time-outs and in which Python's signal handlers do not run. So all
of them run in a daemon thread that can be left behind: it neither keeps the process alive nor sends anything after
``kill``.
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

# Seconds from the close of a stream until its SDK object may go; callbacks of the SDK take milliseconds.
_LINGER = 1.0
_workers = Workers()


@dataclass(frozen=True, slots=True)
class Opened:
    """The service accepted the stream."""

    stream: Stream
    stream_id: str | None


@dataclass(frozen=True, slots=True)
class Acked:
    """The service acknowledged an offset and all before it."""

    stream: Stream
    offset: int
    at: float
    """When the SDK reported it, as a reading of the stream's clock."""


@dataclass(frozen=True, slots=True)
class Died:
    """The stream is dead, or could not be opened. It can be reported more than once; the first reason counts."""

    stream: Stream
    error: ZerobusIngestError


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream was closed on request."""

    stream: Stream


Event = Opened | Acked | Died | Closed


class Listener(Protocol):
    """Receives the reports of an SDK stream, in the SDK's threads."""

    def on_ack(self, offset: int) -> None:
        """Report that everything up to and including this offset is durable."""

    def on_error(self, reason: BaseException | str) -> None:
        """Report that the stream failed."""


class SdkStream(Protocol):
    """The part of an SDK stream that we use; there is one class for records and one for Arrow (see ``sdk``)."""

    stream_id: str | None

    def ingest(self, payload: Any) -> int:
        """Queue one batch in the SDK and return its offset; raise the SDK's errors."""
        ...

    def cause(self) -> BaseException | None:
        """Return why the stream closed, if the SDK still knows it; call it after ``ingest`` raised."""
        ...

    def close(self) -> None:
        """Close the stream after all is acknowledged; can block for about a second."""

    def abandon(self) -> None:
        """Drop the stream without waiting. If ``open_stream`` raises, it does this itself."""


class Stream:
    """See the module's docstring. Any thread may call ``send``, ``close`` and ``kill``, which return at once.

    ``post`` receives the events, in this stream's threads.
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
        """Queue a batch for the worker thread; the stream dies if the SDK gives the batch another offset."""
        self._inbox.put((offset, batch))

    def close(self) -> None:
        """Close the stream after what was sent; the event ``Closed`` follows.

        Call it when everything is acknowledged.
        """
        self._inbox.put(None)

    def kill(self) -> int:
        """Send and report nothing more; return how many batches may have reached the service."""
        with self._lock:
            self._killed = True
            reached = self._reached
        self._inbox.put(None)
        return reached

    # Listener, called from threads of the SDK

    def on_ack(self, offset: int) -> None:
        """Report that an offset is durable."""
        self._tell(Acked(self, offset, self._clock()))

    def on_error(self, reason: BaseException | str) -> None:
        """Report that the stream failed."""
        self._tell(Died(self, translated_error(reason)))

    # The worker thread

    def _run(self, open_stream: Callable[[Listener], SdkStream]) -> None:
        # The opener is passed to the thread and not stored in the stream: the SDK holds its listener, and a reference
        # cycle through the SDK is never collected.
        if self._serve(open_stream):
            time.sleep(_LINGER)

    def _serve(self, open_stream: Callable[[Listener], SdkStream]) -> bool:
        """Run the stream from its opening to its end.

        Returns whether it was closed, so that the SDK no longer calls back.
        """
        try:
            sdk_stream = open_stream(self)
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: whoever waits must hear of it
            self.on_error(error)
            return False
        self._tell(Opened(self, sdk_stream.stream_id))
        try:
            # One that opened too late to be of use has nothing under way either.
            if self._pass_on(sdk_stream) or not self._reached:
                sdk_stream.close()
                self._tell(Closed(self))
                return True
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: whoever waits must hear of it
            self.on_error(sdk_stream.cause() or error)
        sdk_stream.abandon()
        return False

    def _pass_on(self, sdk_stream: SdkStream) -> bool:
        """Pass batches to the SDK until the stream is closed (True) or killed (False)."""
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
