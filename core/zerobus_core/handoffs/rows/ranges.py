"""Parts of a slice of rows: ranges of the column's values, as the database orders them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ...sources.sql import watermark
from ...sources.sql.statements import Condition
from ..parts import Parts, parts_of

if TYPE_CHECKING:
    from ...sources.sql.database import Database
    from ..source import Bounds

__all__ = ["conditions_of_part", "parts_of_range"]

# Characters of an end as JSON: the state keeps all of them.
_LONGEST_END = 300


def parts_of_range(database: Database, column: str, conditions: Sequence[Condition], n: int) -> Parts:
    """At most ``n`` ranges of equally many rows; rows of one value are in one range.  Blocks while the rows are sorted.

    ``conditions`` are those of the slice.
    """
    rows = database.count(conditions)
    ends: list[dict[str, Any] | None] = [
        _plain(value, column) for value in database.quantiles(column, rows, n, conditions)
    ]
    size = {"rows": rows // (len(ends) + 1)}
    return Parts(sizes=[size] * (len(ends) + 1), ends=[*ends, None])


def conditions_of_part(column: str, bounds: Bounds, index: int) -> list[Condition]:
    """What the rows of one part have in common, besides being rows of the slice."""
    parts = parts_of(bounds)
    assert parts is not None
    ends = [(">", parts.ends[index - 1] if index else None), ("<=", parts.ends[index])]
    return [Condition(f"{column} {sign} {{}}", (watermark.from_plain(dict(end)),)) for sign, end in ends if end]


def _plain(value: Any, column: str) -> dict[str, Any]:
    plain = watermark.to_plain(value, column)
    if len(json.dumps(plain)) > _LONGEST_END:
        raise ConfigurationError(
            f"{column} has values of more than {_LONGEST_END} characters, which the state would keep for each shard; "
            "deliver the slice by hand_over, in one task"
        )
    return plain
