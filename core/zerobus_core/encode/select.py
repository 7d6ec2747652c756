"""Which record format a delivery takes, and the encoder for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..column_options import RESCUE
from ..errors import ConfigurationError
from ..schema.format_limits import arrow_limits, protobuf_limits
from ..schema.types import Field, Kind, PrimitiveType, StringType

if TYPE_CHECKING:
    from ..batch import Encoder, RecordFormat
    from ..options import IngestOptions
    from ..schema import TableSchema

__all__ = ["encoder_for"]


def encoder_for(
    schema: TableSchema,
    options: IngestOptions,
    *,
    is_arrow: bool,
    delivery_id: str | None = None,
    arrow_streams: bool = True,
) -> Encoder:
    """The encoder for rows, or for Arrow record batches, into the table.

    ``delivery_id`` is what the ``delivery_columns`` option writes, and is needed with it; ``arrow_streams`` says
    whether ``auto`` may take them.  Raises SchemaError if the record format that was asked for cannot carry the
    table, ConfigurationError for delivery columns that are missing from the table.
    """
    delivery = _checked_delivery(schema, options, delivery_id)
    record_format, reason = _chosen_format(schema, options, is_arrow, arrow_streams)
    if record_format == "arrow" or is_arrow:
        from .arrow.encoder import ArrowEncoder  # pyarrow is imported for Arrow only

        return ArrowEncoder(
            schema, options, record_format=record_format, reason=reason, is_arrow=is_arrow, delivery_id=delivery
        )
    if record_format == "json":
        from .rows.json import JsonEncoder

        return JsonEncoder(schema, options, reason=reason, delivery_id=delivery)
    from .rows.protobuf import ProtobufEncoder

    return ProtobufEncoder(schema, options, reason=reason, delivery_id=delivery)


def _chosen_format(
    schema: TableSchema, options: IngestOptions, is_arrow: bool, arrow_streams: bool
) -> tuple[RecordFormat, str]:
    if options.record_format != "auto":
        return options.record_format, "asked for"
    if options.extra_columns == RESCUE:
        return "json", "only JSON records can hold fields for the service's rescue column"
    if is_arrow and arrow_streams:
        limits = list(arrow_limits(schema.columns))
        if not limits:
            return "arrow", "the source holds Arrow data"
        return "json", f"Arrow records cannot carry the table: {limits[0]}"
    limits = list(protobuf_limits(schema.columns))
    if not limits:
        return "protobuf", "Arrow streams take ClientCredentials only" if is_arrow else "the source holds rows"
    return "json", f"protobuf records cannot carry the table: {limits[0]}"


def _checked_delivery(schema: TableSchema, options: IngestOptions, delivery_id: str | None) -> str | None:
    if options.delivery_columns is None:
        return None
    if not delivery_id:
        raise ConfigurationError("delivery_columns needs a delivery id", table=schema.table)
    columns = {column.name: column for column in schema.columns}
    _check_column(schema, columns, options.delivery_columns["delivery_id"], is_text=True)
    _check_column(schema, columns, options.delivery_columns["row_number"], is_text=False)
    return delivery_id


def _check_column(schema: TableSchema, columns: dict[str, Field], name: str, *, is_text: bool) -> None:
    column = columns.get(name)
    if column is None:
        raise ConfigurationError(f"delivery_columns names {name!r}, which the table does not have", table=schema.table)
    fits = column.type == (StringType() if is_text else PrimitiveType(Kind.BIGINT))
    if not fits:
        raise ConfigurationError(
            f"delivery_columns names {name!r}, which is {column.type} and must be {'STRING' if is_text else 'BIGINT'}",
            table=schema.table,
        )
