"""Creates, alters and removes the Delta tables of the catalog, with the deltalake package."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.schema import Field, Schema

from ..errors import InvalidRequest
from ..model.nullability import as_declared
from .reading import dataset_at

if TYPE_CHECKING:
    from ..model.objects import Check, Column, Table

__all__ = [
    "add_check",
    "add_columns",
    "create",
    "definition",
    "drop_check",
    "drop_columns",
    "put_in_place",
    "remove",
    "set_comment",
]

_LONGEST_IN_FOLDER = 150  # characters of a table name in the name of a temporary folder


def create(table: Table) -> None:
    """Create an empty Delta table in a temporary folder; call ``put_in_place`` next.

    Deletes temporary folders that a crash left behind for a table of this name. Raises InvalidRequest if delta-rs
    refuses the table's definition.
    """
    for left_over in table.path.parent.glob(f"{_made_name(table)}.*"):
        remove(left_over)
    folder = _made_in(table)
    folder.mkdir(parents=True)
    try:
        delta = DeltaTable.create(
            folder,
            table.delta_schema,
            partition_by=list(table.partition_by) or None,
            name=table.full_name,
            description=table.comment,
        )
        for check in table.checks:
            _add_check(delta, check)
    except DeltaError as error:
        remove(folder)
        raise InvalidRequest(f"{table.full_name} cannot be a Delta table: {error}") from error
    except InvalidRequest:
        remove(folder)
        raise


def put_in_place(table: Table) -> None:
    """Replace the table's folder with the temporary folder that ``create`` made.

    Does nothing if there is no temporary folder, because a previous call has already moved it.
    """
    made = _made_in(table)
    if made.exists():
        remove(table.path)
        made.rename(table.path)


def definition(path: Path) -> str:
    """Return a digest of the table's columns, constraints and comment.

    The digest changes if ALTER TABLE or COMMENT ON TABLE changes the Delta table; commits of rows do not change it.
    """
    delta = DeltaTable(path)
    metadata = delta.metadata()
    description = [json.loads(delta.schema().to_json()), metadata.configuration, metadata.description]
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def remove(folder: Path) -> None:
    """Delete a table's folder if it exists."""
    if folder.exists():
        shutil.rmtree(folder)


def add_columns(path: Path, columns: Iterable[Column]) -> None:
    """Add columns after the existing ones."""
    fields = json.dumps({"type": "struct", "fields": [column.delta_field(stored=True) for column in columns]})
    DeltaTable(path).alter.add_columns(
        [Field(f.name, f.type, nullable=f.nullable, metadata=f.metadata) for f in Schema.from_json(fields).fields]
    )


def drop_columns(table: Table) -> None:
    """Rewrite the Delta table so that it has only the columns of ``table``.

    Dropping a column without rewriting files needs column mapping, which delta-rs lacks.
    """
    delta = DeltaTable(table.path)
    columns = pa.schema(delta.schema().to_arrow())
    kept = pa.schema([columns.field(column.name) for column in table.columns])
    batches = dataset_at(table.path).to_batches(columns=kept.names)
    rows = pa.RecordBatchReader.from_batches(kept, (as_declared(batch, kept) for batch in batches))
    write_deltalake(
        delta,
        rows,
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=list(table.partition_by) or None,
    )


def add_check(path: Path, check: Check) -> None:
    """Add a CHECK constraint; raise InvalidRequest if the condition is invalid or a row of the table violates it."""
    _add_check(DeltaTable(path), check)


def drop_check(path: Path, name: str) -> None:
    """Remove a CHECK constraint if it exists."""
    DeltaTable(path).alter.drop_constraint(name, raise_if_not_exists=False)


def set_comment(path: Path, comment: str | None) -> None:
    """Change the table's description."""
    DeltaTable(path).alter.set_table_description(comment or "")


def _add_check(delta: DeltaTable, check: Check) -> None:
    try:
        delta.alter.add_constraint({check.name: check.sql})
    except DeltaError as error:
        raise InvalidRequest(f"constraint {check.name}: CHECK ({check.sql}) cannot be added: {error}") from error


def _made_in(table: Table) -> Path:
    """Return the temporary folder in which ``create`` builds the table."""
    return table.path.with_name(f"{_made_name(table)}.{table.table_id}")


def _made_name(table: Table) -> str:
    """Return the prefix of the names of the table's temporary folders.

    The prefix begins with a dot. No table name begins with a dot, so a temporary folder is never mistaken for a table.
    File systems allow only 255 characters, so a hash replaces the end of a long table name.
    """
    name = table.path.name
    if len(name) <= _LONGEST_IN_FOLDER:
        return f".{name}"
    return f".{name[:_LONGEST_IN_FOLDER]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
