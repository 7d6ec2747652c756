"""Parses Databricks SQL into statements.

sqlglot parses most of the dialect, but not every form of statements such as CREATE CATALOG and GRANT. The module
``words`` parses these statements from sqlglot's tokens. Error messages say what is wrong and, if possible, in which
line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import ParseError, SqlglotError

from ..errors import InvalidRequest
from ..model.names import TableName, checked_name
from .bounds import check_bounds
from .statements import (
    AddCheck,
    Comment,
    CreateSchema,
    CreateTable,
    Delete,
    Describe,
    DropCheck,
    DropColumns,
    DropSchema,
    DropTable,
    Insert,
    Query,
    Statement,
)
from .tables import add_columns, create_table, named_check, table_name, text_of
from .words import parse_words

__all__ = ["columns_in", "created_table", "parse"]

_MOST_CHARACTERS = 1_000_000
_MOST_STATEMENTS = 1_000
_KNOWN = (
    "CREATE CATALOG | SCHEMA | TABLE, ALTER TABLE … ADD COLUMN | DROP COLUMN | ADD CONSTRAINT … CHECK | "
    "DROP CONSTRAINT | ALTER COLUMN … SET TAGS, COMMENT ON TABLE, DROP TABLE | SCHEMA | CATALOG, GRANT, REVOKE, "
    "SELECT, INSERT INTO, DELETE FROM, SHOW TABLES, DESCRIBE"
)


def parse(sql: str) -> list[Statement]:
    """Return the statements of a script, in order; raise InvalidRequest if one of them is invalid or not supported."""
    if len(sql) > _MOST_CHARACTERS:
        raise InvalidRequest(f"the SQL text is longer than {_MOST_CHARACTERS} characters")
    try:
        parts = list(_split(sqlglot.tokenize(sql, read="databricks")))
        if len(parts) > _MOST_STATEMENTS:
            raise InvalidRequest(f"{len(parts)} statements; a script can have at most {_MOST_STATEMENTS}")
        statements = [_statement(sql, tokens) for tokens in parts]
    except SqlglotError as error:
        raise InvalidRequest(_explain(error, sql)) from error
    except RecursionError as error:
        raise InvalidRequest("the SQL is nested too deeply") from error
    if not statements:
        raise InvalidRequest(f"there is no SQL statement in {sql[:80]!r}")
    return statements


def created_table(sql: str) -> TableName:
    """Return the name of the table that ``sql`` creates.

    Raises InvalidRequest unless ``sql`` is exactly one CREATE TABLE statement.
    """
    match parse(sql):
        case [CreateTable(name=name)]:
            return name
    raise InvalidRequest("pass a single CREATE TABLE statement; use sql() or zerobus-local sql for other SQL")


def columns_in(condition: str) -> set[str]:
    """Return the names of the columns in a condition, in lower case.

    For a field of a struct, such as ``a.b``, both ``a`` and ``b`` are returned.
    """
    tree = sqlglot.parse_one(condition, read="databricks")
    return {part.name.lower() for column in tree.find_all(exp.Column) for part in column.parts}


def _split(tokens: list[Token]) -> Iterator[list[Token]]:
    statement: list[Token] = []
    for token in tokens:
        if token.token_type != TokenType.SEMICOLON:
            statement.append(token)
        elif statement:
            yield statement
            statement = []
    if statement:
        yield statement


def _statement(sql: str, tokens: list[Token]) -> Statement:
    from_words = parse_words(tokens)
    if from_words is not None:
        return from_words
    first = tokens[0].text.upper()
    if first not in _PARSERS:
        raise InvalidRequest(
            f"line {tokens[0].line}: {first} is not a statement that the local catalog supports. It supports: {_KNOWN}"
        )
    # Padding makes the lines and columns in sqlglot's errors count from the start of the script.
    before, text = sql[: tokens[0].start], sql[tokens[0].start : tokens[-1].end + 1]
    padding = "\n" * before.count("\n") + " " * (len(before) - before.rfind("\n") - 1)
    expression: Any = _read(padding + text)  # its base class depends on sqlglot's version
    statement = _PARSERS[first](expression)
    if statement is None:
        raise InvalidRequest(
            f"line {tokens[0].line}: {text[:120]!r} is not supported by the local catalog. It supports: {_KNOWN}"
        )
    return statement


def _read(text: str) -> Any:
    # For a statement that it does not know, sqlglot logs a warning and returns a Command; our error is clearer.
    log = logging.getLogger("sqlglot")
    log.addFilter(_drop_record)
    try:
        tree = sqlglot.parse_one(text, read="databricks")
        if isinstance(tree, exp.Command) and tree.name.upper() == "ALTER":
            # Before 30.30 sqlglot reads DROP COLUMN and DROP CONSTRAINT only in dialects that have them.
            tree = sqlglot.parse_one(text, read="mysql")
    finally:
        log.removeFilter(_drop_record)
    check_bounds(tree)
    return tree


def _drop_record(_: logging.LogRecord) -> bool:
    return False


def _explain(error: SqlglotError, sql: str) -> str:
    facts = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    line, column = facts.get("line"), facts.get("col")
    if not line:
        return f"the SQL cannot be read: {str(error)[:200]}"
    unknown = _unknown_type(sql, line, column)
    if unknown is not None:
        return f"SQL error in line {line}, column {column}: {unknown} is not a type"
    near = (sql.splitlines() or [""])[min(line, len(sql.splitlines())) - 1].strip()[:120]
    return f"SQL error in line {line}, column {column}: {facts.get('description')}, near {near!r}"


def _unknown_type(sql: str, line: int, column: Any) -> str | None:
    """Return the word at ``line`` and ``column`` if it is in a place where SQL expects a type, otherwise None.

    SQL expects a type after the name of a column, and after ``<``, as in ARRAY<…>.
    """
    tokens = sqlglot.tokenize(sql, read="databricks")
    for before, previous, token in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if (token.line, token.col) == (line, column) and token.token_type == TokenType.VAR:
            return token.text if previous.text == "<" or before.text in {"(", ","} else None
    return None


def _create(expression: exp.Expression) -> Statement | None:
    if not isinstance(expression, exp.Create):
        return None
    kind = str(expression.args.get("kind", "")).upper()
    if kind == "TABLE":
        return create_table(expression)
    if kind in {"SCHEMA", "DATABASE"}:
        catalog, schema = _schema_name(expression.this)
        return CreateSchema(
            catalog=catalog,
            schema=schema,
            if_not_exists=bool(expression.args.get("exists")),
            comment=next((text_of(c.this) for c in expression.find_all(exp.SchemaCommentProperty)), None),
        )
    raise InvalidRequest(
        f"CREATE {kind} is not supported by the local catalog: Zerobus writes to managed Delta tables only"
    )


def _alter(expression: exp.Expression) -> Statement | None:
    if not isinstance(expression, exp.Alter) or str(expression.args.get("kind", "")).upper() != "TABLE":
        return None
    name = table_name(expression.this)
    actions = expression.args.get("actions") or []
    columns = [
        column
        for action in actions
        for column in (action.expressions if isinstance(action, exp.Schema) else [action])
        if isinstance(column, exp.ColumnDef)
    ]
    if columns and all(isinstance(action, exp.ColumnDef | exp.Schema) for action in actions):
        return add_columns(name, columns)
    action = actions[0] if len(actions) == 1 else None
    if isinstance(action, exp.AddConstraint) and len(action.expressions) == 1:
        return AddCheck(name=name, check=named_check(action.expressions[0]))
    if isinstance(action, exp.Drop):
        return _alter_drop(name, action)
    return None


def _alter_drop(name: TableName, action: exp.Drop) -> Statement | None:
    targets = action.args.get("tables") or ([action.this] if action.this else [])
    names = [inner.name for target in targets for inner in (target.expressions or [target])]
    kind = str(action.args.get("kind", "")).upper()
    if kind in {"COLUMN", "COLUMNS"} and names:
        return DropColumns(name=name, columns=tuple(names))
    if kind == "CONSTRAINT" and len(names) == 1:
        return DropCheck(name=name, check=names[0], if_exists=bool(action.args.get("exists")))
    return None


def _drop(expression: exp.Expression) -> Statement | None:
    if not isinstance(expression, exp.Drop):
        return None
    kind = str(expression.args.get("kind", "")).upper()
    targets = expression.args.get("tables") or ([expression.this] if expression.this else [])
    if len(targets) != 1:
        return None
    if_exists = bool(expression.args.get("exists"))
    if kind == "TABLE":
        return DropTable(name=table_name(targets[0]), if_exists=if_exists)
    if kind in {"SCHEMA", "DATABASE"}:
        catalog, schema = _schema_name(targets[0])
        cascade = bool(expression.args.get("cascade"))
        return DropSchema(catalog=catalog, schema=schema, if_exists=if_exists, cascade=cascade)
    return None


def _comment(expression: exp.Expression) -> Statement | None:
    if not isinstance(expression, exp.Comment) or str(expression.args.get("kind", "")).upper() != "TABLE":
        return None
    text = expression.args.get("expression")
    return Comment(name=table_name(expression.this), comment=None if isinstance(text, exp.Null) else text_of(text))


def _query(expression: exp.Expression) -> Statement | None:
    if not isinstance(expression, exp.Query):
        return None
    in_with = {common.alias for common in expression.find_all(exp.CTE)}
    tables: list[TableName] = []
    for table in expression.find_all(exp.Table):
        if table.name in in_with and not table.db:
            continue
        name = table_name(table)
        if name not in tables:
            tables.append(name)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
        # The query engine has no catalogs: it gets the tables as table_0, table_1, …
        table.set("this", exp.to_identifier(f"table_{tables.index(name)}"))
        table.set("db", None)
        table.set("catalog", None)
    return Query(sql=expression.sql(dialect="postgres"), tables=tuple(tables))


def _describe(expression: exp.Expression) -> Statement | None:
    return Describe(name=table_name(expression.this)) if isinstance(expression, exp.Describe) else None


def _insert(expression: exp.Expression) -> Statement | None:
    if not isinstance(expression, exp.Insert) or expression.args.get("overwrite"):
        return None
    target, rows = expression.this, expression.expression
    columns: tuple[str, ...] = ()
    if isinstance(target, exp.Schema):
        columns = tuple(column.name for column in target.expressions)
        target = target.this
    if isinstance(rows, exp.Values):
        query: Statement | None = Query(sql=rows.sql(dialect="postgres"), tables=())
    else:
        query = _query(rows)
    return Insert(name=table_name(target), columns=columns, rows=query) if isinstance(query, Query) else None


def _delete(expression: exp.Expression) -> Statement | None:
    if not isinstance(expression, exp.Delete) or expression.args.get("using"):
        return None
    where = expression.args.get("where")
    condition = where.this.sql(dialect="postgres") if where is not None else None
    return Delete(name=table_name(expression.this), condition=condition)


_PARSERS: dict[str, Callable[[exp.Expression], Statement | None]] = {
    "CREATE": _create,
    "ALTER": _alter,
    "DROP": _drop,
    "COMMENT": _comment,
    "SELECT": _query,
    "WITH": _query,
    "DESCRIBE": _describe,
    "DESC": _describe,
    "INSERT": _insert,
    "DELETE": _delete,
}


def _schema_name(table: exp.Expression) -> tuple[str, str]:
    # sqlglot stores the two parts of SCHEMA a.b as catalog and db, and those of DATABASE a.b as db and this.
    parts = [part for part in (table.text("catalog"), table.text("db"), table.text("this")) if part]
    if len(parts) != 2:  # noqa: PLR2004  # catalog and schema
        shown = table.sql(dialect="databricks")
        raise InvalidRequest(f"{shown!r} is not a full schema name: write catalog.schema, for example main.default")
    return checked_name("catalog", parts[0]).lower(), checked_name("schema", parts[1]).lower()
