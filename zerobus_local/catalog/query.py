"""Runs SELECT on the local tables, with the query engine of the deltalake package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from ..errors import InvalidRequest

if TYPE_CHECKING:
    from ..model.objects import Table

__all__ = ["run_query"]


def run_query(sql: str, tables: Sequence[Table]) -> pa.Table:
    """Run the query ``sql``, in which ``tables[n]`` is named ``table_n``; raise InvalidRequest if the query fails."""
    builder = QueryBuilder()
    for number, table in enumerate(tables):
        builder.register(f"table_{number}", DeltaTable(table.path))
    try:
        return pa.table(builder.execute(sql).read_all())
    except Exception as error:  # the engine raises plain Exception for a query that it cannot plan
        # The cause comes last, after the names of the engine's steps in which it occurred.
        cause = str(error).rpartition("caused by\n")[2].removeprefix("Arrow error: ")
        raise InvalidRequest(f"the query failed: {cause}") from error
