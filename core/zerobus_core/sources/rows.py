"""Sources of row objects: lists and other sequences, generators, anything with ``__iter__``."""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from ..batch import Chunk
from ..errors import ConfigurationError
from .merge import MAX_CHUNK_BYTES, MAX_WAIT
from .row_content import rows_fingerprint
from .weight import WEIGHED_EVERY, fitting, weight

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..ranges import RowRanges

__all__ = ["IterableSource", "OneShot", "SequenceSource", "check_length", "version_fingerprint"]

END = 2**63 - 1
_SKIP_STEP = 10_000


def version_fingerprint(options: IngestOptions) -> str | None:
    """The fingerprint that the user vouches for with ``source_version``; hashed, since checkpoints are kept."""
    if options.source_version is None:
        return None
    return "version:" + hashlib.blake2b(options.source_version.encode(), digest_size=16).hexdigest()


def check_length(total: int, skip: RowRanges) -> None:
    """Raise ConfigurationError if the source ends before rows that are durable: they are of another one."""
    for durable, _ in skip.without(0, END):
        if durable > total:
            raise ConfigurationError(
                f"the source ended after {total} rows, but the checkpoint says that rows up to {durable} of it are "
                "durable: it is not the same source any more; give it another source_version, or delete the checkpoint"
            )


class SequenceSource:
    """Rows that are in memory already and can be reached by position; may be read many times."""

    is_arrow = False

    def __init__(self, rows: Sequence[Any], options: IngestOptions) -> None:
        self._rows = rows
        self._chunk_rows = options.batch_rows
        self._options = options

    @property
    def fingerprint(self) -> str | None:
        """Hash of the content of a list or tuple, or of ``source_version``; computed when asked for, once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str | None:
        version = version_fingerprint(self._options)
        if version is None and isinstance(self._rows, list | tuple):
            return rows_fingerprint(self._rows)
        return version

    @property
    def total_rows(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        total = len(self._rows)
        check_length(total, skip)
        for start, stop in skip.without(0, total):
            for first in range(start, stop, self._chunk_rows):
                yield from fitting(first, list(self._rows[first : min(first + self._chunk_rows, stop)]))


class OneShot:
    """An iterator that can be read once, and the memory that it was.

    Reading what an earlier delivery left of a generator would report success for rows that were never sent.
    """

    # Not every iterator can be remembered (those of lists cannot); generators can.
    _read: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

    def __init__(self, iterator: Iterator[Any], *, given: object = None) -> None:
        """``given`` is what the user passed, where that is not the iterator itself."""
        self._iterator: Iterator[Any] | None = iterator
        given = iterator if given is None else given
        try:
            if given in self._read:
                raise _read_before(given)
            self._read.add(given)
        except TypeError:
            return

    def replace(self, iterator: Iterator[Any]) -> None:
        """Have ``take`` hand over another iterator that goes on where the first one stands."""
        self._iterator = iterator

    def take(self) -> Iterator[Any]:
        """Hand the iterator over; the second time is an error."""
        if self._iterator is None:
            raise ConfigurationError("this source was read before, and its iterator cannot start again; build it anew")
        iterator, self._iterator = self._iterator, None
        return iterator


def _read_before(iterator: object) -> ConfigurationError:
    return ConfigurationError(
        f"this {type(iterator).__name__} was given to an earlier delivery, which has taken rows out of it; "
        "call the function again that made it, so that it starts at the first row"
    )


class IterableSource:
    """Rows that come one after the other; positions count from where the iterator stood."""

    is_arrow = False
    total_rows = None

    def __init__(
        self,
        start: Callable[[], Iterable[Any]],
        options: IngestOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._chunk_rows = options.batch_rows
        self._clock = clock
        self.fingerprint = version_fingerprint(options)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``; the iterator makes the skipped ones too, and they are let go."""
        rows = iter(self._start())
        position = 0
        for start, stop in skip.without(0, END):
            position += _advance(rows, start - position)
            while start <= position < stop:
                taken = self._take(rows, min(self._chunk_rows, stop - position))
                if not taken:
                    break
                yield Chunk(position, taken)
                position += len(taken)
        check_length(position, skip)

    def _take(self, rows: Iterator[Any], limit: int) -> list[Any]:
        taken = list(islice(rows, 1))
        deadline = self._clock() + MAX_WAIT
        if not taken or limit == 1:
            return taken
        size = weight(taken[0]) * WEIGHED_EVERY
        clock, append = self._clock, taken.append
        for row in rows:
            append(row)
            count = len(taken)
            if count % WEIGHED_EVERY == 0:
                size += weight(row) * WEIGHED_EVERY
            if count >= limit or size >= MAX_CHUNK_BYTES or clock() >= deadline:
                break
        return taken


def _advance(rows: Iterator[Any], count: int) -> int:
    done = 0
    # In steps, so that a signal does not wait behind one long call.
    while done < count:
        step = min(_SKIP_STEP, count - done)
        taken = sum(1 for _ in islice(rows, step))
        done += taken
        if taken < step:
            break
    return done
