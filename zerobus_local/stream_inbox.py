"""Requests of one stream, read ahead by a thread of their own, up to a bound."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Inbox"]


class Inbox(threading.Thread):
    """Reads a gRPC request iterator into a queue of at most ``max_bytes`` (and always at least one message).

    When the queue is full the thread stops reading, HTTP/2 flow control fills up, and the client waits.  ``changed`` is
    the one condition of a stream: whoever has news for it sets its own fields under it and notifies.
    """

    def __init__(self, requests: Iterator[bytes], *, max_bytes: int) -> None:
        super().__init__(name="zerobus-local-inbox", daemon=True)
        self.changed = threading.Condition()
        self._requests = requests
        self._max_bytes = max_bytes
        # guarded by changed
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._stopped = False

    def run(self) -> None:
        """Read until the client or the call ends."""
        try:
            for message in self._requests:
                if not self._put(message):
                    return
        except Exception:  # noqa: BLE001, S110  # the call was cancelled; gRPC raises a bare Exception for it
            pass
        finally:
            with self.changed:
                self._ended = True
                self.changed.notify_all()

    def _put(self, message: bytes) -> bool:
        with self.changed:
            while self._messages and self._bytes + len(message) > self._max_bytes and not self._stopped:
                self.changed.wait()
            if self._stopped:
                return False
            self._messages.append(message)
            self._bytes += len(message)
            self.changed.notify_all()
            return True

    @property
    def ended(self) -> bool:
        """Whether the client will send no more, and everything was taken.  To be asked under ``changed``."""
        return self._ended and not self._messages

    @property
    def filled(self) -> bool:
        """Whether there is a message.  To be asked under ``changed``."""
        return bool(self._messages)

    def take(self, max_bytes: int) -> list[bytes]:
        """Take messages that came, at least one if there is one, and no more than ``max_bytes`` beyond it."""
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
        """Read no more."""
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
