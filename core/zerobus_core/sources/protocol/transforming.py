"""A source whose rows go through the user's function, which can change or drop them.

Only rows that the function keeps have positions. Checkpoints, digests and ``rows_skipped`` ignore the dropped rows.
So when a delivery resumes, all rows are read and transformed again, and the rows at durable positions are
compared with the rows that were delivered.
"""

from __future__ import annotations

import importlib
import os
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...batch import Chunk, Origin
from ...errors import ConfigurationError, ZerobusIngestError
from ...process.signals import is_of_signal
from ...ranges import RowRanges
from ...records import UnreadableRecord, UnreadableRow, short_repr
from .source import ChangedSource, Shaping, Source, combined_fingerprint

if TYPE_CHECKING:
    from ...options import IngestOptions

__all__ = ["TransformedSource", "rows_of"]

# A run is a series of kept rows with no dropped row between them. The rows' positions in the other source are
# remembered for the last chunk and for about this many runs, which take a few megabytes.
_MOST_RUNS = 50_000


class TransformedSource(ChangedSource):
    """A source that yields the rows that the user's function returns for the rows of another source.

    Chunks hold lists of rows; the function gets a row of Arrow data as a dict. See the docstring of the module.
    """

    def __init__(self, source: Source, options: IngestOptions) -> None:
        super().__init__(source)
        self._transform = _function_of(options.transform)
        self._shape = {
            "transform": options.transform if isinstance(options.transform, str) else True,
            "transform_version": options.transform_version,
        }
        self.is_arrow = False
        self.is_in_memory = False  # the function can take any time
        self._filtered = 0
        # For each run of kept rows: the position of its first row, and how many rows were dropped before that row.
        self._runs: deque[tuple[int, int]] = deque()

    def __repr__(self) -> str:
        return f"TransformedSource({self._source!r}, rows_filtered={self._filtered})"

    @property
    def is_content_known(self) -> bool:
        """Always False: durable rows are read again and compared, because the function can return different rows."""
        return False

    @property
    def shaping(self) -> Shaping:
        """See ``Source``."""
        return Shaping(rows_filtered=self._filtered)

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the rows that the function returns, except for the rows at positions in ``skip``.

        The function is called for every row that is not an UnreadableRecord, even if the position of the result is in
        ``skip``. An UnreadableRecord is kept unchanged.
        """
        self._filtered = 0
        self._runs.clear()
        position = 0
        for chunk in self._source.chunks(RowRanges()):
            kept = self._kept(chunk, position)
            start, position = position, position + len(kept)
            if not skip:
                yield Chunk(start, kept)
                continue
            for first, stop in skip.without(start, position):
                yield Chunk(first, kept[first - start : stop - start])
            yield Chunk(position, [])

    def _kept(self, chunk: Chunk, position: int) -> list[Any]:
        kept: list[Any] = []
        while len(self._runs) > _MOST_RUNS:
            self._runs.popleft()
        for row in rows_of(chunk):
            out = row if isinstance(row, UnreadableRecord) else self._transformed(row)
            if out is None:
                self._filtered += 1
                continue
            if not self._runs or self._runs[-1][1] != self._filtered:
                self._runs.append((position + len(kept), self._filtered))
            kept.append(out)
        return kept

    def _transformed(self, row: Any) -> Any:
        try:
            return self._transform(row)
        except ZerobusIngestError:
            raise
        except Exception as error:  # the user's code can raise anything; the error concerns only this row
            if is_of_signal(error):
                raise
            return UnreadableRow(short_repr(row), f"transform failed: {type(error).__name__}: {error}")

    def locate(self, row: int) -> str:
        """Return a string that says where in the underlying source the row is; dead letters contain it.

        If the row's position in the underlying source is no longer remembered, the string contains the row's number
        among the rows that the function kept.
        """
        before = self._given(row)
        return f"row {row} of the rows that transform kept" if before is None else self._source.locate(before)

    def place(self, row: int) -> str:
        """See ``Source``."""
        before = self._given(row)
        return "" if before is None else self._source.place(before)

    def origins(self, first_row: int, stop_row: int) -> Iterator[Origin]:
        """See ``Source``."""
        runs = list(self._runs)
        index = bisect_right(runs, first_row, key=lambda run: run[0]) - 1
        while first_row < stop_row:
            before = runs[index][1]
            end = min(stop_row, runs[index + 1][0]) if index + 1 < len(runs) else stop_row
            yield from self._source.origins(first_row + before, end + before)
            first_row, index = end, index + 1

    def _given(self, row: int) -> int | None:
        """Return a kept row's position in the underlying source; None if that position is no longer remembered."""
        runs = list(self._runs)
        index = bisect_right(runs, row, key=lambda run: run[0]) - 1
        return None if index < 0 else row + runs[index][1]

    def _find_fingerprint(self) -> str | None:
        return combined_fingerprint(self._source.fingerprint, self._shape)

    def _count_rows(self) -> int | None:
        return None  # how many rows the function keeps is not known in advance


def _function_of(given: Any) -> Callable[[Any], Any]:
    """Return ``given`` if it is a function; if it is a string ``module:name``, return the function of that name.

    Modules in the current directory can be imported too. Raises ConfigurationError if the module or the name in it is
    not found, or if what was found cannot be called.
    """
    if callable(given):
        return given  # type: ignore[no-any-return]
    module, _, name = str(given).partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"options.transform {given!r} cannot be imported: {error}; write package.module:function"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"options.transform {given!r} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def rows_of(chunk: Chunk) -> Iterator[Any]:
    """Yield the rows of a chunk. A row of Arrow data becomes a dict, or an UnreadableRow if that is impossible."""
    if isinstance(chunk.rows, list):
        yield from chunk.rows
        return
    from ...encode.arrow.values import value_reader  # pyarrow is imported for Arrow only

    names, readers = chunk.rows.schema.names, list(map(value_reader, chunk.rows.columns))
    for index in range(len(chunk.rows)):
        try:
            yield {name: read(index) for name, read in zip(names, readers, strict=True)}
        except (ValueError, OverflowError) as error:  # a time or a text that Python has no value for
            yield UnreadableRow(f"row {index}", f"cannot be read: {error}")
