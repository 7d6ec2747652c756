"""Reads the requests of one stream ahead in a separate thread, up to a limit."""

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

# Small messages are taken together, for one decoding of a hundred costs little more than one of one.
_LINGER: Final = 0.005
_EAGER_BYTES: Final = 64 * 1024


class Inbox(threading.Thread):
    """Reads a gRPC request iterator into a queue of at most ``max_bytes`` (and always at least one message).

    When the queue is full the thread stops reading, HTTP/2 flow control fills up, and the client waits.  ``changed`` is
    the only condition variable of a stream: a thread with news for the stream sets its fields while holding it, and
    notifies.
    """

    def __init__(self, requests: Iterator[bytes], *, max_bytes: int, faults: StreamFaults) -> None:
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
        """Read until the client or the call ends."""
        try:
            # The message that opens the stream comes before the one with offset 0.
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
        """Apply the faults that trigger while a message arrives; return whether to read the message now."""
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
            # Each notification costs a switch of threads, and whoever waits lingers anyway.
            if len(self._messages) == 1 or self._bytes >= _EAGER_BYTES:
                self.changed.notify_all()
            return True

    @property
    def ended(self) -> bool:
        """Whether the client will send no more and everything was taken. The caller must hold ``changed``."""
        return self._ended and not self._messages

    @property
    def filled(self) -> bool:
        """Whether there is a message. The caller must hold ``changed``."""
        return bool(self._messages)

    @property
    def take_at(self) -> float | None:
        """When to take the messages: at once if they are large, soon if they are small.

        The caller must hold ``changed``.
        """
        if not self._messages:
            return None
        is_much = self._bytes >= _EAGER_BYTES or self._ended
        return self._first_at if is_much else self._first_at + _LINGER

    def take(self, max_bytes: int) -> list[bytes]:
        """Take messages up to ``max_bytes``, but at least one if there is one."""
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
        """Stop reading."""
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
