"""Sources of Arrow record batches: tables in memory, readers and streams of batches, and datasets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ...batch import Chunk, Origin
from ...errors import ConfigurationError
from ...process.signals import is_of_signal
from ...storage.filesystem import changed_file_error, unreadable_file_error
from ...storage.uris import shown_uri
from ..files.finding.found import local_content, local_version
from ..libraries.pandas_index import with_range_column
from ..protocol.chunking import clip, coalesce, split
from ..protocol.source import Source, origins_of
from ..rows.frame_rows import FrameRows
from ..rows.iterables import check_length, content_with_version, version_fingerprint
from .fingerprint import content_fingerprint
from .frames import frame_content

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...ranges import RowRanges

__all__ = [
    "BatchesSource",
    "DatasetSource",
    "TableSource",
    "batches_of",
    "copy_batch",
    "dataset_fingerprint",
    "is_whole",
    "scan",
]


class TableSource(Source):
    """A pyarrow Table in memory. Its data are not copied, except for small chunks, which are joined."""

    is_arrow = True
    is_in_memory = True

    def __init__(self, table: pa.Table, options: IngestOptions) -> None:
        self._table = table
        self._chunk_rows = options.batch_rows
        self._options = options

    @property
    def is_content_known(self) -> bool:
        """See ``Source``. True if the fingerprint covers the content itself, not only ``source_version``."""
        return self.fingerprint != version_fingerprint(self._options)

    def _find_fingerprint(self) -> str | None:
        """Return a fingerprint made of ``source_version``, if it is set, and of the content, if it can be hashed."""
        return content_with_version(content_fingerprint(self._table), self._options)

    def _count_rows(self) -> int:
        return int(self._table.num_rows)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        return coalesce(self._slices(skip), self._chunk_rows)

    def _slices(self, skip: RowRanges) -> Iterator[Chunk]:
        total = self._count_rows()
        check_length(total, skip)
        for start, stop in skip.without(0, total):
            first = start
            for batch in self._table.slice(start, stop - start).to_batches():
                yield from split(batch, first)
                first += len(batch)


class BatchesSource(Source):
    """Record batches that are read one by one, for example from a reader, a stream or an iterable of tables."""

    is_arrow = True

    def __init__(
        self,
        start: Callable[[], Iterable[pa.RecordBatch]],
        options: IngestOptions,
        *,
        can_read_again: bool = False,
        on_durable: Callable[[], None] | None = None,
    ) -> None:
        """Build the source.

        ``start`` is called each time the source is read, and returns the batches. ``can_read_again`` says whether
        ``start`` can be called more than once. ``on_durable`` is called when all rows are durable.
        """
        self._can_read_again = can_read_again
        self._start = start
        self._on_durable = on_durable
        self._chunk_rows = options.batch_rows
        self.fingerprint = version_fingerprint(options)

    def on_durable(self) -> None:
        """See ``Source``."""
        if self._on_durable is not None:
            self._on_durable()

    @property
    def can_read_again(self) -> bool:
        """See ``Source``."""
        return self._can_read_again

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``; rows in ``skip`` are also read, but dropped."""
        return coalesce(self._wanted(skip), self._chunk_rows)

    def _wanted(self, skip: RowRanges) -> Iterator[Chunk]:
        first = 0
        for batch in self._start():
            yield from wanted_slices(batch, first, skip)
            first += len(batch)
        check_length(first, skip)


def wanted_slices(batch: pa.RecordBatch, first: int, skip: RowRanges) -> Iterator[Chunk]:
    """Yield the rows of ``batch`` that are not in ``skip``.

    If all rows of the batch are in ``skip``, yields one chunk without rows. ``first`` is the position of the batch's
    first row.
    """
    for start, part in clip(batch, first, skip.without):
        yield from split(part, start)


def batches_of(items: Iterable[Any], dropped: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """Yield copies of the record batches in ``items``. Each item must be a record batch, a table or a frame.

    The batches are copied because the producer can reuse its buffers before the rows are durable; large batches are
    split. ``dropped`` are the names in ``options.drop``. Raises ConfigurationError for an item of another kind, and for
    a frame that cannot be delivered as Arrow data.
    """
    for item in items:
        for batch in _batches_of(item, tuple(dropped)):
            yield from (copy_batch(piece.rows) for piece in split(batch, 0))


def _batches_of(item: Any, dropped: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    if isinstance(item, pa.RecordBatch | pa.Table):
        table = item if isinstance(item, pa.Table) else pa.Table.from_batches([item])
        yield from with_range_column(table, dropped).to_batches()
        return
    table = frame_content(item)
    if isinstance(table, FrameRows):
        raise ConfigurationError(
            "records yields a pandas frame after items that were read as Arrow data, but Arrow would change Python "
            'objects in this frame; pass rows instead: (row for frame in frames for row in frame.to_dict("records"))'
        )
    if table is None:
        raise ConfigurationError(
            f"records yields a {type(item).__name__} after Arrow data or frames; all items must be Arrow data or frames"
        )
    yield from table.to_batches()


def copy_batch(batch: Any) -> pa.RecordBatch:
    """Return a copy of a record batch. If the batch is a slice, only the data of the slice are copied."""
    sink = pa.BufferOutputStream()
    try:
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        return pa.ipc.open_stream(sink.getvalue()).read_next_batch()
    except (pa.ArrowException, OSError):  # for example, the IPC format does not support a dictionary of dictionaries
        return batch.take(pa.array(range(len(batch))))


class DatasetSource(Source):
    """A pyarrow Dataset. Its fragments are read one after the other, in the order of the dataset.

    If all rows of a fragment are durable, the fragment is not read. This applies only to Parquet and Arrow IPC, because
    the rows of these formats can be counted without reading them.
    """

    is_arrow = True

    def __init__(self, dataset: Any, options: IngestOptions, *, fragments: Sequence[Any] | None = None) -> None:
        """Build the source; ``fragments`` are the fragments to read, or None for all fragments of the dataset."""
        self._dataset = dataset
        self._chunk_rows = options.batch_rows
        self._fragments = list(dataset.get_fragments() if fragments is None else fragments)
        self._options = options
        # For the pieces of files that were begun: _starts has the position of each piece's first row; _files has the
        # piece's file, and the number of that row in the file.
        self._starts: list[int] = []
        self._files: list[tuple[str, int]] = []
        self.has_files = all(getattr(fragment, "path", None) for fragment in self._fragments)

    @property
    def is_content_known(self) -> bool:
        """See ``Source``. True if the fingerprint covers the content itself, not only ``source_version``."""
        return self.fingerprint != version_fingerprint(self._options)

    def _find_fingerprint(self) -> str | None:
        """Return the fingerprint of ``source_version`` if it is set, otherwise ``dataset_fingerprint``."""
        return version_fingerprint(self._options) or dataset_fingerprint(self._dataset, self._fragments)

    def _count_rows(self) -> int | None:
        if all(map(_tells_rows, self._fragments)):
            return sum(map(_count, self._fragments))
        return None

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        return coalesce(self._wanted(skip), self._chunk_rows)

    def origins(self, first_row: int, stop_row: int) -> Iterator[Origin]:
        """See ``Source``. The origins are recorded only if ``metadata_columns`` is set."""
        return origins_of(first_row, stop_row, self._starts, self._files)

    def _wanted(self, skip: RowRanges) -> Iterator[Chunk]:
        first = 0
        self._starts, self._files = [], []
        for fragment in self._fragments:
            if self.has_files and self._options.metadata_columns is not None:
                for rows, number in _pieces(fragment):
                    self._starts.append(first + rows)
                    self._files.append((shown_uri(fragment.path), number))
            if first in skip and _tells_rows(fragment):
                stop = first + _count(fragment)
                if next(skip.without(first, stop), None) is None:
                    first = stop
                    yield Chunk(first, [])
                    continue
            for batch in _unchanged(fragment, scan(fragment, self._chunk_rows, schema=self._dataset.schema)):
                yield from wanted_slices(batch, first, skip)
                first += len(batch)
        check_length(first, skip)


def _pieces(fragment: Any) -> list[tuple[int, int]]:
    """Split a fragment into runs of rows that are consecutive in its file; return the start of each run.

    A start is a pair: the position of the run's first row in the fragment, and the number of the same row in the file.
    Both are counted from 0.
    """
    if not hasattr(fragment, "row_groups"):
        return [(0, 0)]
    pieces: list[tuple[int, int]] = []
    rows = 0
    for group in fragment.row_groups:
        before = sum(fragment.metadata.row_group(index).num_rows for index in range(group.id))
        if not pieces or before - pieces[-1][1] != rows - pieces[-1][0]:
            pieces.append((rows, before))
        rows += group.num_rows
    return pieces


def is_whole(dataset: Any) -> bool:
    """Return whether a dataset has all rows of its fragments.

    Returns False for a filtered dataset, because it is unknown which rows pass its filter.
    """
    try:
        dataset.get_fragments()
    except ValueError:
        return False
    return True


def scan(dataset: Any, chunk_rows: int, **columns: Any) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a dataset or a fragment, in order. Few batches are read ahead, to save memory."""
    scanner = dataset.scanner(batch_size=chunk_rows, batch_readahead=2, fragment_readahead=1, **columns)
    yield from scanner.to_batches()


def _unchanged(fragment: Any, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield ``batches``, which are read from ``fragment``.

    If the fragment's file cannot be read, or if the file changes during the read, raises an error that names the file.
    """
    rows = 0
    before = _content(fragment)
    try:
        for batch in batches:
            rows += len(batch)
            yield batch
    except (pa.ArrowException, OSError) as error:
        if before is not None and not is_of_signal(error) and _content(fragment) != before:
            raise changed_file_error(fragment.path) from error  # a file changed during the read can look damaged
        raise _fragment_error(fragment, error, rows) from error
    if _content(fragment) != before:
        raise changed_file_error(fragment.path)


def _count(fragment: Any) -> int:
    try:
        if hasattr(fragment, "row_groups"):  # count_rows() counts the whole file, even for a part of it
            return sum(group.num_rows for group in fragment.row_groups)
        return int(fragment.count_rows())
    except (pa.ArrowException, OSError) as error:
        raise _fragment_error(fragment, error) from error


def _fragment_error(fragment: Any, error: Exception, rows: int | None = None) -> Exception:
    path = getattr(fragment, "path", None)
    # A fragment without a path is an iterable from which the user made a dataset.
    return error if not path or is_of_signal(error) else unreadable_file_error(path, error, rows)


def _content(fragment: Any) -> str | None:
    """Return the version of a fragment's file; None if the fragment has no file, or if the version is unknown.

    For a local file, the version is returned without the ctime: the ctime can change although the content does not.
    """
    if not getattr(fragment, "path", None):
        return None
    (version,) = _versions(fragment.filesystem, [fragment])
    return local_content(version) if fragment.filesystem.type_name == "local" else version


def _versions(filesystem: Any, fragments: list[Any]) -> list[str | None]:
    """Return the version of each fragment's file; None for a file whose version is unknown."""
    paths = [fragment.path for fragment in fragments]
    if filesystem.type_name == "local":
        return list(map(local_version, paths))
    try:
        infos = filesystem.get_file_info(paths)
    except OSError as error:
        raise _fragment_error(fragments[0], error) from error
    return [None if info.mtime_ns is None else f"{info.size}:{info.mtime_ns}" for info in infos]


def _tells_rows(fragment: Any) -> bool:
    return getattr(getattr(fragment, "format", None), "default_extname", None) in {"parquet", "ipc", "arrow", "feather"}


def dataset_fingerprint(dataset: Any, fragments: list[Any]) -> str | None:
    """Return a hash of the schema, and of the files, row groups and read options of ``fragments``.

    Returns None if the dataset has no file system, if a fragment has no file, if a file's version is unknown, or if the
    read options cannot be hashed.
    """
    filesystem = getattr(dataset, "filesystem", None)
    if filesystem is None or any(not getattr(fragment, "path", None) for fragment in fragments):
        return None
    versions = _versions(filesystem, fragments)
    if None in versions:
        return None
    try:
        facts = [[version, *_reading(fragment)] for version, fragment in zip(versions, fragments, strict=True)]
    except (AttributeError, TypeError, ValueError):
        return None  # the options contain a function, or keys for decryption
    text = json.dumps([str(dataset.schema.remove_metadata()), facts])
    return f"dataset:{len(facts)}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _reading(fragment: Any) -> list[Any]:
    """Return a fragment's path, row groups, partition and read options, as JSON-compatible values."""
    try:
        groups = [group.id for group in getattr(fragment, "row_groups", ())]
    except (pa.ArrowException, OSError) as error:
        raise _fragment_error(fragment, error) from error
    return [fragment.path, groups, str(fragment.partition_expression), _facts(fragment.format)]


def _facts(value: Any) -> Any:
    """Convert a file format and its options to JSON-compatible values. Equal options give equal values.

    An object is converted with ``__reduce_ex__``, the method that pickle uses, because only this method gives all
    options of every format. Raises TypeError for an object that cannot be pickled.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, bytes | type | pa.DataType | pa.Schema):
        return str(value)
    if isinstance(value, list | tuple):
        return [_facts(each) for each in value]
    if isinstance(value, set | frozenset):  # a set's order differs from process to process
        return sorted((_facts(each) for each in value), key=json.dumps)
    if isinstance(value, dict):
        return sorted(([_facts(key), _facts(each)] for key, each in value.items()), key=json.dumps)
    made, arguments, *state = value.__reduce_ex__(5)
    return [made.__qualname__, _facts(arguments), _facts(state)]
