"""A file that pyarrow's threads read ahead, taken back from them when its reader is done or given up.

A native thread that calls into Python while the interpreter ends aborts the process: exit code 134, "terminate called
without an active exception".  pyarrow's CSV reader does not wait for its thread when it is closed or freed.  That
thread keeps the file object alive for as long as it may still read, so the end of the object is the end of the thread.
"""

from __future__ import annotations

import atexit
import io
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ...process.fork import in_each_child

__all__ = ["read_ahead"]

# Seconds: a stop request takes effect within one, and a read of a network can take longer than that.
_WAIT = 0.3
_WAIT_AT_EXIT = 10.0

_unfinished: set[threading.Event] = set()
in_each_child(_unfinished.clear)  # pyarrow's threads do not exist there


class _ReadAhead(io.RawIOBase):
    """``file``, until it is stopped; from then on it is at its end."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.is_stopped = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = b"" if self.is_stopped else self._file.read(size)
        return data


@contextmanager
def read_ahead(file: Any) -> Generator[list[Any]]:
    """Yield a list of one file object to hand to a native reader; take it out with ``pop``.

    When the block ends, the caller must not hold the reader any longer.  Waits a moment for a read that is under way;
    the end of the process waits for those that take longer.
    """
    opened = _ReadAhead(file)
    gone = threading.Event()
    _unfinished.add(gone)
    weakref.finalize(opened, _on_gone, gone).atexit = False
    held = [opened]
    stop = weakref.ref(opened)
    del opened
    try:
        yield held
    finally:
        held.clear()
        if (still := stop()) is not None:
            still.is_stopped = True
        del still
        gone.wait(_WAIT)


def _on_gone(gone: threading.Event) -> None:
    _unfinished.discard(gone)
    gone.set()


@atexit.register
def _wait_for_native_threads() -> None:
    end = time.monotonic() + _WAIT_AT_EXIT
    for gone in list(_unfinished):
        gone.wait(max(0.0, end - time.monotonic()))
