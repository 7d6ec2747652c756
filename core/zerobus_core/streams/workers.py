"""Daemon threads that are kept for a while after a job, to run the next job.

The heap of a new thread is empty, and the first use of each memory page costs time. Kept threads already have their
pages, which makes repeated deliveries of Arrow data in a process about a tenth faster.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeAlias

from ..process.fork import in_each_child

__all__ = ["Workers"]

Job: TypeAlias = Callable[[], None]


class Workers:
    """Runs each job in a daemon thread, which waits up to ``idle`` seconds for another job before it ends."""

    def __init__(self, *, idle: float = 30.0) -> None:
        self._idle = idle
        # The deque's methods are atomic: nobody else gives a job to the thread whose inbox was taken out.
        self._free: deque[SimpleQueue[Job]] = deque()
        in_each_child(self._free.clear)

    def __repr__(self) -> str:
        return f"<Workers {len(self._free)} idle>"

    def run(self, job: Job, *, name: str) -> None:
        """Start ``job`` in a thread called ``name``, and return at once. The job must not raise."""

        def named() -> None:
            threading.current_thread().name = name
            job()

        try:
            inbox = self._free.pop()
        except IndexError:
            inbox = SimpleQueue()
            threading.Thread(target=self._work, args=(inbox,), daemon=True).start()
        inbox.put(named)

    def _work(self, inbox: SimpleQueue[Job]) -> None:
        while (job := self._next(inbox)) is not None:
            job()
            del job  # otherwise the objects that it refers to would live as long as the thread
            self._free.append(inbox)

    def _next(self, inbox: SimpleQueue[Job]) -> Job | None:
        try:
            return inbox.get(timeout=self._idle)
        except Empty:
            pass
        try:
            self._free.remove(inbox)
        except ValueError:  # ``run`` has just taken the inbox, so a job follows
            return inbox.get()
        return None
