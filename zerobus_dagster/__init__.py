"""Dagster assets that push rows to Databricks Delta tables and are materialized only when every row is durable."""

from importlib.metadata import version

from dagster_shared.libraries import DagsterLibraryRegistry

from .checks import build_zerobus_delivery_check
from .component import ZerobusIngestComponent
from .config import ZerobusIngestConfig
from .credentials import ZerobusCredentials
from .definitions import check_definitions
from .handoff_sensor import build_zerobus_handoff_sensor
from .io_manager import ZerobusIOManager
from .resource import ZerobusResource
from .row_count import delta_row_count, warehouse_row_count
from .sharded import build_zerobus_sharded_asset

__all__ = [
    "ZerobusCredentials",
    "ZerobusIOManager",
    "ZerobusIngestComponent",
    "ZerobusIngestConfig",
    "ZerobusResource",
    "build_zerobus_delivery_check",
    "build_zerobus_handoff_sensor",
    "build_zerobus_sharded_asset",
    "check_definitions",
    "delta_row_count",
    "warehouse_row_count",
]

# Dagster shows the libraries of a code location. Its own libraries have Dagster's version number; this one does not.
DagsterLibraryRegistry.register("zerobus-orchestration", version("zerobus-orchestration"), is_dagster_package=False)
