"""Runs a delivery in a thread of its own, so that an event loop can await the delivery.

The delivery stays synchronous code. Rows of async iterables reach the delivery's thread through a bounded queue. The
host is the program that runs the event loop. Its checkpoint stores, progress hooks and logs are called on the loop's
thread, where the host expects them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import os
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from ..checkpoint import FileCheckpointStore
from .feed import Feed

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint, CheckpointStore

__all__ = ["LoopBridge", "run_in_thread"]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# Seconds for which a cancelled call waits for its thread to end.
_STOP_GRACE = 1.0
# Seconds for which a loop can stand still before the delivery stops. A host that was interrupted (Dagster) no longer
# runs the loop, and cancels nothing. Between two events of an async generator, the loop stands still for a moment.
_STANDSTILL = 0.25
_LOOK_EVERY = 0.1


class LoopBridge:
    """Connects a delivery, which runs in a thread of its own, to the event loop that awaits the delivery.

    Built by ``run_in_thread``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stop: threading.Event | None) -> None:
        self.stop: threading.Event = _LoopStop(loop, stop)
        """An event that is set when the awaiting task is cancelled, when the loop no longer runs, or when the caller's
        event is set."""
        self._loop = loop
        self._feeds: list[concurrent.futures.Future[None]] = []

    def rows(self, source: AsyncIterable[Any]) -> Iterator[Any]:
        """Yield the items of an async iterable in the delivery's thread.

        The loop begins to read when the first item is requested. Raises IngestInterruptedError when ``stop`` is set.
        """
        feed = Feed(source, self._loop, self.stop)
        filling = asyncio.run_coroutine_threadsafe(feed.fill(), self._loop)
        self._feeds.append(filling)
        try:
            yield from feed.items()
        finally:
            if self._loop.is_running():  # otherwise nothing fills the queue any more
                filling.cancel()

    def records(self, records: Any) -> Any:
        """Return ``records`` in a form that a synchronous delivery accepts.

        An async iterable is passed to ``rows``, and the resulting iterator is returned. Any other value is returned
        unchanged.
        """
        return self.rows(records) if isinstance(records, AsyncIterable) else records

    def call(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        """Call ``function``, which belongs to the host, on the loop's thread, and return its result.

        If the result is awaitable, the loop awaits it, and the awaited value is returned. This thread blocks until the
        value is available. If the loop has stopped, the function is called in this thread, and its result is never
        awaited.
        """
        if not self._loop.is_running():
            return function(*args, **kwargs)

        async def on_loop() -> _Result:
            result = function(*args, **kwargs)
            return cast("_Result", await result) if inspect.isawaitable(result) else result

        calling = asyncio.run_coroutine_threadsafe(on_loop(), self._loop)
        while True:
            try:
                return calling.result(_LOOK_EVERY)
            except concurrent.futures.TimeoutError:
                if calling.done():
                    return calling.result()  # the function raised a TimeoutError
                if not self._loop.is_running() and calling.cancel():
                    return function(*args, **kwargs)

    def post(
        self, function: Callable[_Parameters, object], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> None:
        """Call ``function``, which belongs to the host, on the loop's thread, and return without waiting for it to end.

        The function must not raise an exception. If the loop has stopped, the function is called in this thread.
        """
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(partial(function, *args, **kwargs))
        else:
            function(*args, **kwargs)

    def on_loop(self, function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        """Wrap ``function`` so that it runs on the loop's thread, whichever thread calls it."""

        def call(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
            return self.call(function, *args, **kwargs)

        return call

    def store(self, store: CheckpointStore | str | os.PathLike[str] | None) -> Any:
        """Return a checkpoint store whose methods run on the loop's thread.

        A file store, a path and None are returned unchanged: the delivery's thread writes the file.
        """
        if store is None or isinstance(store, FileCheckpointStore | str | os.PathLike):
            return store
        return _LoopStore(store, self)

    async def close(self) -> None:
        """Set ``stop``, stop reading the async iterables, and wait until they are closed."""
        self.stop.set()
        for filling in self._feeds:
            filling.cancel()
        await asyncio.gather(*map(asyncio.wrap_future, self._feeds), return_exceptions=True)


async def run_in_thread(
    work: Callable[[LoopBridge], _Result], *, stop: threading.Event | None = None, daemon: bool = False
) -> _Result:
    """Call ``work`` in a new thread and await the result; the thread has the caller's context variables.

    ``work`` is called with a LoopBridge. If the call is cancelled, the bridge's ``stop`` is set, the thread gets at
    most 1 s to end, and CancelledError is raised. Set ``daemon`` if ``work`` can block in the user's code, which does
    not check ``stop``. The process can then end while the thread still runs.
    """
    loop = asyncio.get_running_loop()
    bridge = LoopBridge(loop, stop)
    done: asyncio.Future[_Result] = loop.create_future()

    def run() -> None:
        try:
            settle = partial(done.set_result, work(bridge))
        except BaseException as error:  # noqa: BLE001  # the edge of a thread: the awaiting task gets it
            settle = partial(done.set_exception, _raisable(error))
        with suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(settle)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="zerobus-ingest", daemon=daemon)
    thread.start()
    try:
        await asyncio.wait({done})
    except BaseException as error:
        bridge.stop.set()
        if isinstance(error, asyncio.CancelledError):  # and not GeneratorExit, where nothing can be awaited any more
            ending: set[asyncio.Future[Any]] = {done, loop.create_task(bridge.close())}
            await asyncio.wait(ending, timeout=_STOP_GRACE)
            if done.done():
                done.exception()  # retrieved, because the caller gets CancelledError
        raise
    await bridge.close()
    return done.result()


def _raisable(error: BaseException) -> BaseException:
    # A future refuses StopIteration.
    return RuntimeError(f"the delivery raised {error!r}") if isinstance(error, StopIteration) else error


class _LoopStop(threading.Event):
    def __init__(self, loop: asyncio.AbstractEventLoop, given: threading.Event | None) -> None:
        super().__init__()
        self._loop = loop
        self._given = given
        self._ran_at = time.monotonic()

    def is_set(self) -> bool:
        if super().is_set() or (self._given is not None and self._given.is_set()):
            return True
        now = time.monotonic()
        if self._loop.is_running():
            self._ran_at = now
        elif now - self._ran_at > _STANDSTILL:
            self.set()
            return True
        return False


class _LoopStore:
    """Wraps a checkpoint store of the host, so that the store's methods run on the loop's thread."""

    def __init__(self, store: CheckpointStore, bridge: LoopBridge) -> None:
        self._store = store
        self._bridge = bridge

    @property
    def epoch(self) -> str | None:
        return self._store.epoch

    def load(self) -> Checkpoint | None:
        return self._bridge.call(self._store.load)

    def save(self, checkpoint: Checkpoint) -> None:
        self._bridge.call(self._store.save, checkpoint)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)  # such as save_interval
