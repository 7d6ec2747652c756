"""Reads Arrow IPC files (Feather version 2) and Arrow IPC streams. Their first bytes show which of the two they are."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ....errors import ConfigurationError
from ...libraries.pandas_index import refuse_range_column
from ...protocol.chunking import clip
from .ipc_footer import has_bytes_between

if TYPE_CHECKING:
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["IpcFormat"]

_FILE_MAGIC = b"ARROW1"
# A stream ends with the length of a message that does not follow: 0. Newer streams have a mark before each length.
_END_MARK = bytes(4)


class IpcFormat:
    """Reads one record batch at a time.

    A file with a named pandas RangeIndex is refused, unless ``dropped`` contains the name of the index. pandas stores
    such an index only in the metadata. The index could become a column only if the number of rows were known before the
    first batch is yielded.
    """

    is_arrow = True
    is_text = False

    def __init__(self, dropped: tuple[str, ...] = ()) -> None:
        self._dropped = dropped

    @property
    def settings(self) -> dict[str, Any]:
        """Always empty: no setting changes how the file is read."""
        return {}

    def count(self, file: FoundFile) -> int | None:
        """Always None: the footer lists the batches, but not the number of rows in each batch."""
        return None

    def read(self, file: FoundFile, wanted: Wanted, _chunk_rows: int) -> Pieces:
        """Read the file; batches without wanted rows are read and dropped."""
        first = 0
        for batch in _batches(file):
            if first == 0:
                refuse_range_column(batch.schema, self._dropped, file.shown)
            yield from clip(batch, first, wanted)
            first += len(batch)
        return first


def _batches(file: FoundFile) -> Iterator[pa.RecordBatch]:
    # The file is not mapped into memory: if a mapped file is truncated, reading its pages ends the process.
    is_plain = file.is_local and file.compression is None
    with pa.OSFile(file.path) if is_plain else file.open() as opened:
        magic = opened.read(len(_FILE_MAGIC))
        opened.seek(0)
        if magic == _FILE_MAGIC:
            if has_bytes_between(opened):
                raise ConfigurationError(
                    f"{file.shown} consists of several Arrow IPC files joined together, but its footer describes "
                    "only the last one; split it into the original files"
                )
            with pa.ipc.open_file(opened) as reader:
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)
        else:
            yield from _streamed(opened, file.shown)


def _streamed(opened: Any, name: str) -> Iterator[pa.RecordBatch]:
    watched = _EndWatcher(opened)
    with pa.ipc.open_stream(watched) as reader:
        yield from reader
    if not watched.has_end_mark:
        raise ConfigurationError(
            f"{name} is an Arrow stream without an end mark, so batches may be missing: it was truncated, or its "
            "writer was never closed"
        )
    if opened.read(1):
        raise ConfigurationError(
            f"{name} has more bytes after the end of its Arrow stream; if it consists of several streams, write each "
            "stream to a file of its own"
        )


class _EndWatcher(io.RawIOBase):
    """A file that remembers the last bytes that were read from it."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self._last = b""

    @property
    def has_end_mark(self) -> bool:
        return self._last.endswith(_END_MARK)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._opened.read(size)
        # The Arrow reader reads the length of a message (4 or 8 bytes) without the bytes after it. So the end mark
        # is the last thing that it reads of a complete stream.
        self._last = (self._last + data)[-len(_END_MARK) :] if data else b""
        return data
