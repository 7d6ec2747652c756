"""Lets a synchronous delivery read rows from async code. The code runs on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .feed import Feed

__all__ = ["async_records"]

_Result = TypeVar("_Result")

# Seconds for which the end of ``async_records`` waits for the async code to end after its cancellation.
_STOP_GRACE = 1.0
_LOOK_EVERY = 0.1


@contextmanager
def async_records(function: Callable[[], Any]) -> Generator[Any]:
    """Return a context manager that yields the records from ``function``, in a form that ``ingest`` accepts.

    ``function``, which can be an async function or an async generator, is called in this thread. If the result is
    awaitable, an event loop awaits it. If the records are an async iterable, the same event loop reads them. The loop
    runs in a thread of its own, with the caller's context variables. The loop reads ahead of the delivery, but only by
    a bounded number of rows. Signals can interrupt the wait for rows. When the ``with`` block ends, async code that is
    still running is cancelled.
    """
    loop = asyncio.new_event_loop()
    stop = threading.Event()
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(_run, loop), name="zerobus-async-source", daemon=True
    )
    thread.start()
    try:
        records = function()
        if inspect.isawaitable(records):
            records = _result_of(_awaited(records), loop)
        yield _rows(records, loop, stop) if isinstance(records, AsyncIterable) else records
    finally:
        stop.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_GRACE)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _result_of(coroutine: Coroutine[Any, Any, _Result], loop: asyncio.AbstractEventLoop) -> _Result:
    """Wait for the coroutine's result in short intervals, so that signal handlers can run."""
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    while not future.done():
        try:
            return future.result(_LOOK_EVERY)
        except TimeoutError:
            if future.done():
                break
    return future.result()


def _rows(source: AsyncIterable[Any], loop: asyncio.AbstractEventLoop, stop: threading.Event) -> Iterator[Any]:
    feed = Feed(source, loop, stop)
    asyncio.run_coroutine_threadsafe(feed.fill(), loop)
    yield from feed.items()
