"""Converts column types from sqlglot's syntax tree to Delta's JSON and to SQL text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from ..errors import InvalidRequest
from ..model.names import checked_name

if TYPE_CHECKING:
    from ..model.objects import DeltaType

__all__ = ["column_type"]

_T = exp.DataType.Type
# sqlglot's type: (the Delta protocol's name, SQL's name)
_SIMPLE = {
    _T.TINYINT: ("byte", "tinyint"),
    _T.SMALLINT: ("short", "smallint"),
    _T.INT: ("integer", "int"),
    _T.BIGINT: ("long", "bigint"),
    _T.FLOAT: ("float", "float"),
    _T.DOUBLE: ("double", "double"),
    _T.BOOLEAN: ("boolean", "boolean"),
    _T.TEXT: ("string", "string"),
    _T.BINARY: ("binary", "binary"),
    _T.DATE: ("date", "date"),
    _T.TIMESTAMPTZ: ("timestamp", "timestamp"),
    _T.TIMESTAMPLTZ: ("timestamp", "timestamp"),
    _T.TIMESTAMPNTZ: ("timestamp_ntz", "timestamp_ntz"),
    _T.VARIANT: ("variant", "variant"),
}
_MAX_PRECISION = 38
_MAX_LENGTH = {_T.CHAR: 255, _T.VARCHAR: 65_535}
_MAX_DEPTH = 100  # the limit of the SDK's schema conversion


def column_type(kind: exp.Expression | None, column: str, depth: int = 0) -> tuple[DeltaType, str]:
    """Return a type as Delta JSON and as SQL text.

    ``depth`` is the number of types that enclose this type. Raises InvalidRequest if the type is not supported;
    the error message contains ``column``.
    """
    if depth > _MAX_DEPTH:
        raise InvalidRequest(f"column {column}: its type is nested more than {_MAX_DEPTH} levels deep")
    if not isinstance(kind, exp.DataType):
        raise InvalidRequest(f"column {column} has no type: write for example {column} BIGINT")
    match kind.this:
        case simple if simple in _SIMPLE:
            return _SIMPLE[simple]
        case _T.DECIMAL:
            return _decimal(kind, column)
        case _T.CHAR | _T.VARCHAR:
            return _text(kind, column)
        case _T.ARRAY if len(kind.expressions) == 1:
            element, text = column_type(kind.expressions[0], f"{column}.element", depth + 1)
            return {"type": "array", "elementType": element, "containsNull": True}, f"array<{text}>"
        case _T.MAP if len(kind.expressions) == 2:  # noqa: PLR2004  # a key and a value
            key, key_text = column_type(kind.expressions[0], f"{column}.key", depth + 1)
            value, value_text = column_type(kind.expressions[1], f"{column}.value", depth + 1)
            delta = {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}
            return delta, f"map<{key_text},{value_text}>"
        case _T.STRUCT if kind.expressions:
            return _struct(kind, column, depth)
    raise InvalidRequest(
        f"column {column}: type {kind.sql(dialect='databricks')} cannot be ingested by Zerobus. "
        "Supported types: TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), BOOLEAN, STRING, CHAR(n), "
        "VARCHAR(n), BINARY, DATE, TIMESTAMP, TIMESTAMP_NTZ, VARIANT, ARRAY<T>, MAP<K, V>, STRUCT<name: T, …>"
    )


def _parameters(kind: exp.DataType, column: str) -> list[int]:
    try:
        return [int(parameter.name) for parameter in kind.expressions]
    except ValueError as error:
        raise InvalidRequest(f"column {column}: {kind.sql(dialect='databricks')} needs whole numbers") from error


def _decimal(kind: exp.DataType, column: str) -> tuple[str, str]:
    precision, scale, *rest = (
        [*_parameters(kind, column), 0] if len(kind.expressions) == 1 else (_parameters(kind, column) or [10, 0])
    )
    if rest or not 1 <= precision <= _MAX_PRECISION or not 0 <= scale <= precision:
        raise InvalidRequest(
            f"column {column}: {kind.sql(dialect='databricks')} is not a DECIMAL(p,s) with 1 <= p <= 38 and 0 <= s <= p"
        )
    text = f"decimal({precision},{scale})"
    return text, text


def _text(kind: exp.DataType, column: str) -> tuple[str, str]:
    longest = _MAX_LENGTH[kind.this]
    lengths = _parameters(kind, column)
    if len(lengths) != 1 or not 1 <= lengths[0] <= longest:
        raise InvalidRequest(f"column {column}: {kind.this.value} needs a length from 1 to {longest}")
    return "string", f"{kind.this.value.lower()}({lengths[0]})"


def _struct(kind: exp.DataType, column: str, depth: int) -> tuple[DeltaType, str]:
    fields: list[dict[str, Any]] = []
    texts: list[str] = []
    for nested in kind.expressions:
        path = f"{column}.{nested.name or len(fields)}"
        if not isinstance(nested, exp.ColumnDef):
            raise InvalidRequest(f"column {column}: each field of a STRUCT needs a name: STRUCT<name: type, …>")
        checked_name(f"field {path}:", nested.name)
        if nested.name.lower() in {name["name"].lower() for name in fields}:
            raise InvalidRequest(f"column {path} appears twice in its STRUCT")
        delta, text = column_type(nested.kind, path, depth + 1)
        constraints = [constraint.kind for constraint in nested.constraints]
        is_required = any(
            isinstance(constraint, exp.NotNullColumnConstraint) and not constraint.args.get("allow_null")
            for constraint in constraints
        )
        comments = [c.this.name for c in constraints if isinstance(c, exp.CommentColumnConstraint)]
        metadata = {"comment": comments[0]} if comments else {}
        if text.startswith(("char(", "varchar(")):
            metadata["__CHAR_VARCHAR_TYPE_STRING"] = text
        fields.append({"name": nested.name, "type": delta, "nullable": not is_required, "metadata": metadata})
        texts.append(f"{nested.name}:{text}")
    return {"type": "struct", "fields": fields}, f"struct<{','.join(texts)}>"
