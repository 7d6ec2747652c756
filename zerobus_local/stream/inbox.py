"""Reads the requests of one stream in a separate thread, into a queue of limited size."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from ..status import CutError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .faults import StreamFaults

__all__ = ["Inbox"]

# Small messages are taken together: decoding a hundred at once costs little more than decoding a single one.
_LINGER: Final = 0.005  # seconds
_EAGER_BYTES: Final = 64 * 1024


class Inbox(threading.Thread):
    """Reads a gRPC request iterator into a queue of limited size.

    The queue holds at most ``max_bytes`` bytes, but an empty queue takes a message of any size. When the queue is full,
    the thread stops reading, and HTTP/2 flow control makes the client wait.

    ``changed`` is the only condition variable of a stream. To wake the stream, another thread acquires ``changed``,
    sets fields of the stream or of its inbox, and notifies ``changed``.
    """

    def __init__(self, requests: Iterator[bytes], *, max_bytes: int, faults: StreamFaults | None) -> None:
        super().__init__(name="zerobus-local-inbox", daemon=True)
        self.changed = threading.Condition()
        self._requests = requests
        self._faults = faults
        self._max_bytes = max_bytes
        # guarded by changed
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._first_at = 0.0
        self._ended = False
        self._stopped = False
        #: why the connection has to be cut, or None; set by a fault
        self.broken: CutError | None = None

    def run(self) -> None:
        """Read until the client has sent all messages, the call ends, a fault cuts the call, or ``stop`` is called."""
        try:
            # Message 0 opens the stream. So the message that comes after message n has offset n.
            for message_number, message in enumerate(self._requests):
                if not self._put(message) or not self._may_read(message_number):
                    return
        except Exception:  # noqa: BLE001, S110  # the call was cancelled; gRPC raises a bare Exception for it
            pass
        finally:
            with self.changed:
                self._ended = True
                self.changed.notify_all()

    def _may_read(self, offset: int) -> bool:
        """Apply the faults that trigger while a message arrives; return whether to read this message.

        ``offset`` is the offset of the message.
        """
        if self._faults is None:
            return True
        stop = self._faults.trigger("stop_reading", offset)
        if stop:
            with self.changed:
                self.changed.wait_for(lambda: self._stopped, stop.seconds or None)
        if self._faults.trigger("cut", offset, "mid_message"):
            with self.changed:
                self.broken = CutError()
                self.changed.notify_all()
            return False
        return True

    def _put(self, message: bytes) -> bool:
        with self.changed:
            while self._messages and self._bytes + len(message) > self._max_bytes and not self._stopped:
                self.changed.wait()
            if self._stopped:
                return False
            if not self._messages:
                self._first_at = time.monotonic()
            self._messages.append(message)
            self._bytes += len(message)
            # Notify rarely: each notification costs a switch of threads, and the stream waits for more messages anyway.
            if len(self._messages) == 1 or self._bytes >= _EAGER_BYTES:
                self.changed.notify_all()
            return True

    @property
    def ended(self) -> bool:
        """Whether reading has ended and every message was taken. The caller must hold ``changed``."""
        return self._ended and not self._messages

    @property
    def filled(self) -> bool:
        """Whether a message is waiting. The caller must hold ``changed``."""
        return bool(self._messages)

    @property
    def take_at(self) -> float | None:
        """The time at which to take the messages; None if no message is waiting.

        A wait of 5 ms begins when a message arrives in the empty queue, so that small messages are taken together.
        The wait is left out if 64 KiB or more are waiting, or if no more messages can come. The caller must hold
        ``changed``.
        """
        if not self._messages:
            return None
        is_much = self._bytes >= _EAGER_BYTES or self._ended
        return self._first_at if is_much else self._first_at + _LINGER

    def take(self, max_bytes: int) -> list[bytes]:
        """Remove and return the first messages, at most ``max_bytes`` bytes in total.

        If the first message alone is larger than ``max_bytes``, remove and return only this message.
        """
        with self.changed:
            taken: list[bytes] = []
            size = 0
            while self._messages and (not taken or size + len(self._messages[0]) <= max_bytes):
                message = self._messages.popleft()
                size += len(message)
                taken.append(message)
            self._bytes -= size
            self.changed.notify_all()
            return taken

    def stop(self) -> None:
        """Stop reading; messages that were read can still be taken."""
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
