"""Changes the tags of columns. Only the catalog stores tags; the Delta table does not change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import NotFound
from ..model.objects import RESCUE_TAG, Table

if TYPE_CHECKING:
    from ..sql.statements import SetTags

__all__ = ["tagged"]

_NO_RESCUE = "column {}: this tag has no effect, because only a nullable VARIANT column can be the rescue column"


def tagged(table: Table, statement: SetTags) -> tuple[Table, tuple[str, ...]]:
    """Apply ``statement``, which changes a column's tags. Return the changed copy of the table, and notes for the user.

    Raises NotFound if the table does not have the column.
    """
    found = next((column for column in table.columns if column.name.lower() == statement.column.lower()), None)
    if found is None:
        names = ", ".join(column.name for column in table.columns)
        raise NotFound(f"{table.name} has no column {statement.column}; it has {names}")
    tags, given = dict(found.tags), dict(statement.tags)
    if statement.unset:
        tags = {name: value for name, value in tags.items() if name not in given}
    else:
        tags |= given
    changed = replace(found, tags=tags)
    columns = tuple(changed if column is found else column for column in table.columns)
    is_in_vain = RESCUE_TAG in given and not statement.unset and not changed.is_rescue
    return replace(table, columns=columns), (_NO_RESCUE.format(found.name),) if is_in_vain else ()
