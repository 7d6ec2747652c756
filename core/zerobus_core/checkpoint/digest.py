"""Digests of rows, which show whether the rows to skip are those that an earlier attempt delivered.

The rows are hashed as they are read, in blocks of 1,024 positions of the source. The digest of a range is the sum of
the digests of its blocks. Such digests have four properties:

1. Equal rows at equal positions give equal digests, in every process and however the rows are cut into batches.
2. The digests of two ranges that meet at a block boundary add up to the digest of the joined range.
3. A digest starts at the first block boundary in its range, and ends at a block boundary or where a batch ended. It
   leaves out the other rows of the range.
4. A digest is one number of 64 bits, however many rows it covers.

A digest detects changes, not forgery: the hash (XXH3) is fast but not cryptographic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..batch import RowContent
    from ..ranges import RowRanges

__all__ = ["BLOCK_ROWS", "DIGEST_VERSION", "DigestForm", "RowDigests", "Segment"]

BLOCK_ROWS = 1_024
DIGEST_VERSION = 1
"""Increased whenever the digest of the same content changes."""
_MASK = 2**64 - 1


class Segment(NamedTuple):
    """A range of durable rows, ``start <= row < stop``, and the digest of their content."""

    start: int
    stop: int
    digest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestForm:
    """The settings that must be equal for two digests to be comparable."""

    record_format: str
    encoding: int
    """The value of ``zerobus_core.encode.ENCODING_VERSION``, which is the version of the rules by which values become
    bytes."""
    version: int = DIGEST_VERSION

    def why_other(self, now: DigestForm) -> str | None:
        """Return why digests of this form cannot be compared with digests of the form ``now``; None if they can."""
        if self == now:
            return None
        if self.record_format != now.record_format:
            return (
                f"the checkpoint's rows were digested as {self.record_format} records, and are {now.record_format} "
                "records now"
            )
        return (
            f"the checkpoint's rows were digested by version {self.version} (encoding {self.encoding}), and this "
            f"release has version {now.version} (encoding {now.encoding})"
        )


class RowDigests:
    """Digests of the rows read so far; rows are added in order. Not thread-safe.

    Keeps one sum of digests for each position where a batch or a block ends, until ``prune`` discards the sum. If a row
    of a block was left out, no sum is kept for the later positions inside this block.
    """

    def __init__(self, *, block_rows: int = BLOCK_ROWS) -> None:
        self._block_rows = block_rows
        self._position = 0  # after the last row that was added
        self._total = 0  # the sum of the digests of all blocks before the block of this position
        self._hashes: list[xxh3_64] | None = []  # the hashes of this block; None if one of its rows was left out
        self._sums: dict[int, int] = {0: 0}  # for each position: the sum of the digests of all rows before it

    def add(self, first_row: int, rows: int, content: RowContent) -> None:
        """Add consecutive rows: ``rows`` is their number, and ``first_row`` is the position of the first one.

        If ``first_row`` does not follow the last added row, the rows between the two are treated as left out. A block
        in which a row was left out adds nothing to a digest.
        """
        if first_row != self._position:
            self._leave_out(first_row)
        start = 0
        while start < rows:
            stop = min(rows, start + self._block_rows - self._position % self._block_rows)
            self._update(content.tracks(start, stop))
            self._position += stop - start
            if self._position % self._block_rows == 0:
                self._total = self._sum_here()
                self._sums[self._position] = self._total
                self._hashes = []
            start = stop
        if self._hashes:
            self._sums[self._position] = self._sum_here()

    def segment(self, start: int, stop: int) -> Segment | None:
        """Return the part of ``start <= row < stop`` that has a known digest, as a segment; None if there is none.

        If the sum of digests at ``stop`` is known, the segment ends at ``stop``. Otherwise, the segment ends at the
        last block boundary before ``stop``.
        """
        start = -(-start // self._block_rows) * self._block_rows
        if stop not in self._sums:
            stop -= stop % self._block_rows
        if start >= stop or start not in self._sums or stop not in self._sums:
            return None
        return Segment(start, stop, (self._sums[stop] - self._sums[start]) & _MASK)

    def prune(self, durable: RowRanges) -> None:
        """Discard the sums in the middle of durable ranges, because no later segment can use these sums.

        ``durable`` must include all rows that it included in the previous call.
        """
        self._sums = {
            position: total
            for position, total in self._sums.items()
            if position == self._position
            or position not in durable
            or position - 1 not in durable
            # The digest of a range starts at the first block boundary in the range, so keep the sum there.
            or not durable.holds(position - self._block_rows, position)
        }

    def _leave_out(self, first_row: int) -> None:
        if first_row < self._position:
            raise ValueError(f"row {first_row} was added after row {self._position - 1}")
        is_new_block = first_row // self._block_rows > self._position // self._block_rows
        self._position = first_row
        self._hashes = None
        if is_new_block and first_row % self._block_rows == 0:
            self._hashes = []
            self._sums[first_row] = self._total

    def _update(self, tracks: Sequence[bytes | memoryview]) -> None:
        if self._hashes is None:
            return
        if not self._hashes:
            self._hashes = [xxh3_64() for _ in tracks]
        for track, data in zip(self._hashes, tracks, strict=True):
            track.update(data)

    def _sum_here(self) -> int:
        """Return the sum of the digests of all blocks so far; a block with a row that was left out counts as 0."""
        if not self._hashes:
            return self._total
        whole = b"".join([track.digest() for track in self._hashes])
        block, rows = divmod(self._position - 1, self._block_rows)
        return (self._total + xxh3_64_intdigest(whole + b"%d:%d" % (block, rows + 1))) & _MASK
