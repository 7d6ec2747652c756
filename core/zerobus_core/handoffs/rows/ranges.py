"""Parts of a slice of rows: ranges of the column's values, in the database's order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ...sources.sql import watermark
from ...sources.sql.statements import VALUE, Condition
from ..parts import Parts, parts_of

if TYPE_CHECKING:
    from ...sources.sql.database import Database
    from ..source import Bounds

__all__ = ["conditions_of_part", "parts_of_range"]

# The most characters that the end of a part can have as JSON; the state keeps the ends of all parts.
_LONGEST_END = 300


def parts_of_range(database: Database, column: str, conditions: Sequence[Condition], n: int) -> Parts:
    """Divide the rows that meet ``conditions`` into at most ``n`` ranges, each with about the same number of rows.

    Rows with equal values are in the same range. Blocks while the database sorts the rows.
    """
    rows = database.count(conditions)
    ends: list[dict[str, Any] | None] = [
        _plain(value, column) for value in database.quantiles(column, rows, n, conditions)
    ]
    size = {"rows": rows // (len(ends) + 1)}
    return Parts(sizes=[size] * (len(ends) + 1), ends=[*ends, None])


def conditions_of_part(column: str, bounds: Bounds, index: int) -> list[Condition]:
    """Return the conditions that limit the rows of a slice to one of its parts."""
    parts = parts_of(bounds)
    assert parts is not None
    ends = [(">", parts.ends[index - 1] if index else None), ("<=", parts.ends[index])]
    return [Condition(f"{column} {sign} {VALUE}", (watermark.from_plain(dict(end)),)) for sign, end in ends if end]


def _plain(value: Any, column: str) -> dict[str, Any]:
    plain = watermark.to_plain(value, column)
    if len(json.dumps(plain)) > _LONGEST_END:
        raise ConfigurationError(
            f"{column} has values of more than {_LONGEST_END} characters, and the state cannot store such long values "
            "for the shards; deliver the slice with hand_over in one task"
        )
    return plain
