"""``zerobus-ingest create-table``, which prints the CREATE TABLE statement for a source, and can also execute it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..encode.filled import type_of_filled
from ..errors import ConfigurationError
from ..schema.types import Field
from .frame import connection_options, framed, workspace_of
from .options import metadata_columns_of, source_options, source_options_of

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..schema import TableSchema
    from .sampled_table import SampledTable

__all__ = ["SAMPLE_ROWS", "create_table", "differences", "sample_of"]

SAMPLE_ROWS = 10_000


@click.command("create-table")
@click.argument("source")
@click.option("-t", "--table", required=True, metavar="NAME", help="catalog.schema.table")
@click.option(
    "--sample", "rows", type=click.IntRange(min=1), default=SAMPLE_ROWS, show_default=True,
    help="The number of rows at the start of SOURCE from which the types are inferred.",
)  # fmt: skip
@click.option("--all", "is_all", is_flag=True, help="Infer the types from all rows.")
@click.option("--not-null", is_flag=True, help="Make each column NOT NULL that has no null in the sample.")
@click.option(
    "--delivery-columns", nargs=2, metavar="DELIVERY_ID ROW_NUMBER", help="Add two columns for push --delivery-columns."
)
@click.option(
    "--metadata-columns", multiple=True, metavar="FACT=COLUMN", help="Add a column for push --metadata-columns."
)
@click.option("--execute", is_flag=True, help="Also create the table, through the local server or a SQL warehouse.")
@click.option("--warehouse", metavar="ID", help="The SQL warehouse for --execute; the local server needs none.")
@connection_options
@source_options
@framed
def create_table(source: str, table: str, *, execute: bool, warehouse: str | None, **given: Any) -> None:
    """Print the CREATE TABLE statement for SOURCE: a path or URI of files, a directory or a glob.

    Parquet and Arrow files define the types; for other files they are inferred from a sample. If the sample leaves
    the type of a column uncertain, a comment on the column says why.
    """
    options = source_options_of(given)
    rows, is_all, not_null = given.pop("rows"), given.pop("is_all"), given.pop("not_null")
    added: tuple[str, str] | None = given.pop("delivery_columns")
    sampled = sample_of(source, table, options, rows=None if is_all else rows, not_null=not_null)
    metadata = metadata_columns_of(given.pop("metadata_columns"))
    filled = [*zip(("delivery_id", "row_number"), added or (), strict=False), *metadata.items()]
    schema = _with_columns(sampled.schema, filled)
    statement = schema.to_sql()
    how_many = f"{'all' if sampled.is_all else 'the first'} {sampled.rows:,} rows" if sampled.rows != 1 else "one row"
    click.echo(f"-- inferred from {how_many} of {source}")
    click.echo(statement.rstrip("\n"))
    if execute:
        from ..schema.unity_catalog.statements import execute_statement

        execute_statement(workspace_of(given), statement, warehouse=warehouse)
        click.echo(f"created {table}", err=True)


def sample_of(source: str, table: str, options: IngestOptions, *, rows: int | None, not_null: bool) -> SampledTable:
    """Infer the schema of a table for the source's rows, from a sample of these rows or from all of them.

    Raises ConfigurationError for standard input, which cannot be read twice.
    """
    if source == "-":
        raise ConfigurationError("standard input can be read only once; write it to a file, and pass the file")
    from ..sources import source_of
    from .sampled_table import sampled_table

    return sampled_table(source_of(source, options), table, rows=rows, not_null=not_null)


def differences(table: TableSchema, source: TableSchema) -> list[str]:
    """Return one line for each difference between the columns of the table and those of the source.

    A difference is a column that only one of the two has, or a column whose types differ.
    """
    columns = {column.name.lower(): column for column in table.columns}
    given = {column.name.lower(): column for column in source.columns}
    lines = [f"+ {column.name} {column.type}: in the source only" for at, column in given.items() if at not in columns]
    for name, column in columns.items():
        if name not in given:
            lines.append(f"- {column}: in the table only" + ("" if column.nullable else ", and NOT NULL"))
        elif given[name].type != column.type:
            note = f" ({given[name].comment})" if given[name].comment else ""
            lines.append(f"~ {column.name}: {column.type} in the table, {given[name].type} in the source{note}")
    return lines


def _with_columns(schema: TableSchema, filled: list[tuple[str, str]]) -> TableSchema:
    from ..schema import TableSchema

    added = [
        Field(name, type_of_filled(fact), position=position)
        for position, (fact, name) in enumerate(filled, len(schema.columns))
    ]
    return TableSchema.from_columns((*schema.columns, *added), schema.table)
