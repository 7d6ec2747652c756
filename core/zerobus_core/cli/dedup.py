"""``zerobus-ingest dedup-sql``, which prints SQL that removes duplicates."""

from __future__ import annotations

import click

from .frame import framed

__all__ = ["dedup_sql"]


@click.command("dedup-sql")
@click.argument("names", nargs=-1, metavar="TABLE")
@click.option("-t", "--table", metavar="NAME", help="catalog.schema.table, instead of TABLE.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="COLUMN...",
    help="The columns that identify a row: a,b or a b.",
)
@click.option("--view", metavar="NAME", help="The view's name; if not given, TABLE followed by _dedup.")
@click.option("--into", metavar="NAME", help="Print a MERGE into this clean table instead of a view.")
@framed
def dedup_sql(
    names: tuple[str, ...], table: str | None, keys: tuple[str, ...], view: str | None, into: str | None
) -> None:
    """Print Databricks SQL that shows one row of TABLE for each key.

    Delivery is at least once: a row whose acknowledgement was lost is sent again.
    """
    from ..dedup import dedup_view_sql, merge_sql
    from ..schema.table import check_table_name

    if view is not None and into is not None:
        raise click.UsageError("pass either --view, for a view, or --into, for a MERGE, but not both")
    if table is None and not names:
        raise click.UsageError("pass the name of a table, as TABLE or with -t: catalog.schema.table")
    # Arguments after the table are columns: of "--key a b", click gives "a" to the option, and "b" to the arguments.
    source, more_keys = (names[0], names[1:]) if table is None else (table, names)
    source = check_table_name(source)
    key = tuple(column.strip() for text in (*keys, *more_keys) for column in text.split(",") if column.strip())
    sql = merge_sql(source, into, key) if into is not None else dedup_view_sql(source, key, view=view)
    click.echo(sql + ";")
