"""What the SDK is given, counted row by row: an observer between the product and the real SDK.

It changes nothing that passes, and knows nothing of the product's own account.  Rows are told apart by what they hold,
so the rows of a delivery must all be different.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa

from zerobus_core import Workspace
from zerobus_core.streams.sdk import SdkSession
from zerobus_core.streams.stream import Listener, SdkStream

Rows = list[bytes] | list[str] | list[int]
Given = Callable[[Workspace, str, Rows], None]
"""Called with workspace, table and the rows of one batch, before the SDK gets them; in the thread of a stream."""


class _TappedStream:
    """An SDK stream that reports what it is given."""

    def __init__(self, stream: SdkStream, given: Callable[[Rows], None]) -> None:
        self._stream = stream
        self._given = given

    @property
    def stream_id(self) -> str | None:
        return self._stream.stream_id

    def ingest(self, payload: Any) -> int:
        self._given(payload.column("id").to_pylist() if isinstance(payload, pa.RecordBatch) else payload)
        return self._stream.ingest(payload)

    def cause(self) -> BaseException | None:
        return self._stream.cause()

    def close(self) -> None:
        self._stream.close()

    def abandon(self) -> None:
        self._stream.abandon()


@contextmanager
def tapped(given: Given) -> Iterator[None]:
    """Every stream that is opened inside reports what it is given; Arrow rows must have a column ``id``."""
    real = SdkSession.open

    def open_tapped(session: SdkSession, listener: Listener) -> Any:
        stream = real(session, listener)
        return _TappedStream(stream, partial(given, session._workspace, session._table))

    SdkSession.open = open_tapped  # type: ignore[method-assign]
    try:
        yield
    finally:
        SdkSession.open = real  # type: ignore[method-assign]


class GivenRows:
    """How often the SDK was given each row, by table.  Streams call it from their threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: defaultdict[str, Counter[bytes | str | int]] = defaultdict(Counter)

    def __call__(self, _workspace: Workspace, table: str, rows: Rows) -> None:
        with self._lock:
            self._times[table].update(rows)

    def again(self, table: str) -> int:
        """How many times a row was given after its first time: no cut of a stream can double more."""
        with self._lock:
            return sum(times - 1 for times in self._times[table].values())
