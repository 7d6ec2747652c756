"""Sources of Arrow record batches: tables in memory, readers and streams of batches, datasets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..errors import ConfigurationError
from ..signals import is_of_signal
from .fingerprint import content_fingerprint
from .frame_rows import FrameRows
from .frames import frame_content
from .merge import cut, merged
from .rows import check_length, version_fingerprint
from .unreadable import unreadable

if TYPE_CHECKING:
    from ..batch import Chunk
    from ..options import IngestOptions
    from ..ranges import RowRanges

__all__ = ["BatchesSource", "DatasetSource", "TableSource", "batches_of", "is_whole", "scan"]


class TableSource:
    """A pyarrow Table in memory; its chunks are slices of it and copy nothing, unless its own are small."""

    is_arrow = True

    def __init__(self, table: pa.Table, options: IngestOptions) -> None:
        self._table = table
        self._chunk_rows = options.batch_rows
        self._options = options

    @property
    def fingerprint(self) -> str | None:
        """Hash of schema, length and content, or of ``source_version``; computed when asked for, once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str | None:
        return version_fingerprint(self._options) or content_fingerprint(self._table)

    @property
    def total_rows(self) -> int:
        """How many rows there are."""
        return int(self._table.num_rows)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        return merged(self._slices(skip), self._chunk_rows)

    def _slices(self, skip: RowRanges) -> Iterator[Chunk]:
        check_length(self.total_rows, skip)
        for start, stop in skip.without(0, self.total_rows):
            first = start
            for batch in self._table.slice(start, stop - start).to_batches():
                yield from cut(batch, first)
                first += len(batch)


class BatchesSource:
    """Record batches that come one after the other: a reader, a stream, an iterable of tables or frames."""

    is_arrow = True
    total_rows = None

    def __init__(self, start: Callable[[], Iterable[pa.RecordBatch]], options: IngestOptions) -> None:
        self._start = start
        self._chunk_rows = options.batch_rows
        self.fingerprint = version_fingerprint(options)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``; the others are made, too, and let go."""
        return merged(self._wanted(skip), self._chunk_rows)

    def _wanted(self, skip: RowRanges) -> Iterator[Chunk]:
        first = 0
        for batch in self._start():
            yield from wanted_slices(batch, first, skip)
            first += len(batch)
        check_length(first, skip)


def wanted_slices(batch: pa.RecordBatch, first: int, skip: RowRanges) -> Iterator[Chunk]:
    """What ``skip`` leaves of a batch whose first row is at position ``first``."""
    for start, stop in skip.without(first, first + len(batch)):
        yield from cut(batch.slice(start - first, stop - start), start)


def batches_of(items: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    """The record batches of batches, tables and frames; raises ConfigurationError for anything else."""
    for item in items:
        if isinstance(item, pa.RecordBatch):
            yield item
        elif isinstance(item, pa.Table):
            yield from item.to_batches()
        else:
            table = frame_content(item)
            if isinstance(table, FrameRows):
                raise ConfigurationError(
                    "an iterable that began with Arrow data goes on with a frame whose objects Arrow would change; "
                    'pass rows from the start: (row for frame in frames for row in frame.to_dict("records"))'
                )
            if table is None:
                raise ConfigurationError(
                    f"an iterable that began with Arrow data or frames goes on with a {type(item).__name__}; "
                    "all of its items must be of one kind"
                )
            yield from table.to_batches()


class DatasetSource:
    """A pyarrow Dataset, fragment by fragment in its own order; fragments that are durable are not read."""

    is_arrow = True

    def __init__(self, dataset: Any, options: IngestOptions) -> None:
        self._dataset = dataset
        self._chunk_rows = options.batch_rows
        self._fragments = list(dataset.get_fragments())
        self.fingerprint = version_fingerprint(options) or _dataset_fingerprint(dataset, self._fragments)

    @property
    def total_rows(self) -> int | None:
        """How many rows there are, if all fragments are of formats that tell."""
        if all(map(_tells_rows, self._fragments)):
            return sum(int(fragment.count_rows()) for fragment in self._fragments)
        return None

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        return merged(self._wanted(skip), self._chunk_rows)

    def _wanted(self, skip: RowRanges) -> Iterator[Chunk]:
        first = 0
        for fragment in self._fragments:
            if first in skip and _tells_rows(fragment):
                stop = first + fragment.count_rows()
                if next(skip.without(first, stop), None) is None:
                    first = stop
                    continue
            for batch in _named(fragment, scan(fragment, self._chunk_rows, schema=self._dataset.schema)):
                yield from wanted_slices(batch, first, skip)
                first += len(batch)
        check_length(first, skip)


def is_whole(dataset: Any) -> bool:
    """Whether a dataset is all of its fragments; one that was filtered does not say what of them it is."""
    try:
        dataset.get_fragments()
    except ValueError:
        return False
    return True


def scan(dataset: Any, chunk_rows: int, **columns: Any) -> Iterator[pa.RecordBatch]:
    """The batches of a dataset or of a fragment, in order; reading ahead is memory, and so is bounded."""
    scanner = dataset.scanner(batch_size=chunk_rows, batch_readahead=2, fragment_readahead=1, **columns)
    yield from scanner.to_batches()


def _named(fragment: Any, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches of a fragment; if it is a file that cannot be read, the error names it."""
    rows = 0
    try:
        for batch in batches:
            rows += len(batch)
            yield batch
    except (pa.ArrowException, OSError) as error:
        path = getattr(fragment, "path", None)
        if not path or is_of_signal(error):
            raise  # of an iterable that the user has made a dataset
        raise unreadable(path, error, rows) from error


def _tells_rows(fragment: Any) -> bool:
    return getattr(getattr(fragment, "format", None), "default_extname", None) in {"parquet", "ipc", "arrow", "feather"}


def _dataset_fingerprint(dataset: Any, fragments: list[Any]) -> str | None:
    filesystem = getattr(dataset, "filesystem", None)
    if filesystem is None or any(not getattr(fragment, "path", None) for fragment in fragments):
        return None
    paths = [fragment.path for fragment in fragments]
    facts = []
    for info, fragment in zip(filesystem.get_file_info(paths), fragments, strict=True):
        if info.mtime_ns is None:
            return None
        facts.append([info.path, info.size, info.mtime_ns, str(fragment.partition_expression)])
    text = json.dumps([str(dataset.schema.remove_metadata()), facts])
    return f"dataset:{len(facts)}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
