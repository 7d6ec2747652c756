"""One class per SQL statement that the catalog supports; ``script.parse`` creates objects of these classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..model.names import TableName
    from ..model.objects import Check, Column

__all__ = [
    "AddCheck",
    "AddColumns",
    "Comment",
    "CreateCatalog",
    "CreateSchema",
    "CreateTable",
    "Delete",
    "Describe",
    "DropCatalog",
    "DropCheck",
    "DropColumns",
    "DropSchema",
    "DropTable",
    "GrantChange",
    "Insert",
    "Query",
    "SetTags",
    "ShowTables",
    "Statement",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCatalog:
    """CREATE CATALOG [IF NOT EXISTS] name [COMMENT '…']."""

    name: str
    if_not_exists: bool = False
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSchema:
    """CREATE SCHEMA [IF NOT EXISTS] catalog.schema [COMMENT '…']."""

    catalog: str
    schema: str
    if_not_exists: bool = False
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTable:
    """CREATE [OR REPLACE] TABLE [IF NOT EXISTS] name (columns and constraints) [other clauses].

    The columns have the positions 0, 1, and so on.
    """

    name: TableName
    columns: tuple[Column, ...]
    checks: tuple[Check, ...] = ()
    partition_by: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    comment: str | None = None
    if_not_exists: bool = False
    or_replace: bool = False
    notes: tuple[str, ...] = ()
    """Notes on clauses that have no effect here, or a different effect than on Databricks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddColumns:
    """ALTER TABLE … ADD COLUMN. The columns get their final ``position`` when the statement runs."""

    name: TableName
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DropColumns:
    """ALTER TABLE … DROP COLUMN."""

    name: TableName
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheck:
    """ALTER TABLE … ADD CONSTRAINT name CHECK (condition)."""

    name: TableName
    check: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class DropCheck:
    """ALTER TABLE … DROP CONSTRAINT [IF EXISTS] name."""

    name: TableName
    check: str
    if_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """COMMENT ON TABLE … IS '…'."""

    name: TableName
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTags:
    """ALTER TABLE … ALTER COLUMN column SET TAGS ('name' = 'value', …), or UNSET TAGS ('name', …)."""

    name: TableName
    column: str
    tags: tuple[tuple[str, str], ...]
    unset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DropTable:
    """DROP TABLE [IF EXISTS] name. The table's rows are deleted."""

    name: TableName
    if_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSchema:
    """DROP SCHEMA [IF EXISTS] … [CASCADE]."""

    catalog: str
    schema: str
    if_exists: bool = False
    cascade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DropCatalog:
    """DROP CATALOG [IF EXISTS] … [CASCADE]."""

    name: str
    if_exists: bool = False
    cascade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantChange:
    """GRANT privileges ON kind name TO principal, or REVOKE privileges ON kind name FROM principal.

    The statement is REVOKE if ``revoke`` is true.
    """

    privileges: tuple[str, ...]
    kind: str
    full_name: str
    principal: str
    revoke: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A SELECT, or the VALUES of an INSERT.

    ``sql`` is SQL for the query engine, in which the table ``tables[n]`` has the name ``table_n``.
    """

    sql: str
    tables: tuple[TableName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowTables:
    """SHOW TABLES [IN catalog.schema]."""

    schema: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """DESCRIBE [TABLE] name."""

    name: TableName


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """INSERT INTO name [(columns)], with VALUES or SELECT. If ``columns`` is empty, the rows fill all columns."""

    name: TableName
    columns: tuple[str, ...]
    rows: Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """DELETE FROM name [WHERE condition]. If ``condition`` is None, all rows are deleted.

    ``condition`` is SQL for the query engine.
    """

    name: TableName
    condition: str | None


Statement: TypeAlias = (
    CreateCatalog
    | CreateSchema
    | CreateTable
    | AddColumns
    | DropColumns
    | AddCheck
    | DropCheck
    | Comment
    | SetTags
    | DropTable
    | DropSchema
    | DropCatalog
    | GrantChange
    | Query
    | ShowTables
    | Describe
    | Insert
    | Delete
)
