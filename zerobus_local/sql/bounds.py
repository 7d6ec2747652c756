"""Limits the depth and the size of SQL: the SQL engines recurse, and a stack overflow would end the process."""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from ..errors import InvalidRequest

__all__ = ["MOST_DEPTH", "MOST_PARTS", "check_bounds"]

# Measured with deltalake 1.6 (DataFusion) and a stack of 8 MB: a chain of 800 UNIONs or joins is answered, one of 1,600
# kills the process; a chain of 6,000 operators is answered. A type can nest 100 STRUCTs, and each of them is
# two nodes deep.
MOST_DEPTH: Final = 256
# Joins and CTEs are side by side in the text and inside each other in the engine's plan.
MOST_PARTS: Final = 128
_PARTS: Final = (exp.Select, exp.Join, exp.CTE)


def check_bounds(tree: Any) -> None:
    """Raise InvalidRequest if the syntax tree is deeper than the engines can process, or has too many parts.

    Does not recurse itself, so a tree of any depth can be checked.
    """
    depth = parts = 0
    level: list[exp.Expression] = [tree]
    # Level by level, not by recursion: a chain of operators is parsed by a loop and as deep as it is long.
    while level:
        depth += 1
        parts += sum(isinstance(node, _PARTS) for node in level)
        if depth > MOST_DEPTH:
            raise InvalidRequest(
                f"the SQL is nested too deeply: more than {MOST_DEPTH} levels (each operator of a chain is one)"
            )
        if parts > MOST_PARTS:
            raise InvalidRequest(f"the query has more than {MOST_PARTS} SELECTs, JOINs and WITHs: use several queries")
        level = [child for node in level for child in node.iter_expressions()]
