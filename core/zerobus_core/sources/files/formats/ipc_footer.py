"""Detects that a file consists of several Arrow IPC files that were joined.

The footer of an Arrow IPC file lists the offsets of the file's messages. In a joined file, there is more than padding
between the last message in this list and the footer. For example, the output of ``cat a.arrow b.arrow`` ends with the
footer of ``b``, but the offsets in this footer now point into ``a``. Readers fail, or return rows of ``a`` in place of
the rows of ``b``. Message.fbs and File.fbs of apache/arrow define the layout.
"""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["has_bytes_between"]

_MAGIC = b"ARROW1"
_TAIL = 4 + len(_MAGIC)  # the length of the footer, and the magic
_START = 8  # the magic, padded
_CONTINUATION = 0xFFFFFFFF
_BLOCK = struct.Struct("<qi4xq")  # offset, length of the metadata, length of the body
_DICTIONARIES, _RECORD_BATCHES = 2, 3  # fields of the table Footer
# The bytes that can follow the last message: the end mark, and padding to 64 bytes before and after it.
_MOST_PADDING = 8 + 2 * 64


def has_bytes_between(opened: Any) -> bool:
    """Return whether there is more than padding between the last message and the footer.

    Returns False if the footer cannot be parsed, because pyarrow then refuses the file. Before returning, moves
    ``opened`` back to its start.
    """
    size = opened.seek(0, 2)
    try:
        opened.seek(size - _TAIL)
        (length,) = struct.unpack("<i", opened.read(4))
        footer_start = size - _TAIL - length
        opened.seek(footer_start)
        footer = opened.read(length)
        opened.seek(_START)
        end = max([_schema_end(opened.read(8)), *map(_block_end, _blocks(footer))])
    except (struct.error, ValueError, OSError, IndexError):
        return False
    finally:
        opened.seek(0)
    return bool(footer_start - end > _MOST_PADDING)


def _schema_end(prefix: bytes) -> int:
    first, second = struct.unpack("<Ii", prefix)
    # Arrow before version 0.15 wrote no mark before the length of a message.
    return int(_START + 8 + second if first == _CONTINUATION else _START + 4 + first)


def _block_end(block: tuple[int, int, int]) -> int:
    return sum(block)


def _blocks(footer: bytes) -> list[tuple[int, int, int]]:
    (table,) = struct.unpack_from("<I", footer)
    (back,) = struct.unpack_from("<i", footer, table)
    vtable = table - back
    (vtable_size,) = struct.unpack_from("<H", footer, vtable)
    blocks: list[tuple[int, int, int]] = []
    for field in (_DICTIONARIES, _RECORD_BATCHES):
        at = 4 + 2 * field
        offset = struct.unpack_from("<H", footer, vtable + at)[0] if at + 2 <= vtable_size else 0
        if offset:
            vector = table + offset + struct.unpack_from("<I", footer, table + offset)[0]
            (count,) = struct.unpack_from("<I", footer, vector)
            blocks += [_BLOCK.unpack_from(footer, vector + 4 + _BLOCK.size * index) for index in range(count)]
    return blocks
