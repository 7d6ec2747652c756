"""Loads the input of an asset from a Delta table, which is read directly from its storage."""

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
    """Return the rows of ``table``, as a frame or an Arrow table.

    The rows are a pandas or polars frame if the input's annotation names such a type, and an Arrow table otherwise.
    ``uri`` can contain ``{catalog}``, ``{schema}`` and ``{table}``. ``expression`` is the ``partition_expr`` of the
    asset: the columns whose values show to which partition a row belongs. Only rows of the run's partitions are read.
    If ``expression`` is None, or if the asset has no partitions, all rows are read.
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
