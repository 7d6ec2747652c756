"""Builds SQL statements around a user's query, with values bound in the style of the driver.

The user's query becomes a derived table. The query is on lines of its own, because its last line can end in a comment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigurationError

__all__ = ["VALUE", "Condition", "Dialect", "checked_query", "tables_in"]

VALUE = "\0"
"""Where a value belongs in a ``Condition``: a character that no column name contains."""

_BACKTICK = {"MySQLdb", "pymysql", "mysql", "mariadb", "aiomysql", "databricks", "pyhive"}
_POSTGRES = {"psycopg", "psycopg2", "pg8000", "psycopg_c", "psycopg_binary"}
_STYLES = {"qmark", "format", "pyformat", "numeric", "named"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a column; ``sql`` contains the mark ``VALUE`` once for each of ``values``."""

    sql: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The way in which a driver's statements bind values and quote names."""

    driver: str
    paramstyle: str

    @classmethod
    def of(cls, connection: Any, paramstyle: str | None = None) -> Dialect:
        """Return the dialect for a DB-API connection, or for the connection behind a pool's proxy.

        Raises ConfigurationError if the paramstyle is unknown.
        """
        real = getattr(connection, "dbapi_connection", None) or connection
        driver = (type(real).__module__ or "").partition(".")[0].lstrip("_")
        style = paramstyle or getattr(sys.modules.get(driver), "paramstyle", None)
        if style not in _STYLES:
            raise ConfigurationError(
                f"connect() returned a {type(connection).__module__}.{type(connection).__qualname__}, whose driver "
                f"does not say how values are bound; pass paramstyle, one of {', '.join(sorted(_STYLES))}"
            )
        return cls(driver=driver, paramstyle=style)

    @property
    def is_postgres(self) -> bool:
        """Whether the driver is one for PostgreSQL."""
        return self.driver in _POSTGRES

    @property
    def is_mysql(self) -> bool:
        """Whether the driver is one for MySQL or MariaDB."""
        return self.driver in {"MySQLdb", "pymysql", "mysql", "mariadb"}

    def column(self, name: str) -> str:
        """Return the quoted name of a column of the derived table."""
        mark = "`" if self.driver in _BACKTICK else '"'
        return f"q.{mark}{name.replace(mark, mark * 2)}{mark}"

    def statement(
        self, what: str, query: str, conditions: Sequence[Condition], order: Sequence[str] = ()
    ) -> tuple[str, Any]:
        """Return the text ``SELECT what FROM (query) q WHERE …``, and the values to bind.

        If there are no values, None is returned in their place.
        """
        values = [value for condition in conditions for value in condition.values]
        where = f" WHERE {' AND '.join(condition.sql for condition in conditions)}" if conditions else ""
        by = f" ORDER BY {', '.join(order)}" if order else ""
        select = f"SELECT {what} FROM (\n{query}\n) q"  # noqa: S608  # the user's own query; values are bound
        if values and self.paramstyle in {"format", "pyformat"}:
            select, where, by = (text.replace("%", "%%") for text in (select, where, by))
        for number in range(len(values)):
            where = where.replace(VALUE, self._mark(number), 1)
        sql = select + where + by
        if not values:
            return sql, None
        if self.paramstyle == "named":
            return sql, {f"zerobus_{number}": value for number, value in enumerate(values)}
        return sql, values

    def _mark(self, number: int) -> str:
        if self.paramstyle == "qmark":
            return "?"
        if self.paramstyle == "numeric":
            return f":{number + 1}"
        return f":zerobus_{number}" if self.paramstyle == "named" else "%s"


def checked_query(query: Any) -> str:
    """Return the query; raise ConfigurationError if it is not one query, or has ORDER BY outside of parentheses."""
    if not isinstance(query, str) or not query.strip():
        raise ConfigurationError(f"query must be the text of one SELECT, not {type(query).__name__}")
    tokens = _tokens(query)
    words = [text.upper() for text, _ in tokens]
    if not words or words[0] not in {"SELECT", "WITH", "(", "VALUES", "TABLE", "FROM"}:
        raise ConfigurationError("query must be one SELECT statement, because it is used as a derived table")
    if ";" in words:
        raise ConfigurationError(
            "query contains a `;`: pass one SELECT without `;`, because the query is used as a derived table"
        )
    depth_0 = [text.upper() for text, depth in tokens if depth == 0]
    if any(text.startswith("ORDER") and text.split() in (["ORDER"], ["ORDER", "BY"]) for text in depth_0):
        raise ConfigurationError("query ends in ORDER BY: leave it out, because another ORDER BY is added to the query")
    return query


def _tokens(query: str) -> list[tuple[str, int]]:
    """Return each token with the number of parentheses around it; omit comments, text literals and quoted names."""
    from sqlglot.errors import TokenError
    from sqlglot.tokens import Tokenizer

    try:
        found = [(token.text, token.token_type.name) for token in Tokenizer().tokenize(query)]
    except TokenError:
        plain = re.sub(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", " ", query, flags=re.DOTALL)
        found = [(text, "VAR") for text in re.findall(r"\w+|[();]", plain)]
    depth, tokens = 0, list[tuple[str, int]]()
    for text, kind in found:
        if kind in {"STRING", "RAW_STRING", "HEREDOC_STRING", "NATIONAL_STRING", "IDENTIFIER"}:
            continue
        depth -= text == ")"
        tokens.append((text, depth))
        depth += text == "("
    return tokens


def tables_in(query: str) -> list[str] | None:
    """Return the sorted names, in lower case, of a query's tables; None if it cannot be parsed or has no tables."""
    import logging

    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        parsed = sqlglot.parse_one(query)
    except SqlglotError:
        return None
    finally:
        logger.setLevel(level)
    own = {cte.alias.lower() for cte in parsed.find_all(exp.CTE)}
    names = {".".join(part.name for part in table.parts).lower() for table in parsed.find_all(exp.Table) if table.parts}
    return sorted(names - own) or None
