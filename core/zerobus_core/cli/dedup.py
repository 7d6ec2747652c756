"""``zerobus-ingest dedup-sql``: SQL that takes duplicates out again."""

from __future__ import annotations

import click

from .frame import framed

__all__ = ["dedup_sql"]


@click.command("dedup-sql")
@click.argument("table")
@click.argument("more_keys", nargs=-1, metavar="")
@click.option("--key", "keys", multiple=True, required=True, metavar="COLUMN...", help="One or more columns.")
@click.option("--view", metavar="NAME", help="The view's name; TABLE with _dedup at its end if not given.")
@click.option("--into", metavar="NAME", help="Print a MERGE into this clean table instead of a view.")
@framed
def dedup_sql(
    table: str, keys: tuple[str, ...], more_keys: tuple[str, ...], view: str | None, into: str | None
) -> None:
    """Print Databricks SQL that shows one row of TABLE for each key.

    Delivery is at least once: a row whose acknowledgement was lost is sent again.
    """
    from ..dedup import dedup_view_sql, merge_sql

    if view is not None and into is not None:
        raise click.UsageError("--view names a view and --into a table for MERGE; give one of them")
    key = (*keys, *more_keys)
    sql = merge_sql(table, into, key) if into is not None else dedup_view_sql(table, key, view=view)
    click.echo(sql + ";")
