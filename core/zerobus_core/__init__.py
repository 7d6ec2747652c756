"""Deliver rows to Databricks Delta tables through Zerobus Ingest, and know that they are durable."""

from .errors import ZerobusIngestError
from .options import IngestOptions
from .receipt import Progress, Receipt
from .schema import TableSchema
from .workspace import ClientCredentials, FederatedCredentials, Workspace

__all__ = [
    "ClientCredentials",
    "FederatedCredentials",
    "IngestOptions",
    "Progress",
    "Receipt",
    "TableSchema",
    "Workspace",
    "ZerobusIngestError",
]
