"""A source that reads files one after the other. Row positions continue from each file to the next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ...batch import Chunk, Origin
from ...errors import ConfigurationError, ZerobusIngestError
from ...file_formats import FileFormatOption, format_of
from ...process.signals import is_of_signal
from ...storage.filesystem import changed_file_error, unreadable_file_error
from ...storage.uris import shown_uri
from ..protocol.chunking import coalesce, split
from ..protocol.read_ahead import read_ahead
from ..protocol.source import Source, origins_of
from ..rows.iterables import check_length
from .finding.found import FoundFile, FoundFiles, find_files, known_format
from .finding.partitions import partition_types
from .part import read_part
from .readers import reader_of
from .removed import removed_rows

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...ranges import RemovedRows, RowRanges
    from ...schema import TableSchema
    from .finding.listing import Location
    from .formats.file_format import FileFormat, Wanted
    from .formats.row_lines import LinesOfFiles

__all__ = ["FileSource", "files_source", "source_of_files", "source_of_found"]

# Above this number of files, rows are not counted in advance: asking an object store for the number of rows of a file
# takes a tenth of a second, and the total is only for a progress bar.
_MAX_ASKED = 100

_Answer = TypeVar("_Answer")


class FileSource(Source):
    """A source with the rows of a list of files, in the order of the list."""

    has_files = True

    def __init__(
        self, found: FoundFiles, reader: FileFormat, options: IngestOptions, *, earlier: Sequence[FoundFiles] = ()
    ) -> None:
        """Build the source.

        ``earlier`` has the lists of files that earlier attempts might have read. Each of these lists contains all files
        of ``found``, and also files that were removed after that attempt.
        """
        self._found = found
        self._reader = reader
        self._chunk_rows = options.batch_rows
        self._starts: list[int] = []  # first positions of the files that were begun
        self._counts: dict[str, int | None] = {}
        self._types = partition_types(found)
        self.is_arrow = reader.is_arrow
        self.is_text = reader.is_text
        self.fingerprint = found.fingerprint(reader.settings)
        self._earlier = {files.fingerprint(reader.settings): files for files in earlier}

    @property
    def is_content_known(self) -> bool:
        """Always True: the fingerprint, unless it is None, covers the versions of the files."""
        return True

    def __repr__(self) -> str:
        return f"FileSource({self._found.given!r}: {len(self._found.files)} {self._found.format} files)"

    def read_for(self, schema: TableSchema) -> None:
        """Prepare to read rows for a table.

        The types in ``schema`` can change how cells, numbers and partition values are parsed.
        """
        for_table = getattr(self._reader, "for_table", None)
        if for_table is not None:
            self._reader = for_table(schema)
        self._types = partition_types(self._found, schema)

    def _count_rows(self) -> int | None:
        """Return the total number of rows.

        Returns None if there are so many files that opening each of them would take too long, or if a file must be read
        to count its rows.
        """
        if len(self._found.files) > _MAX_ASKED:
            return None
        total = 0
        for file in self._found.files:
            count = self._count(file)
            if count is None:
                return None
            total += count
        return total

    def removed_since(self, fingerprint: str, reached: int) -> Iterator[RemovedRows | None]:
        """See ``Source``."""
        before = self._earlier.get(fingerprint)
        if before is not None:
            yield from removed_rows(before.files, self._found.files, self._reader, self._chunk_rows, reached)

    def would_hold(self, uri: str) -> bool:
        """Return whether a file at ``uri`` is one of these files, or would be one of them in the next attempt."""
        return self._found.would_hold(uri)

    def _count(self, file: FoundFile) -> int | None:
        if file.part is not None:
            return file.part[1] - file.part[0]
        if file.path not in self._counts:
            self._counts[file.path] = _answer(file, lambda: self._reader.count(file))
        return self._counts[file.path]

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that are not in ``skip``."""
        chunks = self._chunks(skip)
        # Only columnar formats are read ahead. The others are converted in Python while they are read, so a second
        # thread would only compete for the interpreter.
        return coalesce(read_ahead(chunks) if self._is_columnar else chunks, self._chunk_rows)

    @property
    def _is_columnar(self) -> bool:
        return self.is_arrow and not self.is_text

    def _chunks(self, skip: RowRanges) -> Generator[Chunk]:
        self._starts = []
        base = 0
        for file in self._found.files:
            self._starts.append(base)
            base += yield from self._file_chunks(file, base, skip)
        check_length(base, skip)

    def locate(self, row: int) -> str:
        """Return the file of a row that was read, and the row's number in the file, counted from 0."""
        index = bisect_right(self._starts, row) - 1
        if index < 0:
            return f"row {row}"
        file = self._found.files[index]
        first = file.part[0] if file.part else 0
        return f"{file.shown}, row {row - self._starts[index] + first}"

    def origins(self, first_row: int, stop_row: int) -> Iterator[Origin]:
        """See ``Source``."""
        return origins_of(first_row, stop_row, self._starts, [_origin(file) for file in self._found.files])

    def place(self, row: int) -> str:
        """Return the line of a row that was read, such as "line 3" or "line 3 of a.csv"; "" if the line is unknown."""
        lines: LinesOfFiles | None = getattr(self._reader, "lines", None)
        index = bisect_right(self._starts, row) - 1
        if lines is None or index < 0:
            return ""
        file = self._found.files[index]
        line = lines.line(file.path, row - self._starts[index] + (file.part[0] if file.part else 0))
        if line is None:
            return ""
        return f"line {line}" if len(self._found.files) == 1 else f"line {line} of {file.shown}"

    def _file_chunks(self, file: FoundFile, base: int, skip: RowRanges) -> Generator[Chunk, None, int]:
        def wanted(start: int, stop: int) -> Iterator[tuple[int, int]]:
            return ((a - base, b - base) for a, b in skip.without(base + start, base + stop))

        if skip and base in skip:
            count = self._count(file)
            if count is not None and next(wanted(0, count), None) is None:
                yield Chunk(base + count, [])
                return count
        has_changed = _answer(file, file.watched)
        try:
            rows = yield from self._read(file, base, wanted, has_changed)
        except ConfigurationError as error:
            if _answer(file, has_changed):
                raise changed_file_error(file.shown) from error  # a file changed during the read can look damaged
            raise
        _check_same(file, lambda: _answer(file, has_changed))
        return rows

    def _read(
        self, file: FoundFile, base: int, wanted: Wanted, has_changed: Callable[[], bool]
    ) -> Generator[Chunk, None, int]:
        pieces = read_part(self._reader, file, wanted, self._chunk_rows)
        read = 0
        # Checked before the first row is sent: if a file was replaced before it was opened, all of its rows are wrong.
        is_checked = not (file.is_local or file.is_expected)
        try:
            while True:
                try:
                    start, rows = next(pieces)
                except StopIteration as end:
                    return int(end.value)
                if not is_checked:
                    _check_same(file, has_changed)
                    is_checked = True
                read = start + len(rows)
                rows = self._with_partitions(file, rows)
                yield from [Chunk(base + start, rows)] if isinstance(rows, list) else split(rows, base + start)
        except ZerobusIngestError:
            raise
        except Exception as error:  # every decoder and every storage has errors of its own
            if is_of_signal(error):
                raise
            failure = unreadable_file_error(file.shown, error, read)
            raise failure from failure.__cause__
        finally:
            pieces.close()

    def _with_partitions(self, file: FoundFile, rows: Any) -> Any:
        if not file.partitions:
            return rows
        values = {name: None if value is None else self._types[name].parse(value) for name, value in file.partitions}
        if isinstance(rows, list):
            return [{**values, **row} if isinstance(row, dict) else row for row in rows]
        import pyarrow as pa

        for name, value in values.items():
            if name not in rows.schema.names:
                kind = getattr(pa, self._types[name].arrow)()
                column = pa.repeat(pa.scalar(value, kind), len(rows))
                rows = pa.RecordBatch.from_arrays([*rows.columns, column], [*rows.schema.names, name])
        return rows


def _origin(file: FoundFile) -> tuple[str, int]:
    return file.shown, file.part[0] if file.part else 0


def _check_same(file: FoundFile, has_changed: Callable[[], bool]) -> None:
    if has_changed():
        raise changed_file_error(file.shown)


def _answer(file: FoundFile, ask: Callable[[], _Answer]) -> _Answer:
    """Return the result of ``ask()``; raise errors of the decoder or the storage as errors of this library."""
    try:
        return ask()
    except ZerobusIngestError:
        raise
    except Exception as error:
        if is_of_signal(error):
            raise
        failure = unreadable_file_error(file.shown, error)
        raise failure from failure.__cause__


def files_source(
    given: str | Sequence[str],
    options: IngestOptions,
    *,
    format: str | None = None,
    reader: FileFormat | None = None,
) -> FileSource:
    """Return the source that reads a path, URI, directory or glob, or several of them in the order given.

    ``format`` is the format of all files, whatever their extensions: parquet, csv, jsonl, ipc, avro or excel. If it is
    None, the extensions show the format, and files with an unknown extension have the format of ``options.format``. If
    ``reader`` is None, the reader for the format is used. Raises ConfigurationError if ``format`` is None and the
    extensions show a format that is not the format of ``options.format``. Also raises the errors of ``find_files`` and
    ``source_of_found``.
    """
    chosen = format_of(options.format) if options.format is not None else None
    found = find_files(given, format=format, fallback=None if chosen is None else chosen.name)
    if chosen is not None and format is None and chosen.name != found.format:
        raise ConfigurationError(
            f"{found.given} holds {found.format} files, but options.format is for {chosen.name} files; leave "
            "options.format out"
        )
    return source_of_found(found, options, chosen=chosen, reader=reader)


def source_of_found(
    found: FoundFiles,
    options: IngestOptions,
    *,
    chosen: FileFormatOption | None = None,
    reader: FileFormat | None = None,
) -> FileSource:
    """Return the source that reads the files of ``found``.

    ``chosen`` is ``options.format`` as an object; if it is None, this function parses ``options.format``. Raises
    ConfigurationError if ``options.dead_letter_uri`` is one of the files, or would be one of them in the next attempt.
    """
    if chosen is None and options.format is not None:
        chosen = format_of(options.format)
    letters = options.dead_letter_uri
    if letters is not None and found.would_hold(letters):
        raise ConfigurationError(
            f"the dead-letter file {shown_uri(letters)} is, or will be, one of the files of {found.given}, and the "
            "next attempt would read it as rows; choose another file"
        )
    if reader is None:
        reader = _answer(found.files[0], lambda: reader_of(found, chosen, tuple(options.drop)))
    return FileSource(found, reader, options)


def source_of_files(
    files: Sequence[FoundFile],
    place: Location,
    options: IngestOptions,
    *,
    earlier: Sequence[Sequence[FoundFile]] = (),
) -> FileSource:
    """Return the source that reads ``files`` in the order given; ``place`` is the Location where they were found.

    ``earlier`` has the lists of files that earlier attempts might have read. Each of these lists contains all of
    ``files``, and also files that were removed after that attempt.
    """
    chosen = format_of(options.format) if options.format is not None else None
    kind = known_format(files[0].path) or (None if chosen is None else chosen.name)
    assert kind is not None

    def found_of(files: Sequence[FoundFile]) -> FoundFiles:
        return FoundFiles(given=place.shown, format=kind, files=tuple(files), places=(place,))

    found = found_of(files)
    reader = _answer(found.files[0], lambda: reader_of(found, chosen, tuple(options.drop)))
    return FileSource(found, reader, options, earlier=[found_of(one) for one in earlier])
