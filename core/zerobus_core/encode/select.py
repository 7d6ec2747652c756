"""Chooses the record format and the encoder of a delivery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..column_options import RESCUE
from ..optional_imports import require_pyarrow
from ..schema.format_limits import arrow_limits, protobuf_limits
from .filled import FilledColumns

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
    started_at: datetime | None = None,
) -> Encoder:
    """Return the encoder for the table; it encodes Arrow record batches if ``is_arrow``, otherwise rows.

    ``delivery_id`` is required if the option ``delivery_columns`` is set; the encoder writes this id into the column
    ``delivery_columns["delivery_id"]``. ``arrow_streams`` says whether Arrow streams can be chosen if the option
    ``record_format`` is ``auto``. ``started_at`` is the time at which the delivery began; it defaults to now.

    Raises SchemaError if protobuf is the chosen record format but cannot carry the table. Raises ConfigurationError if
    a column listed in ``delivery_columns`` or ``metadata_columns`` is missing from the table or has the wrong type, if
    ``delivery_id`` is required but missing, or if pyarrow is needed but not installed.
    """
    filled = FilledColumns.of(schema, options, delivery_id, started_at or datetime.now(UTC))
    record_format, reason = _chosen_format(schema, options, is_arrow, arrow_streams)
    if record_format == "arrow" or is_arrow:
        require_pyarrow(f"sending Arrow records to {schema.table}" if record_format == "arrow" else "Arrow data")
        from .arrow.encoder import ArrowEncoder  # imported late, because it imports pyarrow

        return ArrowEncoder(
            schema, options, record_format=record_format, reason=reason, is_arrow=is_arrow, filled=filled
        )
    if record_format == "json":
        from .rows.json import JsonEncoder

        return JsonEncoder(schema, options, reason=reason, filled=filled)
    from .rows.protobuf import ProtobufEncoder

    return ProtobufEncoder(schema, options, reason=reason, filled=filled)


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
        return "protobuf", "Arrow streams support only ClientCredentials" if is_arrow else "the source holds rows"
    return "json", f"protobuf records cannot carry the table: {limits[0]}"
