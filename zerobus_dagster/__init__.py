"""Dagster: push rows to Databricks Delta tables, materialized only when every row is durable."""

from importlib.metadata import version

from dagster_shared.libraries import DagsterLibraryRegistry

from .checks import build_zerobus_delivery_check
from .component import ZerobusIngestComponent
from .config import ZerobusIngestConfig
from .credentials import ZerobusCredentials
from .io_manager import ZerobusIOManager
from .resource import ZerobusResource

__all__ = [
    "ZerobusCredentials",
    "ZerobusIOManager",
    "ZerobusIngestComponent",
    "ZerobusIngestConfig",
    "ZerobusResource",
    "build_zerobus_delivery_check",
]

# Dagster shows the libraries of a code location; a foreign one has a version of its own.
DagsterLibraryRegistry.register("zerobus-orchestration", version("zerobus-orchestration"), is_dagster_package=False)
