"""Rows of a query as the database driver returns them: tuples, and one list of names for all of the tuples."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, overload

__all__ = ["TupleRows", "in_one_list"]


def in_one_list(parts: Iterable[Collection[Any]]) -> list[Any]:
    """Return the values of all parts in one list, part after part."""
    values: list[Any] = []
    for part in parts:  # for parts of 8 values, this takes three quarters of the time of itertools.chain
        values.extend(part)
    return values


class TupleRows(Sequence[Any]):
    """Consecutive rows that are kept as tuples; reading a single row returns a new dict.

    Every tuple has a value for each of ``names``. Rows are not kept as dicts, because the columnar encoder does not
    need dicts, and because building a dict for each row would take a third as long as reading the query.
    """

    __slots__ = ("names", "tuples")

    def __init__(self, names: Sequence[str], tuples: list[tuple[Any, ...]]) -> None:
        self.names = tuple(names)
        self.tuples = tuples

    def __repr__(self) -> str:
        return f"TupleRows({', '.join(self.names)}: {len(self.tuples)} rows)"

    def __len__(self) -> int:
        return len(self.tuples)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> TupleRows: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | TupleRows:
        if isinstance(index, slice):
            return TupleRows(self.names, self.tuples[index])
        return dict(zip(self.names, self.tuples[index], strict=True))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # This runs in C; a Python loop over the rows takes twice as long.
        return map(dict, map(zip, repeat(self.names), self.tuples))

    def values(self) -> list[Any]:
        """Return the values of all rows in one list, row after row."""
        return in_one_list(self.tuples)

    @staticmethod
    def joined(parts: Sequence[Sequence[Any]]) -> list[Any] | TupleRows:
        """Return the rows of all parts: as TupleRows if all parts are TupleRows with the same names, else as a list."""
        tuples: list[tuple[Any, ...]] = []
        names = parts[0].names if parts and isinstance(parts[0], TupleRows) else None
        for part in parts:
            if not isinstance(part, TupleRows) or part.names != names:
                return [row for each in parts for row in each]
            tuples += part.tuples
        return [] if names is None else TupleRows(names, tuples)
