"""``zerobus-ingest schema``: a table as the service sees it."""

from __future__ import annotations

from typing import Any

import click

from .frame import connection_options, framed, needed_table_of, table_option, workspace_of

__all__ = ["schema"]


@click.command()
@table_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["proto", "arrow", "json", "sql"]),
    default="proto",
    show_default=True,
    help="A .proto file, an Arrow schema, Unity Catalog's JSON, or CREATE TABLE.",
)
@connection_options
@framed
def schema(form: str, **given: Any) -> None:
    """Print the schema of TABLE (catalog.schema.table)."""
    from ..schema import TableSchema

    table = needed_table_of(given)
    found = TableSchema.fetch(workspace_of(given), table)
    if form == "arrow":
        text = found.arrow_schema().to_string()
    else:
        text = {"proto": found.to_proto, "json": found.to_json, "sql": found.to_sql}[form]()
    click.echo(text.rstrip("\n"))
