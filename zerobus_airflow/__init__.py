"""Airflow operators that push rows to Databricks Delta tables and succeed only when every row is durable."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assets import table_asset
    from .decorator import zerobus_ingest_task
    from .fan_out import merge_receipts_task, pool_arguments, split_source_task, split_sql_task
    from .hook import ZerobusHook
    from .operator import ZerobusIngestOperator
    from .replay import DeadLetterReplayOperator
    from .slices import finish_slice_task, freeze_slice_task
    from .sql import SqlToZerobusOperator
    from .task_types import task

__all__ = [
    "DeadLetterReplayOperator",
    "SqlToZerobusOperator",
    "ZerobusHook",
    "ZerobusIngestOperator",
    "finish_slice_task",
    "freeze_slice_task",
    "merge_receipts_task",
    "pool_arguments",
    "split_source_task",
    "split_sql_task",
    "table_asset",
    "task",
    "zerobus_ingest_task",
]

# Every process of Airflow imports this package to read the provider's metadata, before Airflow itself is fully
# imported. So the modules that import Airflow are loaded only when a name is first used.
_HOMES = {
    "DeadLetterReplayOperator": "replay",
    "SqlToZerobusOperator": "sql",
    "ZerobusHook": "hook",
    "ZerobusIngestOperator": "operator",
    "finish_slice_task": "slices",
    "freeze_slice_task": "slices",
    "merge_receipts_task": "fan_out",
    "pool_arguments": "fan_out",
    "split_source_task": "fan_out",
    "split_sql_task": "fan_out",
    "table_asset": "assets",
    "task": "compat",  # Airflow's own ``task``; type checkers find our decorator in it
    "zerobus_ingest_task": "decorator",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
