"""Arrow IPC files (Feather version 2) and streams, told apart by their first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ...chunking import wanted_parts

if TYPE_CHECKING:
    from ..finding.found import FoundFile
    from .file_format import Pieces, Wanted

__all__ = ["IpcFormat"]

_FILE_MAGIC = b"ARROW1"


class IpcFormat:
    """Reads record batch by record batch."""

    is_arrow = True
    is_text = False

    @property
    def settings(self) -> dict[str, Any]:
        """There are none."""
        return {}

    def count(self, file: FoundFile) -> int | None:
        """Not known: the footer tells batches, but not their rows."""
        return None

    def read(self, file: FoundFile, wanted: Wanted, _chunk_rows: int) -> Pieces:
        """Batches of which nothing is wanted are read, and passed over."""
        first = 0
        for batch in _batches(file):
            yield from wanted_parts(batch, first, wanted)
            first += len(batch)
        return first


def _batches(file: FoundFile) -> Iterator[pa.RecordBatch]:
    # Not mapped into memory: where such a file is cut off, touching its pages ends the process.
    is_plain = file.is_local and file.compression is None
    with pa.OSFile(file.path) if is_plain else file.open() as opened:
        magic = opened.read(len(_FILE_MAGIC))
        opened.seek(0)
        if magic == _FILE_MAGIC:
            with pa.ipc.open_file(opened) as reader:
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)
        else:
            with pa.ipc.open_stream(opened) as reader:
                yield from reader
