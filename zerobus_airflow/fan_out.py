"""Tasks before and after mapped deliveries: the first splits the source, the last merges the receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from zerobus_core import ConfigurationError, SqlQuery, merge_receipts, split_source

from .compat import conf, get_current_context
from .masking import masking_task
from .parameters import ASSET_SCHEME
from .rows import readable
from .sql import database_hook

if TYPE_CHECKING:
    from .compat import Context

__all__ = ["attach_receipt", "merge_receipts_task", "pool_arguments", "split_source_task", "split_sql_task"]


def pool_arguments(streams: int = 1) -> dict[str, Any]:
    """Return task arguments for the pool in Airflow's configuration (section ``zerobus``, option ``pool``).

    For example, ``ZerobusIngestOperator.partial(…, options={"streams": 2}, **pool_arguments(2))`` makes tasks that take
    one slot of the pool for each stream that they open. Returns an empty dict if no pool is configured, because a task
    whose pool does not exist is never scheduled.
    """
    if isinstance(streams, bool) or not isinstance(streams, int) or streams < 1:
        raise ConfigurationError(f"streams must be a whole number, at least 1, not {streams!r}")
    pool = conf.get("zerobus", "pool", fallback=None)
    return {"pool": pool, "pool_slots": streams} if pool else {}


@masking_task(task_id="split_source")
def split_source_task(source: Any, n: int, format: str | None = None) -> list[dict[str, Any]]:
    """Return the shards of files; pass them to ``ZerobusIngestOperator.partial(…).expand(source=…)``.

    See ``zerobus_core.split_source``. Files are listed when the task runs, never while the Dag is parsed.
    """
    return split_source(readable(source), n, format=format)


@masking_task(task_id="split_sql")
def split_sql_task(
    sql: str,
    sql_conn_id: str,
    n: int,
    by: str,
    ranges: Literal["quantiles", "even"] = "quantiles",
    sql_hook_params: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the shards of a query.

    Pass them to ``SqlToZerobusOperator.partial(sql=…, sql_conn_id=…).expand(shard=…)``. See
    ``zerobus_core.split_source``. Each shard contains a range of the key ``by``, but neither the query nor a
    connection.
    """
    hook = database_hook(sql_conn_id, sql_hook_params)
    return split_source(SqlQuery(hook.get_conn, sql), n, by=by, ranges=ranges)


@masking_task(task_id="merge_receipts")
def merge_receipts_task(receipts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one receipt for all ``receipts``, which are the ``output`` of the mapped deliveries.

    If the table's asset is an outlet of this task, the asset's event also contains the merged receipt.
    """
    merged = merge_receipts(list(receipts)).as_dict()
    attach_receipt(get_current_context(), merged)
    return merged


def attach_receipt(context: Context, receipt: dict[str, Any]) -> None:
    """Add the receipt to the asset event of each table among the task's outlets."""
    for outlet in context["task"].outlets:
        if str(getattr(outlet, "uri", "")).startswith(ASSET_SCHEME):
            context["outlet_events"][outlet].extra = {"zerobus": receipt}
