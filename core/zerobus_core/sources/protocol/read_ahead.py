"""Reads the next chunks of files in a separate thread while earlier chunks are encoded and sent.

Reading a file is a native call, which can take seconds if the file is in remote storage. The separate thread makes this
call. The main thread waits for the result in short steps, so that signals and stop requests take effect during a read.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextvars import copy_context
from queue import Empty, SimpleQueue

from ...batch import Chunk
from .chunking import HEARTBEAT

__all__ = ["read_ahead"]

# The number of chunks that are read, or being read, besides the one that is being encoded. Each has at most about
# 16 MiB.
_AHEAD = 2
# Seconds to wait for a read that is not needed any more. The read can be stuck; the task ends anyway.
_STOP_TIMEOUT = 0.25


def read_ahead(chunks: Generator[Chunk]) -> Iterator[Chunk]:
    """Yield ``chunks``, while a daemon thread reads up to two further chunks ahead.

    Yields chunks without rows while it waits for a chunk. Nothing is read before the first chunk is requested. If
    ``chunks`` raises an error, the chunks that were read before the error are yielded first. Closing the iterator stops
    the thread once the read in progress has ended. Do not use this function if the user's code produces the chunks:
    that code would run in the thread.
    """
    reader = _Reader(chunks)
    try:
        yield from reader.items()
    finally:
        reader.stop()


class _Reader:
    def __init__(self, chunks: Generator[Chunk]) -> None:
        self._chunks = chunks
        self._slots = threading.Semaphore(_AHEAD)
        # The chunks, and after them the error that ended the reading, or None if there was no error.
        self._ready: SimpleQueue[Chunk | BaseException | None] = SimpleQueue()
        self._is_stopped = False
        # The thread runs in the caller's context, because Airflow stores the current task there.
        run = copy_context().run
        self._thread = threading.Thread(target=run, args=(self._work,), name="zerobus-read-ahead", daemon=True)
        self._thread.start()

    def items(self) -> Iterator[Chunk]:
        last = 0
        while True:
            try:
                item = self._ready.get(timeout=HEARTBEAT)
            except Empty:
                yield Chunk(last, [])
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            self._slots.release()
            last = item.stop_row
            yield item

    def stop(self) -> None:
        """Stop the thread after the read in progress; wait at most 0.25 s until it has stopped."""
        self._is_stopped = True
        self._slots.release()
        self._thread.join(_STOP_TIMEOUT)

    def _work(self) -> None:
        end: BaseException | None = None
        try:
            self._read()
        except BaseException as error:  # noqa: BLE001  # the edge of the thread: the waiting thread raises the error
            end = error
        self._ready.put(end)

    def _read(self) -> None:
        try:
            while self._slots.acquire() and not self._is_stopped:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return
                self._ready.put(chunk)
                del chunk  # otherwise it would stay in memory while the thread waits
        finally:
            self._chunks.close()  # in this thread: a running generator cannot be closed by another thread
