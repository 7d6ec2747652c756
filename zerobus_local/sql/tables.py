"""Converts sqlglot's syntax trees of CREATE TABLE and ALTER TABLE … ADD COLUMN to our own statement objects."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from ..errors import InvalidRequest
from ..model.names import TableName, checked_name
from ..model.objects import Check, Column
from .statements import AddColumns, CreateTable
from .types import column_type

__all__ = ["add_columns", "create_table", "named_check", "table_name", "text_of"]

_MOST_COLUMNS = 2_000  # docs.databricks.com, zerobus-quotas
_INFORMATIONAL = (exp.PrimaryKey, exp.ForeignKey, exp.PrimaryKeyColumnConstraint)
# Compared by name, because the class that the parser uses depends on the release of sqlglot.
_CLUSTERING = {"Cluster", "ClusterProperty", "ClusteredByProperty"}


def create_table(create: exp.Create) -> CreateTable:
    """Return the statement object for a CREATE TABLE.

    Raises InvalidRequest if the CREATE TABLE is invalid, or if it has a clause that is not supported here.
    """
    if not isinstance(create.this, exp.Schema) or create.args.get("expression"):
        raise InvalidRequest(
            f"CREATE TABLE {create.this.sql(dialect='databricks')} has no columns: write CREATE TABLE "
            "catalog.schema.table (column TYPE, …); LIKE, CLONE and AS SELECT are not supported here"
        )
    if create.args.get("replace") and create.args.get("exists"):
        raise InvalidRequest("CREATE OR REPLACE TABLE cannot be combined with IF NOT EXISTS")
    name = table_name(create.this.this)
    definitions = [entry for entry in create.this.expressions if isinstance(entry, exp.ColumnDef)]
    columns, checks, notes = _columns(definitions)
    for entry in create.this.expressions:
        if isinstance(entry, exp.ColumnDef):
            continue
        if isinstance(entry, _INFORMATIONAL) or any(isinstance(inner, _INFORMATIONAL) for inner in entry.expressions):
            notes.append(f"{entry.sql(dialect='databricks')} is not enforced, as on Databricks")
        else:
            checks.append(named_check(entry, default=f"check_{len(checks) + 1}"))
    _refuse_repeated("constraint", (check.name for check in checks))
    properties = _Properties(create.args.get("properties"), {column.name.lower(): column.name for column in columns})
    return CreateTable(
        name=name,
        columns=tuple(columns),
        checks=tuple(checks),
        partition_by=properties.partition_by,
        properties=tuple(properties.pairs),
        comment=properties.comment,
        if_not_exists=bool(create.args.get("exists")),
        or_replace=bool(create.args.get("replace")),
        notes=tuple(notes + properties.notes),
    )


def add_columns(name: TableName, definitions: list[exp.ColumnDef]) -> AddColumns:
    """Return the statement object for an ALTER TABLE … ADD COLUMN.

    Raises InvalidRequest if the definition of a new column is invalid, or has NOT NULL, CHECK, FIRST or AFTER.
    """
    for definition in definitions:
        if definition.args.get("position"):
            raise InvalidRequest(
                f"column {definition.name}: FIRST and AFTER are not supported here; leave them out, and the "
                "column is added at the end"
            )
    columns, checks, notes = _columns(definitions)
    for column in columns:
        if not column.nullable:
            raise InvalidRequest(
                f"column {column.name}: an added column must be nullable, because of the existing rows"
            )
    if checks:
        raise InvalidRequest(
            f"add the CHECK in a statement of its own: ALTER TABLE {name} ADD CONSTRAINT name CHECK (…)"
        )
    return AddColumns(name=name, columns=tuple(columns), notes=tuple(notes))


def named_check(entry: exp.Expression, default: str | None = None) -> Check:
    """Return the constraint for ``[CONSTRAINT name] CHECK (condition)``.

    ``default`` is the name to use for a constraint that has no name. Raises InvalidRequest if the constraint is not a
    CHECK, or if it has no name and ``default`` is None.
    """
    check = entry.expressions[0] if isinstance(entry, exp.Constraint) and entry.expressions else entry
    name = entry.name if isinstance(entry, exp.Constraint) else default
    if not isinstance(check, exp.CheckColumnConstraint) or name is None:
        raise InvalidRequest(
            f"{entry.sql(dialect='databricks')!r} is not a known constraint: write CONSTRAINT name CHECK (…)"
        )
    return Check(checked_name("constraint", name).lower(), check.this.sql(dialect="databricks"))


def table_name(table: exp.Expression | None) -> TableName:
    """Return the name of a table in the syntax tree; raise InvalidRequest if the name does not have three parts."""
    if not isinstance(table, exp.Table) or not table.catalog or not table.db or not table.name:
        shown = table.sql(dialect="databricks") if table is not None else ""
        raise InvalidRequest(
            f"{shown!r} is not a full table name: write catalog.schema.table, for example main.default.t"
        )
    return TableName(table.catalog, table.db, table.name)


def text_of(literal: exp.Expression | None) -> str:
    """Return the text of a string literal; raise InvalidRequest for any other expression."""
    if not isinstance(literal, exp.Literal) or not literal.is_string:
        shown = literal.sql(dialect="databricks") if literal is not None else ""
        raise InvalidRequest(f"COMMENT takes a text in single quotes, not {shown!r}")
    return str(literal.this)


def _columns(definitions: list[exp.ColumnDef]) -> tuple[list[Column], list[Check], list[str]]:
    if not definitions:
        raise InvalidRequest("a table needs at least one column")
    if len(definitions) > _MOST_COLUMNS:
        raise InvalidRequest(f"{len(definitions)} columns are more than Zerobus supports ({_MOST_COLUMNS})")
    _refuse_repeated("column", (definition.name for definition in definitions))
    columns, checks, notes = [], [], []
    for position, definition in enumerate(definitions):
        column, column_checks, column_notes = _column(definition, position)
        columns.append(column)
        checks += column_checks
        notes += column_notes
    return columns, checks, notes


def _column(definition: exp.ColumnDef, position: int) -> tuple[Column, list[Check], list[str]]:
    name = checked_name("column", definition.name)
    type_, text = column_type(definition.kind, name)
    nullable, comment, default = True, None, None
    checks, notes = [], []
    for constraint in definition.constraints:
        match constraint.kind:
            case exp.NotNullColumnConstraint():
                nullable = bool(constraint.kind.args.get("allow_null"))
            case exp.CommentColumnConstraint():
                comment = text_of(constraint.kind.this)
            case exp.DefaultColumnConstraint():
                default = constraint.kind.this.sql(dialect="databricks")
                notes.append(f"column {name}: Zerobus does not apply DEFAULT {default}; a missing value becomes NULL")
            case exp.CheckColumnConstraint():
                own = checked_name("constraint", constraint.name) if constraint.args.get("this") else f"{name}_check"
                checks.append(Check(own.lower(), constraint.kind.this.sql("databricks")))
            case exp.PrimaryKeyColumnConstraint():
                notes.append(f"column {name}: PRIMARY KEY is not enforced, as on Databricks")
            case other:
                raise InvalidRequest(
                    f"column {name}: {other.sql(dialect='databricks')!r} is not supported here; use only NOT NULL, "
                    "COMMENT, DEFAULT, CHECK and PRIMARY KEY"
                )
    if "variant" in str(type_):
        notes.append(f"column {name}: VARIANT is stored as its JSON text")
    column = Column(
        name=name, type=type_, type_text=text, nullable=nullable, position=position, comment=comment, default=default
    )
    return column, checks, notes


def _refuse_repeated(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise InvalidRequest(f"{what} {name} appears twice (upper and lower case are treated as equal)")
        seen.add(name.lower())


class _Properties:
    """The clauses that follow the columns in CREATE TABLE, such as COMMENT and PARTITIONED BY."""

    def __init__(self, properties: exp.Expression | None, columns: dict[str, str]) -> None:
        self.partition_by: tuple[str, ...] = ()
        self.pairs: list[tuple[str, str]] = []
        self.comment: str | None = None
        self.notes: list[str] = []
        self._columns = columns
        for entry in properties.expressions if properties is not None else []:
            self._read(entry)

    def _read(self, entry: exp.Expression) -> None:
        text = entry.sql(dialect="databricks")
        match entry:
            case exp.SchemaCommentProperty():
                self.comment = text_of(entry.this)
            case exp.FileFormatProperty() if entry.this.name.upper() == "DELTA":
                pass
            case exp.PartitionedByProperty():
                self.partition_by = tuple(self._column(column) for column in entry.this.expressions)
            case _ if type(entry).__name__ in _CLUSTERING:
                self.notes.append(f"{text}: clustering has no effect on the local table")
            case exp.LocationProperty() | exp.ExternalProperty() | exp.FileFormatProperty() | exp.TemporaryProperty():
                raise InvalidRequest(
                    f"{text!r} does not make a managed Delta table; Zerobus cannot write to other kinds of tables"
                )
            case exp.Property() if type(entry) is exp.Property:
                self.pairs.append((entry.name, str(entry.args["value"].name)))
            case _:
                raise InvalidRequest(f"{text!r} is not supported by the local catalog: leave it out")

    def _column(self, column: exp.Expression) -> str:
        if isinstance(column, exp.ColumnDef):
            raise InvalidRequest(
                f"PARTITIONED BY ({column.sql(dialect='databricks')}): declare the column with the others, and "
                "give only its name here"
            )
        if column.name.lower() not in self._columns:
            raise InvalidRequest(f"PARTITIONED BY refers to {column.name!r}, but the table has no such column")
        return self._columns[column.name.lower()]
