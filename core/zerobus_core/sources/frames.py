"""Data frames as Arrow tables, without a dict per row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ..errors import ConfigurationError

__all__ = ["frame_table"]


def frame_table(frame: Any) -> pa.Table | None:
    """The Arrow table of a pandas or polars frame; None for anything else.

    Of a pandas frame, named index levels are columns and unnamed ones are not; NaN, NaT and NA are null.
    """
    package, name = type(frame).__module__.partition(".")[0], type(frame).__name__
    if package == "pandas" and name == "DataFrame":
        return _from_pandas(frame)
    if package == "polars" and name == "DataFrame":
        return frame.to_arrow()
    if package in {"pandas", "polars"}:
        raise ConfigurationError(f"records is a {package} {name}; {_HINTS.get(name, 'pass a DataFrame')}")
    if package == "pyspark":
        raise ConfigurationError("records is of Spark; pass frame.toArrow(), or write files and pass their path")
    return None


_HINTS = {
    "Series": "pass series.to_frame()",
    "LazyFrame": "pass frame.collect(), or sink it to Parquet and pass the path",
}


def _from_pandas(frame: Any) -> pa.Table:
    columns = [str(column) for column in frame.columns]
    if len(set(columns)) < len(columns):
        raise ConfigurationError("the data frame has columns of the same name; rename them")
    named = [name for name in frame.index.names if name is not None]
    if named:
        # reset_index would make columns of the unnamed levels, too.
        unnamed = [i for i, name in enumerate(frame.index.names) if name is None]
        frame = frame.droplevel(unnamed) if unnamed else frame
    try:
        return pa.Table.from_pandas(frame, preserve_index=bool(named)).replace_schema_metadata(None)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"the data frame has a column that Arrow cannot take, often one of mixed types: {error}; "
            'convert the column, or pass frame.to_dict("records")'
        ) from error
