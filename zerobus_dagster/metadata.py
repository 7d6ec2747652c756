"""Builds the metadata of a delivery: uses Dagster's own keys where possible, and otherwise our own keys.

The key ``dagster/row_count`` is deliberately not used: it means the number of rows in the table, but a delivery knows
only how many rows it added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from zerobus_core import Counts

if TYPE_CHECKING:
    from zerobus_core import Receipt, TableSchema, ZerobusIngestError

__all__ = [
    "HANDOFF_NAME",
    "NAMESPACE",
    "Metadata",
    "column_metadata",
    "error_metadata",
    "explorer_metadata",
    "handoff_metadata",
    "partition_metadata",
    "range_metadata",
    "receipt_metadata",
    "receipts_in",
    "receipts_metadata",
    "table_in",
    "table_metadata",
]

NAMESPACE = "dagster-zerobus"
HANDOFF_NAME = f"{NAMESPACE}/handoff"

Metadata: TypeAlias = dict[str, int | float | str | dg.TableSchema | dg.MetadataValue]

# Stored as single entries, because Dagster plots numbers over time.
_ROWS = tuple(field.name for field in dataclasses.fields(Counts))
_PLOTTED = (
    *_ROWS,
    "bytes_sent",
    "reconnects",
)
_RECEIPT = f"{NAMESPACE}/receipt"
_RECEIPTS = f"{NAMESPACE}/receipts"
_DELIVERIES = f"{NAMESPACE}/deliveries"
_TABLE_COLUMNS = (
    "table",
    *_ROWS,
    "bytes_sent",
    "streams",
    "reconnects",
    "duration_s",
    "rows_per_s",
    "ack_p50_s",
    "ack_p95_s",
    "record_format",
    "started_at",
    "resumed_from",
)
# The most bad fields that a failure lists; people do not read more.
_MOST_BAD_FIELDS = 50


def table_metadata(table: str) -> Metadata:
    """Return metadata with the name of the table; catalogs and lineage tools use this name to match assets."""
    return {"dagster/table_name": table, "dagster/storage_kind": "databricks"}


def table_in(metadata: Mapping[str, Any]) -> str | None:
    """Return the name of the table in the metadata of an event; None if the metadata contains no table."""
    value = metadata.get("dagster/table_name")
    return value.value if isinstance(value, dg.TextMetadataValue) else None


def column_metadata(schema: TableSchema) -> Metadata:
    """Return the table's columns, as Unity Catalog describes them."""
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
    """Return metadata that names the first and the last of several partitions that were delivered together.

    Each of these partitions has a materialization, which shows the figures of the whole delivery. The result is empty
    for fewer than two partitions.
    """
    if len(partitions) <= 1:
        return {}
    return {f"{NAMESPACE}/partitions": f"{partitions[0]}...{partitions[-1]} ({len(partitions)})"}


def receipt_metadata(receipts: Sequence[Receipt]) -> Metadata:
    """Return the metadata of one or more deliveries: figures that Dagster plots, a table, and the last receipt.

    ``receipts`` are those of one asset in one attempt of a step, in order. Each figure is an entry of its own. The
    figures cover only the deliveries to the same table as the last delivery: counts are added up, and for latencies the
    largest value is shown. The Dagster table has a line for each receipt. The last receipt is added as JSON; if there
    are several receipts, a list of all receipts is also added as JSON.
    """
    last = receipts[-1].as_dict()
    same = [receipt.as_dict() for receipt in receipts if receipt.table == last["table"]]
    duration = sum(one["duration_s"] for one in same)
    acked = sum(one["rows_acked"] for one in same)
    figures: Metadata = {f"{NAMESPACE}/{key}": sum(one[key] for one in same) for key in _PLOTTED}
    figures |= {
        f"{NAMESPACE}/duration_s": round(duration, 3),
        f"{NAMESPACE}/rows_per_s": round(acked / duration, 1) if duration > 0 else 0.0,
        f"{NAMESPACE}/ack_p50_s": round(max(one["ack_latency_s"]["p50"] for one in same), 4),
        f"{NAMESPACE}/ack_p95_s": round(max(one["ack_latency_s"]["p95"] for one in same), 4),
        f"{NAMESPACE}/finished_at": _timestamp(last["finished_at"]),
    }
    if last["resumed_from"] is not None:
        figures[f"{NAMESPACE}/resumed_from"] = _timestamp(last["resumed_from"])
    if last["started_over"] is not None:
        figures[f"{NAMESPACE}/started_over"] = last["started_over"]
    return {
        **table_metadata(last["table"]),
        **figures,
        _DELIVERIES: _table(receipts),
        _RECEIPT: dg.MetadataValue.json(last),
        **receipts_metadata(receipts),
    }


def handoff_metadata(receipt: Receipt) -> dict[str, Any]:
    """Return metadata about a handoff: the bounds of its slice, and what remains in the source after the slice."""
    facts = receipt.handoff or {}
    plain: dict[str, Any] = {
        HANDOFF_NAME: facts.get("name", ""),
        f"{NAMESPACE}/handoff_facts": dg.MetadataValue.json(facts),
    }
    for name in ("from", "to", "remaining"):
        value = facts.get(name)
        plain[f"{NAMESPACE}/handoff_{name}"] = value if isinstance(value, bool | int) else str(value)
    plain[f"{NAMESPACE}/handoff_rows_ahead"] = int(facts.get("waiting_rows", 0))
    return plain


def explorer_metadata(workspace_url: str, table: str) -> Metadata:
    """Return a link to the table in Catalog Explorer."""
    path = "/".join(table.split("."))
    return {f"{NAMESPACE}/catalog_explorer": dg.MetadataValue.url(f"{workspace_url.rstrip('/')}/explore/data/{path}")}


def partition_metadata(receipts: Sequence[Receipt]) -> Metadata:
    """Return metadata with the number of rows that a partition has in the table.

    The number is correct only if no other run has delivered the partition. The result is empty if the receipts are for
    several tables, or if rows may be in the table twice.
    """
    if len({receipt.table for receipt in receipts}) > 1 or any(receipt.rows_resent for receipt in receipts):
        return {}
    return {"dagster/partition_row_count": sum(receipt.rows_acked + receipt.rows_skipped for receipt in receipts)}


def _timestamp(text: str) -> dg.MetadataValue:
    try:
        return dg.MetadataValue.timestamp(datetime.fromisoformat(text).astimezone(UTC))
    except ValueError:  # from a checkpoint that somebody edited; the rows are durable, so do not fail
        return dg.MetadataValue.text(text)


def _table(receipts: Sequence[Receipt]) -> dg.MetadataValue:
    """Return a Dagster table that has a line for each receipt and a column for each figure."""
    records = []
    for receipt in receipts:
        plain = receipt.as_dict()
        plain |= {"ack_p50_s": plain["ack_latency_s"]["p50"], "ack_p95_s": plain["ack_latency_s"]["p95"]}
        cells = {name: _cell(plain[name]) for name in _TABLE_COLUMNS}
        records.append(dg.TableRecord(data=cells))
    columns = [dg.TableColumn(name=name) for name in _TABLE_COLUMNS]
    return dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns))


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return round(value, 4) if isinstance(value, float) else value


def receipts_metadata(receipts: Sequence[Receipt]) -> Metadata:
    """Return metadata with all receipts as JSON; empty if there are fewer than two receipts."""
    if len(receipts) <= 1:
        return {}
    return {_RECEIPTS: dg.MetadataValue.json([receipt.as_dict() for receipt in receipts])}


def receipts_in(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the receipts in the metadata of a materialization, as plain JSON; empty if there are no receipts."""
    value = metadata.get(_RECEIPTS, metadata.get(_RECEIPT))
    data = value.data if isinstance(value, dg.JsonMetadataValue) else None
    return [one for one in (data if isinstance(data, list) else [data]) if isinstance(one, Mapping)]


def error_metadata(error: ZerobusIngestError) -> Metadata:
    """Return the metadata of a failed delivery; it contains no values of rows."""
    metadata: Metadata = {f"{NAMESPACE}/error": type(error).__name__}
    if error.table:
        metadata.update(table_metadata(error.table))
    for name in ("rows_read", "rows_acked", "rows_skipped", "rows_dead_lettered", "rows_filtered", "rows_not_durable"):
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
