"""Splits files into shards of whole files; only large Parquet files are cut, between row groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from ...optional_imports import require_pyarrow
from .balance import balanced, cut, cut_above

if TYPE_CHECKING:
    from ..files.finding.found import FoundFile, FoundFiles

__all__ = ["file_shards"]


def file_shards(found: FoundFiles, shards: int) -> list[tuple[tuple[FoundFile, ...], int]]:
    """Divide the files into at most ``shards`` groups of about equal size; return each group with its size in bytes.

    Blocks while it reads the footers of large Parquet files.
    """
    limit = cut_above(sum(file.size for file in found.files), shards)
    units = [unit for file in found.files for unit in _units(file, found.format, limit)]
    groups = balanced([size for _, size in units], shards)
    return [
        (_joined([units[index][0] for index in group]), sum(units[index][1] for index in group)) for group in groups
    ]


def _units(file: FoundFile, format: str, limit: float) -> Iterator[tuple[FoundFile, int]]:
    if format != "parquet" or file.size <= limit:
        yield file, file.size
        return
    require_pyarrow(f"reading {file.shown}")
    import pyarrow.parquet as pq

    with file.open() as opened, pq.ParquetFile(opened) as parquet:
        footer = parquet.metadata
        row_groups = map(footer.row_group, range(footer.num_row_groups))
        groups = [(group.num_rows, group.total_byte_size) for group in row_groups]
    if len(groups) < 2:  # noqa: PLR2004 - nothing to cut between
        yield file, file.size
        return
    scale = file.size / max(1, sum(size for _, size in groups))  # the sizes of row groups are before compression
    starts = list(accumulate((rows for rows, _ in groups), initial=0))
    for first, stop, held in cut([size * scale for _, size in groups], limit):
        yield replace(file, part=(starts[first], starts[stop])), held


def _joined(files: list[FoundFile]) -> tuple[FoundFile, ...]:
    """Return ``files`` with neighbouring parts of the same file joined into one part."""
    joined: list[FoundFile] = []
    for file in files:
        last = joined[-1] if joined else None
        if last is not None and last.path == file.path and last.part and file.part and last.part[1] == file.part[0]:
            joined[-1] = replace(last, part=(last.part[0], file.part[1]))
        else:
            joined.append(file)
    return tuple(joined)
