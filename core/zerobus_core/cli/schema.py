"""``zerobus-ingest schema``: a table as the service sees it."""

from __future__ import annotations

from typing import Any

import click

from .frame import connection_options, framed, workspace_of

__all__ = ["schema"]


@click.command()
@click.argument("table")
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
def schema(table: str, form: str, **given: Any) -> None:
    """Print the schema of TABLE (catalog.schema.table)."""
    from ..schema import TableSchema

    found = TableSchema.fetch(workspace_of(given), table)
    if form == "arrow":
        text = found.arrow_schema().to_string()
    else:
        text = {"proto": found.to_proto, "json": found.to_json, "sql": found.to_sql}[form]()
    click.echo(text.rstrip("\n"))
