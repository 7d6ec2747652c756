"""A bounded queue of rows from an event loop to a thread.

The loop puts in the items of an async iterable, and the thread takes them out. The queue is limited by its number of
items and by their estimated bytes. An item that holds many rows, such as a data frame, counts as a full queue.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from typing import Any

from ..errors import IngestInterruptedError
from ..sources.rows.row_size import SAMPLED_EVERY, size_of

__all__ = ["Feed"]

_MOST_ROWS = 1_024
_MOST_BYTES = 8 * 1024 * 1024
# Seconds between two checks of the stop request while the thread waits.
_LOOK_EVERY = 0.1
# After this many rows of a source that never waits, the loop's other tasks get their turn.
_ROWS_AT_ONCE = 64


class Feed:
    """Passes the items of one async iterable to one thread. ``fill`` runs on the loop, ``items`` in the thread."""

    def __init__(self, source: AsyncIterable[Any], loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        self._source = source
        self._loop = loop
        self._stop = stop
        # Guards the fields below.
        self._changed = threading.Condition()
        self._items: list[Any] = []
        self._bytes = 0
        self._is_ended = False
        self._error: BaseException | None = None
        self._is_full = False
        # Used only in the loop's thread.
        self._has_room = asyncio.Event()

    async def fill(self) -> None:
        """Put all items of the source into the queue, waiting while the queue is full.

        If the source raises an exception, ``items`` yields the items that are still in the queue, and then raises
        the same exception. A source that is not read to its end is closed.
        """
        iterator = aiter(self._source)
        try:
            await self._put_all(iterator)
        except BaseException as error:
            self._end(error)
            if not isinstance(error, GeneratorExit) and hasattr(iterator, "aclose"):
                await iterator.aclose()  # pyright: ignore[reportAttributeAccessIssue]
            raise
        self._end(None)

    async def _put_all(self, iterator: AsyncIterator[Any]) -> None:
        count = size = 0
        async for item in iterator:
            if count % SAMPLED_EVERY == 0:
                size = _size(item)
            count += 1
            if self._put(item, size):
                await self._has_room.wait()
            elif count % _ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _put(self, item: Any, size: int) -> bool:
        """Put ``item`` into the queue, and return whether the queue is now full."""
        with self._changed:
            self._items.append(item)
            self._bytes += size
            self._is_full = len(self._items) >= _MOST_ROWS or self._bytes >= _MOST_BYTES
            if self._is_full:
                self._has_room.clear()
            self._changed.notify()
            return self._is_full

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._is_ended, self._error = True, error
            self._changed.notify()

    def items(self) -> Iterator[Any]:
        """Yield the items in order, waiting for each. Raises IngestInterruptedError once ``stop`` is set."""
        while True:
            with self._changed:
                while not (self._items or self._is_ended or self._stop.is_set()):
                    self._changed.wait(_LOOK_EVERY)
                taken, self._items, self._bytes = self._items, [], 0
                was_full, self._is_full = self._is_full, False
            if self._stop.is_set():
                raise _interrupted_error()
            if was_full:
                self._loop.call_soon_threadsafe(self._has_room.set)
            if not taken:
                if isinstance(self._error, asyncio.CancelledError):
                    raise _interrupted_error() from self._error
                if self._error is not None:
                    raise self._error
                return
            yield from taken


def _interrupted_error() -> IngestInterruptedError:
    return IngestInterruptedError("stopped on request")


def _size(item: Any) -> int:
    """Return an item's approximate size in bytes; for an item that holds many rows, return the size of a full queue."""
    if isinstance(item, Mapping) or not hasattr(item, "__len__") or hasattr(item, "_asdict"):
        return size_of(item)
    return _MOST_BYTES
