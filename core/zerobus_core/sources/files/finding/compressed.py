"""Reads compressed files. Damage raises an error if the compression format can detect it."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ....errors import ConfigurationError
from ....optional_imports import require_pyarrow
from ....storage.uris import shown_uri

if TYPE_CHECKING:
    from bz2 import BZ2Decompressor
    from lzma import LZMADecompressor

__all__ = ["open_compressed"]

_BLOCK = 64 * 1024
_BUFFER = 256 * 1024


def open_compressed(fs: Any, path: str, compression: str) -> Any:
    """Open a gzip, bz2, xz or zstd file and return its content as a binary file object.

    Reading raises EOFError if the file has no bytes. (Even empty content has some bytes after compression.) If the
    compressed data are truncated, reading raises EOFError, or OSError for zstd. Opening the file raises
    ConfigurationError if the library for the compression is missing.
    """
    opened = _NonEmptyFile(fs.open(path, "rb"))
    stream: Any
    if compression == "gzip":
        return _GzipFile(opened)
    if compression == "zstd":
        pa = require_pyarrow(f"reading {shown_uri(path)}")
        stream = pa.CompressedInputStream(pa.PythonFile(opened, mode="r"), "zstd")
    else:
        stream = _StreamsReader(opened, _decompressor(path, compression))
    return io.BufferedReader(stream, _BUFFER)


class _NonEmptyFile(io.RawIOBase):
    """A compressed file whose ``read`` raises EOFError if the file has no bytes.

    Without this class, the readers of gzip and zstd would treat a file without bytes as a compressed empty file.
    """

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self._is_begun = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._opened.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._opened.seek(offset, whence))

    def tell(self) -> int:
        return int(self._opened.tell())

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._opened.read(size)
        if not data and not self._is_begun and size:
            raise EOFError(
                "the file is empty, so it is not a compressed file: even empty content has some bytes after compression"
            )
        self._is_begun = True
        return data

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()


class _GzipFile(gzip.GzipFile):
    """A GzipFile whose ``close`` also closes the compressed file."""

    def __init__(self, opened: io.RawIOBase) -> None:
        super().__init__(fileobj=opened, mode="rb")
        self._opened = opened

    def close(self) -> None:
        super().close()
        self._opened.close()


def _decompressor(path: str, compression: str) -> Callable[[], BZ2Decompressor | LZMADecompressor]:
    try:
        if compression == "bz2":
            from bz2 import BZ2Decompressor

            return BZ2Decompressor
        from lzma import LZMADecompressor
    except ImportError as error:  # Python can be built without bz2 and lzma
        raise ConfigurationError(f"cannot read {shown_uri(path)}: {error}") from error
    return LZMADecompressor


class _StreamsReader(io.RawIOBase):
    """Reads a file that can consist of several compressed streams. pbzip2 and pxz, for example, write such files.

    BZ2File and LZMAFile would treat the start of a damaged second stream as the end of the file. Zero bytes between and
    after the streams are padding, and are skipped.
    """

    def __init__(self, opened: Any, new: Callable[[], BZ2Decompressor | LZMADecompressor]) -> None:
        self._opened = opened
        self._new = new
        self._decompressor = new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()

    def _next(self, size: int) -> bytes:
        data = b""
        while not data:
            if self._decompressor.eof:
                block = self._after_padding(self._decompressor.unused_data)
                if not block:
                    break
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                block = self._opened.read(_BLOCK)
                if not block:
                    raise EOFError("the compressed file is truncated")
            else:
                block = b""
            data = self._decompressor.decompress(block, size)
        return data

    def _after_padding(self, block: bytes) -> bytes:
        rest = block.lstrip(b"\0")
        while not rest and (block := self._opened.read(_BLOCK)):
            rest = block.lstrip(b"\0")
        return rest
