"""Deliver rows to Databricks Delta tables through Zerobus Ingest, and know that every row is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    AuthenticationError,
    BadField,
    ConfigurationError,
    Counts,
    DeliveredFileChangedError,
    DeliverySupersededError,
    FrozenFileError,
    HandoffBusyError,
    HandoffStateError,
    IngestInterruptedError,
    IngestTimeoutError,
    PermissionDeniedError,
    RecordError,
    RejectedRecordError,
    SchemaError,
    ShardsMissingError,
    SliceForgottenError,
    SourceChangedError,
    TableNotFoundError,
    ThrottledError,
    TransportError,
    WatermarkPrecisionError,
    ZerobusIngestError,
)
from .lazy_names import lazy_names
from .options import IngestOptions
from .receipt import Progress, Receipt
from .workspace import ClientCredentials, FederatedCredentials, Workspace

if TYPE_CHECKING:
    from .aio import aingest
    from .checkpoint import Checkpoint, CheckpointStore, FileCheckpointStore
    from .file_formats import CsvFormat, ExcelFormat, JsonFormat
    from .handoffs import Handoff, NewFiles, NewItems, NewRows, hand_over
    from .manager import StreamManager
    from .merging import merge_receipts
    from .push import ingest
    from .replaying import replay
    from .schema import TableSchema
    from .sources.shards import read_shard, split_source
    from .sources.sql.query import SqlQuery

__all__ = [
    "AuthenticationError",
    "BadField",
    "Checkpoint",
    "CheckpointStore",
    "ClientCredentials",
    "ConfigurationError",
    "Counts",
    "CsvFormat",
    "DeliveredFileChangedError",
    "DeliverySupersededError",
    "ExcelFormat",
    "FederatedCredentials",
    "FileCheckpointStore",
    "FrozenFileError",
    "Handoff",
    "HandoffBusyError",
    "HandoffStateError",
    "IngestInterruptedError",
    "IngestOptions",
    "IngestTimeoutError",
    "JsonFormat",
    "NewFiles",
    "NewItems",
    "NewRows",
    "PermissionDeniedError",
    "Progress",
    "Receipt",
    "RecordError",
    "RejectedRecordError",
    "SchemaError",
    "ShardsMissingError",
    "SliceForgottenError",
    "SourceChangedError",
    "SqlQuery",
    "StreamManager",
    "TableNotFoundError",
    "TableSchema",
    "ThrottledError",
    "TransportError",
    "WatermarkPrecisionError",
    "Workspace",
    "ZerobusIngestError",
    "aingest",
    "hand_over",
    "ingest",
    "merge_receipts",
    "read_shard",
    "replay",
    "split_source",
]

# Orchestrators import this package in every process that parses a DAG, so a name that only a delivery needs is imported
# when it is first used.
_LAZY = {
    "Checkpoint": "checkpoint",
    "CheckpointStore": "checkpoint",
    "CsvFormat": "file_formats",
    "ExcelFormat": "file_formats",
    "FileCheckpointStore": "checkpoint",
    "Handoff": "handoffs",
    "JsonFormat": "file_formats",
    "NewFiles": "handoffs",
    "NewItems": "handoffs",
    "NewRows": "handoffs",
    "SqlQuery": "sources.sql.query",
    "StreamManager": "manager",
    "TableSchema": "schema",
    "aingest": "aio",
    "hand_over": "handoffs",
    "ingest": "push",
    "merge_receipts": "merging",
    "read_shard": "sources.shards",
    "replay": "replaying",
    "split_source": "sources.shards",
}

_import_name = lazy_names(__name__, _LAZY)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from .version import VERSION

        return VERSION
    return _import_name(name)
