"""``zerobus-ingest schema``, which prints a table's schema as the service sees it."""

from __future__ import annotations

from typing import Any

import click

from .create_table import SAMPLE_ROWS, differences, sample_of
from .frame import connection_options, framed, needed_table_of, table_option, workspace_of
from .options import options_without_format, source_options_of

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
@click.option("--diff", "source", metavar="SOURCE", help="Print how the columns of files differ from the table's.")
@connection_options
@options_without_format
@framed
def schema(form: str, source: str | None, **given: Any) -> None:
    """Print the schema of TABLE (catalog.schema.table)."""
    from ..schema import TableSchema

    table = needed_table_of(given)
    options = source_options_of(given)
    found = TableSchema.fetch(workspace_of(given), table)
    if source is not None:
        sampled = sample_of(source, table, options, rows=SAMPLE_ROWS, not_null=False)
        lines = differences(found, sampled.schema)
        click.echo("\n".join(lines) if lines else f"the columns of {source} are those of {table}")
        return
    if form == "arrow":
        text = found.arrow_schema().to_string()
    else:
        text = {"proto": found.to_proto, "json": found.to_json, "sql": found.to_sql}[form]()
    click.echo(text.rstrip("\n"))
