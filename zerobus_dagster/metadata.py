"""What Dagster shows of a delivery: plain metadata, under Dagster's own keys where there is one, else our own.

``dagster/row_count`` is left out on purpose: it means the rows in the table, and a delivery knows only what it added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg

if TYPE_CHECKING:
    from zerobus_core import Receipt, TableSchema, ZerobusIngestError

__all__ = [
    "NAMESPACE",
    "Metadata",
    "column_metadata",
    "error_metadata",
    "range_metadata",
    "receipt_metadata",
    "table_metadata",
]

NAMESPACE = "dagster-zerobus"

Metadata: TypeAlias = dict[str, int | float | str | dg.TableSchema | dg.MetadataValue]

_RECEIPT_KEYS = (
    "rows_read",
    "rows_acked",
    "rows_skipped",
    "rows_dead_lettered",
    "rows_resent",
    "bytes_sent",
    "streams",
    "reconnects",
    "duration_s",
    "rows_per_s",
    "record_format",
    "resumed_from",
)
# A failure lists no more bad fields than a person reads.
_MOST_BAD_FIELDS = 50


def table_metadata(table: str) -> Metadata:
    """Where the rows go, for definitions and for events: catalogs and lineage tools match assets on these keys."""
    return {"dagster/table_name": table, "dagster/storage_kind": "databricks"}


def column_metadata(schema: TableSchema) -> Metadata:
    """The table's columns, as Unity Catalog describes them."""
    columns = [
        dg.TableColumn(
            name=column.name,
            type=str(column.type),
            description=column.comment,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in schema.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def range_metadata(partitions: Sequence[str]) -> Metadata:
    """Says that figures are of several partitions together, since each of their materializations shows them."""
    if len(partitions) <= 1:
        return {}
    return {f"{NAMESPACE}/partitions": f"{partitions[0]}...{partitions[-1]} ({len(partitions)})"}


def receipt_metadata(receipt: Receipt) -> Metadata:
    """The figures of a receipt one by one, so that Dagster plots them over time, and the whole of it as JSON."""
    plain = receipt.as_dict()
    figures = {f"{NAMESPACE}/{key}": plain[key] for key in _RECEIPT_KEYS if plain[key] is not None}
    return {**table_metadata(receipt.table), **figures, f"{NAMESPACE}/receipt": dg.MetadataValue.json(plain)}


def error_metadata(error: ZerobusIngestError) -> Metadata:
    """What is known about a failed delivery, without any value of a row."""
    metadata: Metadata = {f"{NAMESPACE}/error": type(error).__name__}
    if error.table:
        metadata.update(table_metadata(error.table))
    for name in ("rows_read", "rows_acked", "rows_skipped", "rows_dead_lettered", "rows_not_durable"):
        metadata[f"{NAMESPACE}/{name}"] = getattr(error.counts, name)
    fields = [
        {
            "row": field.row,
            "field": field.path,
            "expected": field.expected,
            "got": field.value_type,
            "reason": field.reason,
        }
        for field in getattr(error, "fields", ())[:_MOST_BAD_FIELDS]
    ]
    if fields:
        metadata[f"{NAMESPACE}/bad_fields"] = dg.MetadataValue.json(fields)
    rows = list(getattr(error, "rows", ())[:_MOST_BAD_FIELDS])
    if rows:
        metadata[f"{NAMESPACE}/rejected_rows"] = dg.MetadataValue.json(rows)
    return metadata
