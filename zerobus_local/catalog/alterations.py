"""Plans ALTER TABLE and COMMENT ON TABLE: builds the new catalog entry and a function that makes the Delta commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from ..errors import AlreadyExists, InvalidRequest, NotFound
from ..model.objects import Table
from ..sql.statements import AddCheck, AddColumns, Comment, DropCheck, DropColumns
from . import delta_tables

__all__ = ["AlterTable", "planned"]

AlterTable: TypeAlias = AddColumns | DropColumns | AddCheck | DropCheck | Comment
_Plan: TypeAlias = tuple[Table, Callable[[], None]]


def planned(table: Table, statement: AlterTable) -> _Plan:
    """Return the catalog entry that the table has after ``statement``, and a function that makes the Delta commit.

    Nothing is changed until that function is called. ``planned`` raises a LocalZerobusError if the change is
    impossible. The returned function raises InvalidRequest if a new constraint is invalid, or if a row violates it.
    """
    return _PLANS[type(statement)](table, statement)


def _add_columns(table: Table, statement: AddColumns) -> _Plan:
    there = {column.name.lower() for column in table.columns}
    for column in statement.columns:
        if column.name.lower() in there:
            raise AlreadyExists(f"column {column.name} of {table.name} already exists")
    added = tuple(
        replace(column, position=table.next_position + index) for index, column in enumerate(statement.columns)
    )
    altered = replace(table, columns=table.columns + added, next_position=table.next_position + len(added))
    return altered, partial(delta_tables.add_columns, table.path, added)


def _drop_columns(table: Table, statement: DropColumns) -> _Plan:
    from ..sql.script import columns_in  # slow to import, and not needed to start a server

    dropped = {name.lower() for name in statement.columns}
    there = {column.name.lower(): column.name for column in table.columns}
    if missing := dropped - set(there):
        raise NotFound(f"{table.name} has no column {', '.join(sorted(missing))}; it has {', '.join(there.values())}")
    if used := dropped & {name.lower() for name in table.partition_by}:
        raise InvalidRequest(
            f"{table.name} is partitioned by {', '.join(sorted(used))}: a partition column cannot be dropped"
        )
    for check in table.checks:
        if used := dropped & columns_in(check.sql):
            raise InvalidRequest(
                f"constraint {check.name} of {table.name} uses {', '.join(sorted(used))}: drop the constraint first"
            )
    altered = replace(table, columns=tuple(c for c in table.columns if c.name.lower() not in dropped))
    if not altered.columns:
        raise InvalidRequest(f"{table.name} must keep at least one column")
    return altered, partial(delta_tables.drop_columns, altered)


def _add_check(table: Table, statement: AddCheck) -> _Plan:
    if statement.check.name in {check.name for check in table.checks}:
        raise AlreadyExists(f"constraint {statement.check.name} of {table.name} already exists")
    altered = replace(table, checks=(*table.checks, statement.check))
    return altered, partial(delta_tables.add_check, table.path, statement.check)


def _drop_check(table: Table, statement: DropCheck) -> _Plan:
    name = statement.check.lower()
    kept = tuple(check for check in table.checks if check.name != name)
    if len(kept) == len(table.checks) and not statement.if_exists:
        raise NotFound(f"{table.name} has no constraint {name}")
    return replace(table, checks=kept), partial(delta_tables.drop_check, table.path, name)


def _set_comment(table: Table, statement: Comment) -> _Plan:
    return replace(table, comment=statement.comment), partial(delta_tables.set_comment, table.path, statement.comment)


_PLANS: dict[type, Callable[[Table, Any], _Plan]] = {
    AddColumns: _add_columns,
    DropColumns: _drop_columns,
    AddCheck: _add_check,
    DropCheck: _drop_check,
    Comment: _set_comment,
}
