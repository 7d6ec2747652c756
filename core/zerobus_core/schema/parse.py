"""Parses column types from Unity Catalog's ``type_json`` and ``type_text``, and from CREATE TABLE statements.

``type_json`` is Spark's JSON of a StructField, or of a type alone; it is preferred because it is precise. ``type_text``
is Databricks SQL; sqlglot parses it if there is no JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..records import short_repr
from .types import ArrayType, DataType, DecimalType, Field, Kind, MapType, PrimitiveType, StringType, StructType

__all__ = ["MAX_DEPTH", "UnsupportedTypeError", "parse_create_table", "parse_type_json", "parse_type_text"]

# The same bound as in the SDK's own conversion (schema.rs in SDK 1.10.0).
MAX_DEPTH = 100

_SPARK_NAMES = {
    "byte": Kind.TINYINT,
    "tinyint": Kind.TINYINT,
    "short": Kind.SMALLINT,
    "smallint": Kind.SMALLINT,
    "integer": Kind.INT,
    "int": Kind.INT,
    "long": Kind.BIGINT,
    "bigint": Kind.BIGINT,
    "float": Kind.FLOAT,
    "real": Kind.FLOAT,
    "double": Kind.DOUBLE,
    "boolean": Kind.BOOLEAN,
    "binary": Kind.BINARY,
    "date": Kind.DATE,
    "timestamp": Kind.TIMESTAMP,
    "timestamp_ltz": Kind.TIMESTAMP,
    "timestamp_ntz": Kind.TIMESTAMP_NTZ,
    "variant": Kind.VARIANT,
}
_PARAMETRIC = re.compile(r"(decimal|varchar|char)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?")
# Spark stores VARCHAR and CHAR as "string", with the declared type under this key of the field's metadata.
_CHAR_VARCHAR = "__CHAR_VARCHAR_TYPE_STRING"


class UnsupportedTypeError(Exception):
    """Raised for a type that Zerobus does not support.

    ``path`` says where in the column the type is. ``text`` is the name of the type.
    """

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path, text)
        self.path = path
        self.text = text


def parse_type_json(text: str, path: str) -> DataType:
    """Return the type that ``text`` describes in Spark's JSON form; ``path`` is the name of the column.

    Raises UnsupportedTypeError for a type that is unknown or that Zerobus does not support. If ``text`` is not in the
    form that Spark uses, raises another error, such as ValueError or KeyError.
    """
    raw = json.loads(text)
    if isinstance(raw, dict) and "name" in raw and "type" in raw:  # a StructField around the type
        return _field_type(raw, path, 0)
    return _from_json(raw, path, 0)


def _from_json(raw: Any, path: str, depth: int) -> DataType:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(raw, str):
        return _primitive(raw, path)
    if not isinstance(raw, dict):
        raise ValueError(f"not a type: {raw!r}")  # noqa: TRY004  # what is wrong is the text that this was parsed from
    tag = raw.get("type")
    if tag == "array":
        element = _from_json(raw["elementType"], f"{path}[]", depth + 1)
        return ArrayType(element, bool(raw.get("containsNull", True)))
    if tag == "map":
        key = _from_json(raw["keyType"], f"{path}[key]", depth + 1)
        value = _from_json(raw["valueType"], f"{path}[value]", depth + 1)
        return MapType(key, value, bool(raw.get("valueContainsNull", True)))
    if tag == "struct":
        fields = [
            Field(
                name=member["name"],
                type=_field_type(member, f"{path}.{member['name']}", depth + 1),
                nullable=bool(member.get("nullable", True)),
                position=index,
                comment=(member.get("metadata") or {}).get("comment"),
            )
            for index, member in enumerate(raw["fields"])
        ]
        return StructType(tuple(fields))
    raise UnsupportedTypeError(path, str(tag))


def _field_type(member: Mapping[str, Any], path: str, depth: int) -> DataType:
    declared = (member.get("metadata") or {}).get(_CHAR_VARCHAR)
    if isinstance(declared, str):
        return parse_type_text(declared, path)
    return _from_json(member["type"], path, depth)


def _primitive(name: str, path: str) -> DataType:
    name = name.strip().lower()
    if name in _SPARK_NAMES:
        return PrimitiveType(_SPARK_NAMES[name])
    if name == "string":
        return StringType()
    match = _PARAMETRIC.fullmatch(name)
    if match is None:
        raise UnsupportedTypeError(path, name)
    kind, first, second = match.groups()
    if kind == "decimal":
        return DecimalType(int(first or 10), int(second or 0))
    if first is None:
        raise UnsupportedTypeError(path, name)
    return StringType(int(first), is_char=kind == "char")


def parse_type_text(text: str, path: str) -> DataType:
    """Return the type that ``text`` describes in Databricks SQL; ``path`` is the name of the column.

    Raises UnsupportedTypeError for a type that Zerobus does not support, and ValueError for text that is not a type.
    """
    hint = "; each member of a STRUCT needs a name and a type, for example STRUCT<id: INT>"
    reason = f"not a type: {short_repr(text)}{hint if 'struct' in text.lower() else ''}"
    # As a column, because sqlglot's DataType.build leaves out members of a STRUCT, and all else that it cannot parse.
    try:
        statement = _only_statement(f"CREATE TABLE t (c {text}\n)")
    except ValueError as error:
        raise ValueError(reason) from error
    definitions = statement.this.expressions if not statement.args.get("properties") else []
    if len(definitions) != 1 or not _has_only_type(definitions[0]):
        raise ValueError(reason)
    return _from_sql(definitions[0].args["kind"], path, 0)


def _has_only_type(definition: Any) -> bool:
    """Return whether a column definition has a type, and has no constraints except a collation.

    ``definition`` is sqlglot's node for the column.
    """
    constraints = {type(constraint.kind).__name__ for constraint in definition.args.get("constraints") or ()}
    return definition.args.get("kind") is not None and constraints <= {"CollateColumnConstraint"}


def _from_sql(parsed: Any, path: str, depth: int) -> DataType:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    build = _NESTED_SQL.get(parsed.this.name)
    if build is not None:
        return build(parsed, path, depth)
    return _scalar_from_sql(parsed, path)


def _scalar_from_sql(parsed: Any, path: str) -> DataType:
    """Convert sqlglot's node for a type that is not nested.

    Raises UnsupportedTypeError for a type or a parameter that Databricks does not have. Without this check, sqlglot
    would replace the type (for example, TIME by TIMESTAMP, or a VARCHAR without a length by STRING) or omit the
    parameter.
    """
    tag = parsed.this.name
    takes_parameters = tag in _PARAMETRIC_SQL
    if (tag not in _SCALARS_SQL and not takes_parameters) or (parsed.expressions and not takes_parameters):
        raise UnsupportedTypeError(path, _shown(parsed))
    kind = _primitive(parsed.sql("databricks"), path)
    if tag in {"CHAR", "VARCHAR"} and kind == StringType():
        raise UnsupportedTypeError(path, _shown(parsed))
    return kind


def _shown(parsed: Any) -> str:
    tag = parsed.this.name
    if not tag:  # an interval, or what is not a type
        return str(parsed.sql("databricks"))
    parameters = ", ".join(one.sql("databricks") for one in parsed.expressions)
    return _SCALARS_SQL.get(tag, "VOID" if tag == "NULL" else tag) + (f"({parameters})" if parameters else "")


def _array_from_sql(parsed: Any, path: str, depth: int) -> DataType:
    if len(parsed.expressions) != 1:
        raise ValueError(f"{path} is an ARRAY of {len(parsed.expressions)} types; write one, for example ARRAY<INT>")
    return ArrayType(_from_sql(parsed.expressions[0], f"{path}[]", depth + 1))


def _map_from_sql(parsed: Any, path: str, depth: int) -> DataType:
    if len(parsed.expressions) != 2:  # noqa: PLR2004  # of the keys and of the values
        raise ValueError(f"{path} is a MAP of {len(parsed.expressions)} types; write two, for example MAP<STRING, INT>")
    key, value = parsed.expressions
    return MapType(_from_sql(key, f"{path}[key]", depth + 1), _from_sql(value, f"{path}[value]", depth + 1))


def _struct_from_sql(parsed: Any, path: str, depth: int) -> DataType:
    if not parsed.expressions:
        raise ValueError(f"{path} is a STRUCT without members; write them, for example STRUCT<id: INT>")
    members = enumerate(parsed.expressions)
    return StructType(tuple(_member_from_sql(member, index, f"{path}.", depth + 1) for index, member in members))


def _member_from_sql(member: Any, position: int, prefix: str, depth: int) -> Field:
    """Convert sqlglot's node for a struct field or a table column to a Field; sqlglot uses the same form for both.

    Raises ValueError if the node has no type.
    """
    if not member.name:
        raise ValueError(f"{prefix.rstrip('.')} has a member without a name; write for example STRUCT<id: INT>")
    if member.args.get("kind") is None:
        raise ValueError(f"{prefix}{member.name} has no type; write for example {member.name} BIGINT")
    constraints = [(type(one.kind).__name__, one.kind) for one in member.args.get("constraints") or ()]
    comment = next((kind for name, kind in constraints if name == "CommentColumnConstraint"), None)
    return Field(
        name=member.name,
        type=_from_sql(member.args["kind"], f"{prefix}{member.name}", depth),
        # sqlglot reads NULL and NOT NULL as one kind of constraint; of several, NOT NULL counts.
        nullable=not any(
            name == "NotNullColumnConstraint" and not kind.args.get("allow_null") for name, kind in constraints
        ),
        position=position,
        comment=comment.this.name if comment is not None else None,
    )


def parse_create_table(sql: str) -> tuple[str, list[tuple[str, Callable[[], Field]]]]:
    """Parse a CREATE TABLE statement; return the table's name as it is written there, and the table's columns.

    Each column is returned as a pair: its name, and a function that parses its type and returns the Field. The caller
    can call these functions one by one, and collect the errors of all columns. An entry that is neither a column nor a
    constraint is returned as a pair, too; its function raises ValueError.

    Raises ValueError if sqlglot cannot parse ``sql``, if the statement is of another kind, if the table has no columns,
    or if the table is not a managed Delta table.
    """
    from sqlglot import exp  # slow to import, see _only_statement

    statement = _only_statement(sql)
    kind = statement.args.get("kind")
    if not isinstance(statement, exp.Create) or kind != "TABLE" or not isinstance(statement.this, exp.Schema):
        what = f"it is a CREATE {kind} statement, " if kind not in {None, "TABLE"} else ""
        raise ValueError(f"{what}not a CREATE TABLE statement with columns")
    entries = [entry for entry in statement.this.expressions if not _is_constraint(entry)]
    if not entries:
        others = ", ".join(entry.sql("databricks") for entry in statement.this.expressions)
        raise ValueError(f"the table has no columns{others and f', only {others}'}; write each column with its type")
    _check_clauses(statement, {entry.name.lower() for entry in entries})
    table = ".".join(part.name for part in statement.this.this.parts)
    return table, [_column_parser(entry, index) for index, entry in enumerate(entries)]


def _check_clauses(statement: Any, columns: set[str]) -> None:
    """Check the clauses that follow the columns in a CREATE TABLE statement.

    Raises ValueError if a clause adds a column, or if a table with this clause is not a managed Delta table.
    ``columns`` are the names of the columns, in lower case.
    """
    from sqlglot import exp

    properties = statement.args.get("properties")
    for clause in properties.expressions if properties is not None else ():
        text = clause.sql("databricks")
        is_delta = isinstance(clause, exp.FileFormatProperty) and clause.name.upper() == "DELTA"
        foreign = (exp.FileFormatProperty, exp.LocationProperty, exp.ExternalProperty, exp.TemporaryProperty)
        if isinstance(clause, foreign) and not is_delta:
            raise ValueError(f"{text} does not make a managed Delta table, and Zerobus supports no other tables")
        if isinstance(clause, exp.PartitionedByProperty):
            for entry in clause.this.expressions:
                if isinstance(entry, exp.ColumnDef) or entry.name.lower() not in columns:
                    raise ValueError(
                        f"{text}: declare {entry.name} with the other columns, and write only its name in "
                        "PARTITIONED BY"
                    )


def _is_constraint(entry: Any) -> bool:
    from sqlglot import exp

    kinds = (exp.PrimaryKey, exp.ForeignKey, exp.Constraint, exp.CheckColumnConstraint, exp.UniqueColumnConstraint)
    # Streaming tables have EXPECT (condition), which sqlglot takes as a call of an unknown function.
    return isinstance(entry, kinds) or (isinstance(entry, exp.Anonymous) and entry.name.upper() == "EXPECT")


def _column_parser(entry: Any, index: int) -> tuple[str, Callable[[], Field]]:
    from sqlglot import exp

    if isinstance(entry, exp.ColumnDef):
        return entry.name, partial(_member_from_sql, entry, index, "", 0)
    if isinstance(entry, exp.Identifier):
        return entry.name, partial(_refuse, f"{entry.name} has no type; write for example {entry.name} BIGINT")
    text = entry.sql("databricks")
    return text, partial(_refuse, "it is not a column; write a name and a type, for example id BIGINT")


def _refuse(reason: str) -> Field:
    raise ValueError(reason)


def _only_statement(sql: str) -> Any:
    """Return sqlglot's tree of the only statement in ``sql``.

    Raises ValueError if sqlglot cannot parse ``sql``, for example because the SQL is nested too deeply. Also raises
    ValueError if ``sql`` does not have exactly one statement.
    """
    # sqlglot takes half a second to import, and most columns that have type_json do not need it.
    from sqlglot import exp, parse
    from sqlglot.errors import SqlglotError

    try:
        parsed = parse(sql, dialect="databricks")
    except SqlglotError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise ValueError(f"it is nested too deeply; Zerobus supports {MAX_DEPTH} levels") from error
    statements = [one for one in parsed if one is not None and not isinstance(one, exp.Semicolon)]
    if len(statements) != 1:
        raise ValueError(f"the text has {len(statements)} statements; pass one CREATE TABLE statement")
    return statements[0]


# Maps the names of sqlglot's types to those of Databricks SQL.
_SCALARS_SQL = {
    **{name: name for name in ("TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "BOOLEAN", "BINARY")},
    "DATE": "DATE",
    "TEXT": "STRING",
    "VARIANT": "VARIANT",
    "TIMESTAMP": "TIMESTAMP",
    "TIMESTAMPTZ": "TIMESTAMP",
    "TIMESTAMPLTZ": "TIMESTAMP_LTZ",
    "TIMESTAMPNTZ": "TIMESTAMP_NTZ",
}
_PARAMETRIC_SQL = frozenset({"DECIMAL", "CHAR", "VARCHAR"})
_NESTED_SQL: dict[str, Callable[[Any, str, int], DataType]] = {
    "ARRAY": _array_from_sql,
    "LIST": _array_from_sql,
    "MAP": _map_from_sql,
    "STRUCT": _struct_from_sql,
}
