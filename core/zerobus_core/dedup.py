"""SQL that removes duplicates: a view over the table, or a MERGE into a clean table.

Zerobus delivers at least once: a row whose acknowledgement was lost is sent again. Rows with the same key are copies of
one row, so it does not matter which of them is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import ConfigurationError

if TYPE_CHECKING:
    from sqlglot import exp

    from .schema import TableSchema

__all__ = ["dedup_view_sql", "delivery_id", "merge_sql"]

_ROW = "_zerobus_row"


def delivery_id(table: str, source_fingerprint: str | None, name: str | None = None) -> str:
    """Return the delivery id that ``delivery_columns`` writes next to the row number.

    Every attempt with the same table, source and name gets the same id. ``name`` is the delivery's
    ``IngestOptions.delivery_name``, or None. Raises ConfigurationError if the source has no fingerprint, because
    a later attempt could then not recognise the rows of the source.
    """
    if source_fingerprint is None:
        raise ConfigurationError(
            "delivery_columns needs a source that the next attempt can recognise, but this one has no fingerprint: "
            "set source_version to a name for its content, for example the date that its rows belong to",
            table=table,
        )
    return hashlib.sha256(json.dumps([table, source_fingerprint, name]).encode()).hexdigest()[:32]


def dedup_view_sql(
    table: str, key: Sequence[str], *, view: str | None = None, schema: TableSchema | None = None
) -> str:
    """Return Databricks SQL for a view that contains one row for each key, and all rows that have no key.

    A row has no key if each of the key's columns is NULL. ``view`` defaults to the name of the table followed by
    ``_dedup``. Raises ConfigurationError if ``schema`` is given and lacks a column of the key.
    """
    from sqlglot import exp

    names = check_key(key, schema)
    rows = _one_of_each(_table(table), names)
    rows = rows.where(exp.or_(exp.column(_ROW).eq(1), _has_no_key(names)))
    create = exp.Create(this=_table(view or f"{table}_dedup"), kind="VIEW", replace=True, expression=rows)
    return create.sql(dialect="databricks", pretty=True)


def merge_sql(source: str, target: str, key: Sequence[str], *, schema: TableSchema | None = None) -> str:
    """Return Databricks SQL that copies rows from ``source`` to ``target``: one row for each key that ``target`` lacks.

    Both tables must have the same columns. A NULL in a key column is equal to another NULL. Rows whose key
    columns are all NULL are left out, because nothing shows whether these rows were merged before. A comment in the SQL
    says so.
    """
    from sqlglot import exp

    names = check_key(key, schema)
    if source.lower() == target.lower():
        raise ConfigurationError(f"{source} cannot be merged into itself; use another table for the clean rows")
    rows = _one_of_each(_table(source), names)
    rows = rows.where(exp.column(_ROW).eq(1), exp.not_(_has_no_key(names)))
    merge = exp.merge(
        "WHEN NOT MATCHED THEN INSERT *",
        into=_table(target).as_("target", quoted=True),
        using=rows.subquery(exp.to_identifier("source", quoted=True)),
        on=exp.and_(
            *(exp.NullSafeEQ(this=_column(name, "target"), expression=_column(name, "source")) for name in names)
        ),
        dialect="databricks",
    )
    merge.add_comments([" rows whose key is NULL are not merged: nothing distinguishes them "])
    return merge.sql(dialect="databricks", pretty=True)


def check_key(key: Sequence[str], schema: TableSchema | None) -> list[str]:
    """Return the key's columns as a list; raise ConfigurationError if they are not a valid key."""
    names = [key] if isinstance(key, str) else list(key)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(f"a key is one or more column names, not {key!r}")
    if len({name.lower() for name in names}) < len(names):
        raise ConfigurationError(f"the key contains a column twice: {', '.join(names)}")
    if schema is not None:
        known = [column.name for column in schema.columns]
        missing = [name for name in names if name not in known]
        if missing:
            raise ConfigurationError(
                f"the table has no column {', '.join(missing)}; it has {', '.join(known)}", table=schema.table
            )
    return names


def _one_of_each(table: exp.Table, key: Sequence[str]) -> exp.Select:
    import sqlglot
    from sqlglot import exp

    # Rows with the same key are copies of one row, so it does not matter which of them gets number 1.
    order = exp.Order(expressions=[exp.Ordered(this=_column(name), nulls_first=True) for name in key])
    number = exp.Window(this=exp.RowNumber(), partition_by=[_column(name) for name in key], order=order)
    numbered = exp.select(exp.Star(), number.as_(_ROW)).from_(table)
    outer = sqlglot.parse_one(f"SELECT * EXCEPT ({_ROW})", read="databricks")
    assert isinstance(outer, exp.Select)
    return outer.from_(numbered.subquery())


def _has_no_key(key: Sequence[str]) -> exp.Condition:
    from sqlglot import exp

    return exp.paren(exp.and_(*(_column(name).is_(exp.null()) for name in key)))


def _column(name: str, table: str | None = None) -> exp.Column:
    from sqlglot import exp

    return exp.column(name, table=table, quoted=True)


def _table(name: str) -> exp.Table:
    from sqlglot import exp

    parts = name.split(".")
    if len(parts) not in (1, 2, 3) or not all(parts):
        raise ConfigurationError(f"{name!r} is not a table name; expected catalog.schema.table")
    catalog, schema, table = [None] * (3 - len(parts)) + [exp.to_identifier(part, quoted=True) for part in parts]
    return exp.Table(this=table, db=schema, catalog=catalog)
