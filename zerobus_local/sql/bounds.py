"""Limits the depth and the size of SQL: the SQL engines recurse, and a stack overflow would end the process."""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from ..errors import InvalidRequest

__all__ = ["MOST_DEPTH", "MOST_PARTS", "check_bounds"]

# Measured with deltalake 1.6 (DataFusion) and a stack of 8 MB: queries with 800 UNIONs or joins in a chain work, and so
# do 6,000 operators; 1,600 UNIONs or joins kill the process. The depth has to allow for a type of 100 nested STRUCTs,
# each of which adds two levels to the tree.
MOST_DEPTH: Final = 256
# Joins and CTEs are side by side in the syntax tree, so MOST_DEPTH does not limit them; in the engine's plan they nest.
MOST_PARTS: Final = 128
_PARTS: Final = (exp.Select, exp.Join, exp.CTE)


def check_bounds(tree: Any) -> None:
    """Raise InvalidRequest if the syntax tree has too many levels, or too many SELECTs, JOINs and WITHs.

    This function does not recurse, so it can check a tree of any depth.
    """
    depth = parts = 0
    level: list[exp.Expression] = [tree]
    # A loop, not recursion: sqlglot can parse a chain of any number of operators, and each operator is one level.
    while level:
        depth += 1
        parts += sum(isinstance(node, _PARTS) for node in level)
        if depth > MOST_DEPTH:
            raise InvalidRequest(
                f"the SQL is nested too deeply: more than {MOST_DEPTH} levels (each operator in a chain counts as one)"
            )
        if parts > MOST_PARTS:
            raise InvalidRequest(f"the query has more than {MOST_PARTS} SELECTs, JOINs and WITHs: use several queries")
        level = [child for node in level for child in node.iter_expressions()]
