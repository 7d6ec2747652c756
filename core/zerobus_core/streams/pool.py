"""A pool of N streams to one table; its ``flush`` waits until everything is acknowledged or refused.

Only the calling thread changes the pool's state; the streams' threads only put events into one queue. So the pool needs
no locks. A call that waits does so in short steps, so that signals, stop requests and deadlines take effect. No event
is handled between calls: if a stream dies between two calls, the next call replaces it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ..errors import (
    IngestInterruptedError,
    IngestTimeoutError,
    RejectedRecordError,
    TransportError,
    ZerobusIngestError,
)
from .feeding import Feeder
from .lane import Fail, GiveUp, Lane, LiveStream, Retry
from .ledger import Ledger, LedgerError
from .opening import StreamOpener
from .sdk_errors import CHECK_ENDPOINT
from .statistics import PoolStatistics
from .stream import Acked, Closed, Died, Event, Listener, Opened, SdkStream, Stream

if TYPE_CHECKING:
    import threading

    from ..batch import Batch
    from ..options import IngestOptions
    from .open_rate import OpenRate

__all__ = ["FAILURE_GRACE", "PoolHooks", "StreamPool"]

_log = logging.getLogger("zerobus_core")

# The longest time (seconds) for which the caller's thread waits before it checks stop requests and deadlines again.
_SLICE = 0.1
# ACKs that arrive within this time (seconds) after a stop request or a failure still count.
FAILURE_GRACE = 0.4
# Seconds for which ``close`` waits. The delivery does not depend on it: everything is acknowledged by then.
_CLOSE_WAIT = 2.0
# Seconds after the SDK's deadline for opening a stream at which the pool acts, because the SDK did not: the SDK waits
# longer if the token endpoint does not answer.
_OPEN_GRACE = 1.0
# The share of ``max_stream_age`` by which the ages can differ, so that a pool's streams are not all rotated at once.
_ROTATION_SPREAD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolHooks:
    """The stop request, deadline and callbacks of a pool. The callbacks run in the thread that uses the pool."""

    stop: threading.Event
    """An event that any thread can set: the running call of the pool then raises IngestInterruptedError."""
    deadline: float
    """The time, on the pool's clock, from which the running call raises IngestTimeoutError."""
    tick: Callable[[], bool]
    """Called about every 0.1 s while ``send`` or ``flush`` waits; returns whether the pool can send batches now."""
    on_refused: Callable[[Batch, ZerobusIngestError], None]
    """Called with a batch of one row that the service refused, and with the error."""


class StreamPool:
    """A pool of streams to one table; see the module's docstring.

    ``open_stream`` opens one SDK stream and blocks until that stream is open.
    """

    def __init__(
        self,
        open_stream: Callable[[Listener], SdkStream],
        options: IngestOptions,
        hooks: PoolHooks,
        *,
        open_rate: OpenRate,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.ledger = Ledger()
        self.statistics = PoolStatistics()
        self._options = options
        self._hooks = hooks
        self._clock = clock
        self._draw = draw
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._opener = StreamOpener(open_stream, open_rate, on_event=self._events.put, clock=clock)
        self._lanes = [Lane(number, options) for number in range(options.streams)]
        self._feeder = Feeder(self.ledger, max_unacked_bytes=options.max_unacked_bytes, shares=options.streams)
        self._live: dict[Stream, LiveStream] = {}
        self._closing: set[Stream] = set()
        self._batches_added = 0

    def __repr__(self) -> str:
        return f"<StreamPool {self.statistics.open_now} of {len(self._lanes)} streams open, {self.ledger!r}>"

    # What the caller does

    def expect(self, rows: int) -> None:
        """Record that about ``rows`` rows will be sent; call this before the first ``send`` if the number is known."""
        self._feeder.expect(rows)

    def send(self, batch: Batch) -> None:
        """Send a batch on a stream.

        Blocks until a stream is open and no limit on the data in flight holds the batch back.

        Raises the error that ends the delivery, and RuntimeError once the pool was closed or abandoned.
        """
        self._refuse_if_closed()
        self.ledger.add(batch)
        self._batches_added += 1
        self._work_until(lambda: self.ledger.waiting is None)

    def flush(self) -> None:
        """Block until every batch is acknowledged or refused; raise the same errors as ``send``."""
        self._refuse_if_closed()
        self._work_until(lambda: self.ledger.is_settled)

    def poll(self) -> None:
        """Handle the events that have arrived, without waiting; raise the same errors as ``send``."""
        self._refuse_if_closed()
        self._take_events(timeout=None)
        self._step()

    def close(self) -> None:
        """Close all streams; call this after ``flush``. Blocks for about 2 s at most.

        Raises only exceptions that come from a signal handler.
        """
        for live in list(self._live.values()):
            self._close(live)
        end = self._clock() + _CLOSE_WAIT
        while self._closing and self._clock() < end:
            self._take_events(_SLICE, only_acks=True)
        self.abandon()

    def abandon(self, *, grace: float = 0.0) -> None:
        """Drop all streams. ACKs that have arrived, or arrive within ``grace`` seconds, still count.

        Raises only exceptions that come from a signal handler.
        """
        end = self._clock() + grace
        try:
            self._take_events(timeout=None, only_acks=True)
            while self.ledger.has_in_flight and self._clock() < end:
                self._take_events(_SLICE / 2, only_acks=True)
        finally:  # a second signal can end the wait
            for live in self._live.values():
                reached = live.stream.kill()
                if live.is_open:  # otherwise nothing was sent on it
                    self.ledger.died(live.stream.number, reached)
            for stream in self._closing:
                stream.kill()
            self._live.clear()
            self._closing.clear()
            for lane in self._lanes:
                lane.current = None
            self.statistics.open_now = 0
            self._opener.close()

    def oldest_unacked_s(self) -> float:
        """Return the age in seconds of the oldest batch in flight; 0.0 if there is none."""
        handed = [live.handed_at[0] for live in self._live.values() if live.handed_at]
        return self._clock() - min(handed) if handed else 0.0

    def last_error(self) -> str | None:
        """Return a text that says why a stream failed, why the next stream has to wait, or both.

        Returns None if neither applies. A failure is no longer mentioned once a later stream in the same lane gets an
        acknowledgement.
        """
        reasons = [lane.last_error.message for lane in self._lanes if lane.last_error][:1]
        if (waiting := self._opener.waiting_reason()) is not None:
            reasons.append(waiting)
        return "; ".join(reasons) or None

    # The loop

    def _refuse_if_closed(self) -> None:
        if self._opener.is_closed:
            raise RuntimeError("the pool is closed")

    def _work_until(self, is_done: Callable[[], bool]) -> None:
        self._take_events(timeout=None)
        while not is_done():
            self._step()
            if is_done():
                return
            self._take_events(_SLICE)

    def _take_events(self, timeout: float | None, *, only_acks: bool = False) -> None:
        """Handle all events that have arrived.

        If ``timeout`` is not None, wait at most ``timeout`` seconds for the first event.
        """
        while True:
            try:
                event = self._events.get_nowait() if timeout is None else self._events.get(timeout=timeout)
            except Empty:
                return
            timeout = None
            self._handle(event, only_acks=only_acks)

    def _handle(self, event: Event, *, only_acks: bool) -> None:
        live = self._live.get(event.stream)
        if live is None:
            if isinstance(event, Died | Closed):
                self._closing.discard(event.stream)
        elif isinstance(event, Acked):
            self._on_acked(live, event, only_acks=only_acks)
        elif only_acks:
            return
        elif isinstance(event, Opened):
            self._on_opened(live, event.stream_id)
        elif isinstance(event, Died):
            self._on_lost(live, event.error)

    def _step(self) -> None:
        now = self._clock()
        self._check_stop(now)
        for lane in self._lanes_needed():
            if self.ledger.waiting is not None and lane.can_request(now):
                self._request(lane, now)
        for live in list(self._live.values()):
            self._check_deadlines(live, now)
        if self._hooks.tick():  # before feeding, so that what is about to be sent again is in the checkpoint first
            self._feed(now)

    def _check_stop(self, now: float) -> None:
        if self._hooks.stop.is_set():
            raise IngestInterruptedError("stopped on request")
        if now >= self._hooks.deadline:
            error = self.last_error()
            reason = f" (the last error: {error})" if error else ""
            raise IngestTimeoutError(
                f"not finished within {self._options.timeout} s{reason}; increase IngestOptions.timeout, or try again"
            )

    # Opening and losing streams

    def _lanes_needed(self) -> list[Lane]:
        """Return the lanes to use: all lanes, or the first ``n`` of them if only ``n`` batches were added so far."""
        return self._lanes[: self._batches_added]

    def _request(self, lane: Lane, now: float) -> None:
        live = self._opener.request(lane, now)
        if live is not None:
            self._live[live.stream] = live

    def _on_opened(self, live: LiveStream, stream_id: str | None) -> None:
        age = self._options.max_stream_age * (1.0 - _ROTATION_SPREAD * self._draw())
        live.is_open = True
        live.rotate_at = self._clock() + age
        self.ledger.open(live.stream.number)
        if not self.statistics.most_open:
            _log.info("connected after %.1f s", self._clock() - live.requested_at)
        self.statistics.on_opened(stream_id, after_loss=live.lane.is_replacing)
        live.lane.is_replacing = False

    def _check_deadlines(self, live: LiveStream, now: float) -> None:
        options = self._options
        if not live.is_open:
            if now - live.requested_at > options.open_timeout + _OPEN_GRACE:
                late = f"no stream was opened within {options.open_timeout:g} s ({CHECK_ENDPOINT})"
                self._on_lost(live, IngestTimeoutError(late))
        elif live.handed_at and now - live.progress_at > options.ack_timeout:
            self._on_lost(live, IngestTimeoutError(f"no acknowledgement within {options.ack_timeout} s"))
        elif live.lane.current is live and now >= live.rotate_at and self._opener.can_request_now(now):
            self._rotate(live)

    def _rotate(self, live: LiveStream) -> None:
        """Send nothing more on a stream, and close it once everything on it is acknowledged.

        The stream's lane can request another stream immediately.
        """
        live.lane.current = None
        if not live.handed_at:
            self._close(live)

    def _close(self, live: LiveStream) -> None:
        self._forget(live)
        if live.is_open and not live.handed_at:
            self.ledger.close_stream(live.stream.number)
            self._closing.add(live.stream)
            live.stream.close()
        else:
            live.stream.kill()

    def _forget(self, live: LiveStream) -> None:
        del self._live[live.stream]
        self.statistics.open_now -= live.is_open
        if live.lane.current is live:
            live.lane.current = None

    def _on_lost(self, live: LiveStream, error: ZerobusIngestError) -> None:
        """Handle the loss of a stream: return its in-flight batches to the waiting queue, and decide what follows."""
        reached = live.stream.kill()
        self._forget(live)
        suspects = self.ledger.died(live.stream.number, reached) if live.is_open else []
        if live.handed_at:
            self._feeder.on_lost()
        lane = live.lane
        lane.is_replacing = True
        if self.statistics.most_open:
            _log.info(
                "stream %d is lost, batches that may arrive twice: %d: %s",
                live.stream.number,
                len(suspects),
                error.message,
            )
        else:
            # Nothing else is logged until all attempts have failed, which can take more than a minute.
            _log.warning(
                "connecting: attempt %d of %d failed: %s", lane.attempts, lane.options.max_attempts, error.message
            )
        if self.ledger.is_settled:
            return  # no batch was lost; if there is more to send, opening the next stream shows what is wrong
        if isinstance(error, RejectedRecordError) and suspects:
            lane.on_progress()  # the search has come further, so earlier failures no longer count
            refused = self._feeder.narrow_down(suspects)
            if refused is not None:
                self._hooks.on_refused(refused, error)
            return
        failures = suspects[0].failures if suspects else 0
        match lane.on_lost(error, suspect_failures=failures, now=self._clock(), draw=self._draw()):
            case Fail(final):
                raise final
            case GiveUp(last):
                self._go_on_without(lane, last)
            case Retry():
                pass  # the next step requests the stream when its time has come

    def _go_on_without(self, lane: Lane, error: ZerobusIngestError) -> None:
        """Continue with the other lanes; raise ``error`` if all lanes in use are given up."""
        if all(other.is_given_up for other in self._lanes_needed()):
            raise error
        _log.warning("a stream was given up after %d attempts; the others go on: %s", lane.attempts, error.message)

    # Feeding streams and taking their ACKs

    def _feed(self, now: float) -> None:
        current = (lane.current for lane in self._lanes)
        self._feeder.feed([live for live in current if live is not None and live.is_open], now)

    def _on_acked(self, live: LiveStream, event: Acked, *, only_acks: bool) -> None:
        try:
            batches = self.ledger.acked(live.stream.number, event.offset)
        except LedgerError as error:
            if not only_acks:
                self._on_lost(live, TransportError(f"the service broke the protocol: {error}"))
            return
        self._feeder.on_acked(batches)
        for _ in batches:
            self.statistics.ack_latencies.add(event.at - live.handed_at.popleft())
        live.progress_at = self._clock()
        live.lane.on_progress()
        self._opener.held_until = None
        if not live.handed_at and live.lane.current is not live and not only_acks:
            self._close(live)  # rotated out and drained
