"""Inputs of assets: rows of a Delta table, read directly from its storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zerobus_core import ConfigurationError

from .partition_rows import rows_of_partitions

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["load_table"]


def load_table(
    context: dg.InputContext, table: str, uri: str, storage_options: Mapping[str, str], expression: Any
) -> Any:
    """Return the rows of ``table`` in the type that the input is annotated with: pandas, polars, or else Arrow.

    ``uri`` can contain ``{catalog}``, ``{schema}`` and ``{table}``. ``expression`` is ``partition_expr``. For a
    partitioned asset, it names the columns that select the rows of the run's partitions; if it is None, all rows are
    read.
    """
    try:
        from deltalake import DeltaTable
    except ImportError as error:
        raise ConfigurationError(
            f"loading an input from the Delta table {table} needs deltalake: pip install deltalake"
        ) from error
    catalog, schema, name = table.split(".")
    where = uri.format(catalog=catalog, schema=schema, table=name)
    dataset = DeltaTable(where, storage_options=dict(storage_options)).to_pyarrow_dataset()
    condition = None
    if expression is not None and context.has_asset_partitions:
        keys = list(context.asset_partition_keys)
        condition = rows_of_partitions(dataset.schema, expression, context.asset_partitions_def, keys)
    return _as_annotated(dataset.to_table(filter=condition), context.dagster_type.typing_type)


def _as_annotated(rows: Any, annotation: Any) -> Any:
    package = getattr(annotation, "__module__", "").partition(".")[0]
    if package == "pandas":
        return rows.to_pandas()
    if package == "polars":
        import polars as pl

        frame = pl.from_arrow(rows)
        return frame.lazy() if annotation is pl.LazyFrame and isinstance(frame, pl.DataFrame) else frame
    return rows
