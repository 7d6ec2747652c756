"""Sources of row objects: lists and other sequences, generators, and other iterables."""

from __future__ import annotations

import hashlib
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar

from ...batch import Chunk
from ...errors import ConfigurationError
from ...wording import plural
from ..protocol.chunking import MAX_CHUNK_BYTES, MAX_WAIT, Heartbeat
from ..protocol.source import Source
from .content import rows_fingerprint
from .row_blocks import RowBlocks
from .row_size import SAMPLED_EVERY, chunks_of, size_of

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...ranges import RowRanges
    from ...records import TupleRows

__all__ = [
    "IterableSource",
    "OneShotIterable",
    "SequenceSource",
    "check_length",
    "content_with_version",
    "version_fingerprint",
]

# map, zip, filter and itertools do not support weak references, so such an iterator can be recognised only if it is
# kept alive. The iterators of deliveries that have not succeeded are all kept, up to this many; more are refused.
_MOST_UNFINISHED = 10_000
_MOST_FINISHED = 16


def version_fingerprint(options: IngestOptions) -> str | None:
    """Return a fingerprint made of the user's ``source_version``, or None if that is not set.

    The version is hashed, because checkpoints store the fingerprint.
    """
    if options.source_version is None:
        return None
    return "version:" + hashlib.blake2b(options.source_version.encode(), digest_size=16).hexdigest()


def content_with_version(content: str | None, options: IngestOptions) -> str | None:
    """Return a fingerprint for data in memory, made of ``content`` and ``source_version``.

    ``content`` is a hash of the data, or None if the data cannot be hashed. If ``content`` or ``source_version`` is
    missing, the fingerprint is made of the other one; if both are missing, the result is None. ``source_version``
    does not replace the hash, so different rows have different fingerprints even if their version is the same.
    """
    known = [part for part in (version_fingerprint(options), content) if part is not None]
    return "+".join(known) or None


def check_length(total: int, skip: RowRanges) -> None:
    """Raise ConfigurationError if ``skip`` has durable rows after the source's end: the source has then changed."""
    for durable, _ in skip.without():
        if durable > total:
            raise ConfigurationError(
                f"the source ended after {total} {plural(total, 'row')}, but the checkpoint says that rows up to "
                f"{durable} are durable: the source has changed; set another source_version, or delete the checkpoint"
            )


class SequenceSource(Source):
    """A sequence of rows, which can be indexed by position; can be read many times."""

    def __init__(self, rows: Sequence[Any], options: IngestOptions) -> None:
        self._rows = rows
        self.is_in_memory = isinstance(rows, list | tuple)  # other sequences can fetch their items on demand
        self._chunk_rows = options.batch_rows
        self._options = options

    @property
    def is_content_known(self) -> bool:
        """See ``Source``: True if the fingerprint contains a hash of the content, otherwise False."""
        return self.fingerprint != version_fingerprint(self._options)

    def _find_fingerprint(self) -> str | None:
        """Return a fingerprint made of ``source_version`` and, only for a list or tuple, of the content."""
        content = rows_fingerprint(self._rows) if isinstance(self._rows, list | tuple) else None
        return content_with_version(content, self._options)

    def _count_rows(self) -> int:
        return len(self._rows)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        total = len(self._rows)
        check_length(total, skip)
        for start, stop in skip.without(0, total):
            for first in range(start, stop, self._chunk_rows):
                yield from chunks_of(first, list(self._rows[first : min(first + self._chunk_rows, stop)]))


class OneShotIterable:
    """An iterable that the user passed. Its iterator can be read by only one delivery.

    The iterator is remembered. If a later delivery gets the same iterator, ConfigurationError is raised. Without this
    check, the later delivery would succeed, but lack the rows that the earlier delivery has taken. A finished iterator
    can be forgotten, see ``forget``.
    """

    _known: ClassVar[weakref.WeakValueDictionary[int, Any]] = weakref.WeakValueDictionary()
    _unfinished: ClassVar[dict[int, Any]] = {}
    _finished: ClassVar[deque[Any]] = deque(maxlen=_MOST_FINISHED)

    def __init__(self, records: Iterable[Any], *, given: object = None) -> None:
        """Start to iterate over ``records``.

        If the rows come from an object whose iterators all share the same rows, pass this object as ``given``. The
        object is then remembered like the iterator, because a second iterator would lack the rows that the first has
        taken.
        """
        self._records = records
        self._iterator: Iterator[Any] | None = iter(records)
        self._kept: list[Any] = []
        # A container starts again each time.
        iterator = None if isinstance(records, Collection) else self._iterator
        for one in (iterator, given):
            if self._is_known(one):
                raise ConfigurationError(
                    f"this {type(one).__name__} was given to an earlier delivery, which has taken rows out of it; "
                    "pass a new one, which starts at the first row"
                )
        for one in (iterator, given):
            self._remember(one)

    @property
    def can_start_again(self) -> bool:
        """Whether ``take`` can be called a second time, because the iterable is not itself an iterator."""
        return not isinstance(self._records, Iterator)

    def peek(self) -> Any:
        """Return the first item, or None if there are no items. The iterator from ``take`` still yields this item."""
        assert self._iterator is not None
        first = list(islice(self._iterator, 1))
        self._iterator = chain(first, self._iterator)
        return first[0] if first else None

    def take(self) -> Iterator[Any]:
        """Return the iterator at the first call, and a new iterator of the same iterable at every later call.

        Raises ConfigurationError if the iterable cannot start again.
        """
        if self._iterator is not None:
            iterator, self._iterator = self._iterator, None
            return iterator
        again = iter(self._records)
        if not isinstance(self._records, Collection):
            if self._is_known(again):
                raise ConfigurationError(
                    "this source was read before, but its iterator cannot start again; make a new source"
                )
            self._remember(again)
        return again

    def _is_known(self, one: object) -> bool:
        if one is None:
            return False
        at = id(one)
        is_kept = self._unfinished.get(at) is one or any(one is kept for kept in self._finished)
        return is_kept or self._known.get(at) is one

    def _remember(self, one: object) -> None:
        if one is None:
            return
        try:
            self._known[id(one)] = one
        except TypeError:
            if len(self._unfinished) >= _MOST_UNFINISHED:
                raise ConfigurationError(
                    f"records is a {type(one).__name__}, which must be kept in memory until its delivery succeeds, "
                    f"and {_MOST_UNFINISHED:,} such iterators are kept already; pass a generator expression instead: "
                    "(row for row in records)"
                ) from None
            self._unfinished[id(one)] = one
            self._kept.append(one)

    def forget(self) -> None:
        """Mark the iterators as finished; call this when all of their rows are durable.

        Of the iterators that do not allow weak references, all unfinished ones are kept in memory, but only the
        ``_MOST_FINISHED`` that finished last.
        """
        for one in self._kept:
            if self._unfinished.pop(id(one), None) is not None:
                self._finished.append(one)
        self._kept = []


class IterableSource(Source):
    """Rows that are produced one by one. Position 0 is the first row that this source reads.

    Rows that the user has already taken from the iterator have no position.
    """

    def __init__(
        self,
        start: Callable[[], Iterable[Any]],
        options: IngestOptions,
        *,
        is_made_anew: bool = True,
        can_read_again: bool = False,
        on_durable: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build a source that reads the rows of ``start()``.

        ``is_made_anew`` says whether the rows are created during the iteration; False means that they are stored in a
        container. ``can_read_again`` says whether ``start`` can be called more than once. ``on_durable`` is called when
        all rows are durable.
        """
        self._can_read_again = can_read_again
        self._as_tuples = False
        self._start = start
        self._on_durable = on_durable
        self._is_made_anew = is_made_anew
        self._chunk_rows = options.batch_rows
        self._clock = clock
        self.fingerprint = version_fingerprint(options)

    def give_tuples(self) -> None:
        """See ``Source``; affects only subclasses that read a database."""
        self._as_tuples = True

    def on_durable(self) -> None:
        """See ``Source``."""
        if self._on_durable is not None:
            self._on_durable()

    @property
    def can_read_again(self) -> bool:
        """See ``Source``."""
        return self._can_read_again

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``; rows in ``skip`` are also read from the iterator, but dropped."""
        rows = iter(self._start())
        position = 0
        pulse = Heartbeat(self._clock)
        for start, stop in skip.without():
            for _ in islice(rows, start - position):
                position += 1
                if pulse.is_due():
                    yield Chunk(position, [])
            while start <= position < stop:
                taken = self._take(rows, min(self._chunk_rows, stop - position))
                if not taken:
                    break
                if self._is_made_anew and isinstance(taken, list):  # tuples cannot be changed
                    _check_objects(taken, position)
                yield Chunk(position, taken)
                position += len(taken)
        check_length(position, skip)

    def _take(self, rows: Iterator[Any], limit: int) -> list[Any] | TupleRows:
        if isinstance(rows, RowBlocks):
            return rows.take_chunk(limit, self._clock)
        taken = list(islice(rows, 1))
        deadline = self._clock() + MAX_WAIT
        if not taken or limit == 1:
            return taken
        size = size_of(taken[0]) * SAMPLED_EVERY
        clock, append = self._clock, taken.append
        for row in rows:
            append(row)
            count = len(taken)
            if count % SAMPLED_EVERY == 0:
                size += size_of(row) * SAMPLED_EVERY
            if count >= limit or size >= MAX_CHUNK_BYTES or clock() >= deadline:
                break
        return taken


def _check_objects(rows: list[Any], first_row: int) -> None:
    """Raise ConfigurationError if two rows are the same mutable object: the earlier row can have lost its values."""
    if len(set(map(id, rows))) == len(rows):
        return
    seen: dict[int, int] = {}
    for at, row in enumerate(rows, first_row):
        before = seen.setdefault(id(row), at)
        if before != at and not _is_immutable(row):
            raise ConfigurationError(
                f"the same {type(row).__name__} was yielded for rows {before} and {at}, so both rows would have its "
                "last values; yield a new object for each row, such as a copy"
            )


def _is_immutable(row: Any) -> bool:
    # None, text and numbers count as immutable here: they are reported later, as values that are not records.
    is_frozen = getattr(getattr(row, "__dataclass_params__", None), "frozen", False)
    config = getattr(row, "model_config", None)  # pydantic's
    is_frozen = is_frozen or (isinstance(config, dict) and bool(config.get("frozen")))
    return is_frozen or isinstance(row, tuple | str | bytes | int | float | None)
