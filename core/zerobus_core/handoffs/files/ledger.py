"""The set of delivered files, as sorted entries of 16 bytes. No I/O.

An entry is an 8-byte hash of the file's path, followed by an 8-byte hash of the file's version. A stored ledger
consists of 8 bytes that identify the format, the entries, and an 8-byte hash of everything before it.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Literal, TypeAlias

__all__ = ["ENTRY_BYTES", "InvalidLedgerError", "Known", "Ledger", "entries_of", "entry_of"]

ENTRY_BYTES = 16
_HASH_BYTES = 8
_MAGIC = b"ZBLEDG01"
# With this many files, a search by numpy saves more than the tenth of a second that importing numpy takes.
_MANY = 100_000

Known: TypeAlias = Literal["new", "delivered", "changed"]

_blake2b = hashlib.blake2b


class InvalidLedgerError(ValueError):
    """The bytes are not a complete ledger."""


def entry_of(path: str, version: str) -> bytes:
    """Return the 16-byte entry of a file; ``version`` must include the file's size."""
    try:
        return _blake2b(path.encode(), digest_size=8).digest() + _blake2b(version.encode(), digest_size=8).digest()
    except UnicodeEncodeError:  # a name that is not UTF-8, as local file systems allow
        return entry_of(path.encode("utf-8", "surrogatepass").hex(), version.encode("utf-8", "surrogatepass").hex())


def entries_of(paths: Sequence[str], versions: Sequence[str]) -> bytes:
    """Return the entries of many files, joined into one byte string."""
    try:
        hashes = [
            _blake2b(text.encode(), digest_size=8).digest()
            for pair in zip(paths, versions, strict=True)
            for text in pair
        ]
    except UnicodeEncodeError:
        hashes = [entry_of(path, version) for path, version in zip(paths, versions, strict=True)]
    return b"".join(hashes)


class Ledger:
    """An immutable set of delivered files."""

    def __init__(self, entries: bytes = b"") -> None:
        self._entries = entries
        self._starts: list[int] | None = None
        self._columns: tuple[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self._entries) // ENTRY_BYTES

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ledger) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(self._entries)

    @classmethod
    def from_bytes(cls, data: bytes) -> Ledger:
        """Read the result of ``to_bytes``; raise InvalidLedgerError if ``data`` is not a complete ledger."""
        body = data[:-_HASH_BYTES]
        if body[: len(_MAGIC)] != _MAGIC:
            raise InvalidLedgerError("it is not a ledger of files")
        if (len(body) - len(_MAGIC)) % ENTRY_BYTES or _checksum(body) != data[-_HASH_BYTES:]:
            raise InvalidLedgerError("it is damaged: its checksum does not match its content")
        return cls(body[len(_MAGIC) :])

    def to_bytes(self) -> bytes:
        """Return the ledger as bytes that ``from_bytes`` can read."""
        body = _MAGIC + self._entries
        return body + _checksum(body)

    def knows(self, entry: bytes) -> Known:
        """Return ``delivered`` if the ledger contains this version of the file.

        Otherwise, return ``changed`` if the ledger contains another version of the file, and ``new`` if it does not
        contain the file. For each file, the ledger contains only the version that was delivered last.
        """
        starts = self._starts
        if starts is None:
            starts = self._starts = self._index()
        # Most files of a folder were delivered, so the whole entry is searched for before the path. Only the entries
        # with the same first two bytes are searched: even for millions of files, these are some hundred bytes.
        bucket = entry[0] << 8 | entry[1]
        start, stop = starts[bucket], starts[bucket + 1]
        at = self._entries.find(entry, start, stop)
        while at >= 0:
            if not at % ENTRY_BYTES:
                return "delivered"
            at = self._entries.find(entry, at + 1, stop)
        path = entry[:_HASH_BYTES]
        at = self._entries.find(path, start, stop)
        while at >= 0:
            if not at % ENTRY_BYTES:
                return "changed"
            at = self._entries.find(path, at + 1, stop)
        return "new"

    def not_delivered(self, entries: bytes) -> Iterator[tuple[int, Known]]:
        """For each entry that is not in the ledger, yield its index and either ``new`` or ``changed``; see ``knows``.

        ``entries`` is one byte string with the entries of many files.
        """
        numpy = _numpy() if len(self) >= _MANY else None
        if numpy is not None:
            yield from self._not_delivered(entries, numpy)
            return
        for number in range(len(entries) // ENTRY_BYTES):
            known = self.knows(entries[ENTRY_BYTES * number : ENTRY_BYTES * (number + 1)])
            if known != "delivered":
                yield number, known

    def _not_delivered(self, entries: bytes, numpy: ModuleType) -> Iterator[tuple[int, Known]]:
        if self._columns is None:
            mine = numpy.frombuffer(self._entries, ">u8").reshape(-1, 2)
            self._columns = mine[:, 0].astype(numpy.uint64), mine[:, 1]
        paths, versions = self._columns
        asked = numpy.frombuffer(entries, ">u8").reshape(-1, 2)
        at = numpy.minimum(numpy.searchsorted(paths, asked[:, 0].astype(numpy.uint64)), len(paths) - 1)
        is_known = paths[at] == asked[:, 0]
        for number in numpy.flatnonzero(~(is_known & (versions[at] == asked[:, 1]))).tolist():
            yield number, "changed" if is_known[number] else "new"

    def with_files(self, entries: Iterable[bytes]) -> Ledger:
        """Return a ledger that also contains these files; for a path already in the ledger, replace the version."""
        pieces: list[bytes] = []
        copied = 0
        mine = self._entries
        for entry in sorted({entry[:_HASH_BYTES]: entry for entry in entries}.values()):
            at = self._place_of(entry[:_HASH_BYTES])
            pieces += (mine[copied:at], entry)
            copied = at + ENTRY_BYTES if mine[at : at + _HASH_BYTES] == entry[:_HASH_BYTES] else at
        pieces.append(mine[copied:])
        return Ledger(b"".join(pieces))

    def without_files(self, entries: Iterable[bytes]) -> Ledger:
        """Return a ledger without the files of ``entries``; the versions in ``entries`` do not matter."""
        pieces: list[bytes] = []
        copied = 0
        mine = self._entries
        for path in sorted({entry[:_HASH_BYTES] for entry in entries}):
            at = self._place_of(path)
            if mine[at : at + _HASH_BYTES] == path:
                pieces.append(mine[copied:at])
                copied = at + ENTRY_BYTES
        pieces.append(mine[copied:])
        return Ledger(b"".join(pieces))

    def _place_of(self, path: bytes) -> int:
        """Return the byte offset of a path's entry.

        If the path does not have an entry, return the offset at which to insert one.
        """
        mine = self._entries
        return ENTRY_BYTES * bisect_left(
            range(len(self)), path, key=lambda number: mine[number * ENTRY_BYTES : number * ENTRY_BYTES + _HASH_BYTES]
        )

    def _index(self) -> list[int]:
        """Return, for each two-byte prefix, the byte offset at which the entries with this prefix begin.

        The last element is the offset of the end of all entries.
        """
        firsts = bytearray(2 * len(self))
        little = sys.byteorder == "little"
        firsts[little::2] = self._entries[0::ENTRY_BYTES]
        firsts[not little :: 2] = self._entries[1::ENTRY_BYTES]
        numbers = array("H", bytes(firsts))
        return [*(ENTRY_BYTES * bisect_left(numbers, bucket) for bucket in range(0x1_0000)), len(self._entries)]


def _numpy() -> ModuleType | None:
    try:
        import numpy
    except ImportError:  # only some extras install numpy
        return None
    return numpy


def _checksum(body: bytes) -> bytes:
    return _blake2b(body, digest_size=_HASH_BYTES).digest()
