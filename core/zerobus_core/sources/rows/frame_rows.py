"""Recognises pandas frames whose objects Arrow would change, and reads their rows as dicts.

Arrow infers one type for a column of objects, and can change the values to fit it: dicts get each other's keys, dates
become datetimes, ``True`` among numbers becomes 1. Only objects of a single plain type are sure to stay unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, overload
from zoneinfo import ZoneInfo

from .content import ContentHash
from .iterables import SequenceSource, content_with_version

if TYPE_CHECKING:
    from ...options import IngestOptions

__all__ = ["FrameRows", "FrameSource", "has_objects", "is_changed_by_arrow"]

_HASHED_ROWS = 10_000
_INT64 = (-(2**63), 2**63 - 1)


class FrameRows(Sequence[dict[str, Any]]):
    """The rows of a pandas frame as dicts, each built when it is used; a cell with NaN, NaT or NA becomes None."""

    def __init__(self, frame: Any) -> None:
        self._count = len(frame)
        self._columns = list(frame_columns(frame))
        self._names = [name for name, _ in self._columns]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            cells = [_cells(column, index) for _, column in self._columns]
            return [dict(zip(self._names, row, strict=True)) for row in zip(*cells, strict=True)]
        at = range(self._count)[index]
        return self[at : at + 1][0]

    def fingerprint(self) -> str | None:
        """Return a hash of the columns' names, types and values; None if a value's content cannot be determined."""
        content = ContentHash()
        content.add([(name, str(column.dtype)) for name, column in self._columns])
        try:
            for start in range(0, self._count, _HASHED_ROWS):
                for _, column in self._columns:
                    content.add(_cells(column, slice(start, start + _HASHED_ROWS)))
        except TypeError:
            return None
        return f"frame:{self._count}:{content.hexdigest()}"


class FrameSource(SequenceSource):
    """A pandas frame in memory, read as rows and identified by its content."""

    def __init__(self, rows: FrameRows, options: IngestOptions) -> None:
        super().__init__(rows, options)
        self._frame = rows

    def _find_fingerprint(self) -> str | None:
        return content_with_version(self._frame.fingerprint(), self._options)


def frame_columns(frame: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the values of each column of a pandas frame, then of each named level of its index."""
    for at, name in enumerate(frame.columns):
        yield str(name), frame.iloc[:, at]
    for at, name in enumerate(frame.index.names):
        if name is not None:
            yield str(name), frame.index.get_level_values(at)


def has_objects(frame: Any) -> bool:
    """Return whether any column of a pandas frame holds Python objects, whose types Arrow has to infer."""
    return any(column.dtype == object for _, column in frame_columns(frame))


def is_changed_by_arrow(frame: Any) -> bool:
    """Return whether Arrow might change values of a pandas frame.

    The result is True if any column of objects has values of one of these kinds. Missing values are ignored.

    * values of several types
    * values of a type that is not plain
    * values that Arrow may not represent exactly, such as ints of more than 64 bits or datetimes in several time zones
    """
    return any(column.dtype == object and not _is_plain(column) for _, column in frame_columns(frame))


def _is_plain(column: Any) -> bool:
    values = column.to_numpy()
    kinds = {kind for kind in set(map(type, values)) if kind is not type(None) and not _is_missing_kind(kind)}
    if float in kinds and len(kinds) > 1 and all(value != value for value in values if type(value) is float):  # noqa: PLR0124
        kinds.remove(float)  # the only floats are NaN, which pandas uses for a missing value
    if len(kinds) != 1:
        return not kinds
    kind = kinds.pop()
    present: Iterator[Any] = (value for value in values if type(value) is kind)
    if kind is int:
        whole = list(present)
        return bool(_INT64[0] <= min(whole) and max(whole) <= _INT64[1])
    if kind is Decimal:
        return all(value.is_finite() for value in present)
    if kind is datetime:
        zones = {(value.tzinfo, value.fold) for value in present}
        return len(zones) == 1 and all(_is_plain_zone(zone) and not fold for zone, fold in zones)
    return kind in {str, bytes, bool, float, date}


def _is_plain_zone(zone: Any) -> bool:
    return zone is None or type(zone) in {timezone, ZoneInfo}


def _is_missing_kind(kind: type) -> bool:
    return kind.__name__ in {"NaTType", "NAType"} and kind.__module__.startswith("pandas.")


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value) or _is_missing_kind(type(value))  # noqa: PLR0124


def _cells(column: Any, rows: slice) -> list[Any]:
    part = column[rows] if not hasattr(column, "iloc") else column.iloc[rows]
    if part.dtype == object:
        return [None if _is_missing(value) else value for value in part.to_numpy()]
    return [None if is_na else value for value, is_na in zip(part.tolist(), part.isna(), strict=True)]
