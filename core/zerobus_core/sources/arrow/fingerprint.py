"""Computes fingerprints of Arrow data. Two sources with equal fingerprints have the same rows in the same order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ..protocol.chunking import without_dictionaries

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["content_fingerprint"]

# Hashing in blocks of this many rows makes the fingerprint independent of how the table is cut into chunks.
_BLOCK_ROWS = 65_536


class _HashingFile:
    """A file object that hashes the data that are written to it, and does not store them."""

    closed = False

    def __init__(self) -> None:
        # Processors have instructions for SHA-256, which make it twice as fast as BLAKE2.
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def content_fingerprint(table: pa.Table) -> str | None:
    """Return a hash of the schema, the length and all values of ``table``.

    Reads the whole table once, at about 1 GB/s. Returns None if Arrow cannot join chunks that have different
    dictionaries inside lists or structs.
    """
    import pyarrow as pa

    file = _HashingFile()
    # The IPC writer cuts buffers to the slice, so data outside the slice do not change the hash.
    schema = without_dictionaries(table.slice(0, 0)).schema.remove_metadata()
    try:
        with pa.ipc.new_stream(file, schema) as stream:
            for first in range(0, table.num_rows, _BLOCK_ROWS):
                block = without_dictionaries(table.slice(first, _BLOCK_ROWS))
                for batch in block.combine_chunks().to_batches():
                    stream.write_batch(batch.replace_schema_metadata(None))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return f"arrow:{table.num_rows}:{file.hash.hexdigest()[:32]}"
