"""Converts data frames to Arrow tables, or to rows (dicts) if Arrow might change values of the frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from ...errors import ConfigurationError
from ...wording import plural
from ..libraries.frame_kinds import columnar_package, is_instance, plain_pandas
from ..rows.frame_rows import FrameRows, frame_columns, has_objects, is_changed_by_arrow

__all__ = ["frame_content", "is_read_as_rows", "rows_of_frames"]


def frame_content(frame: Any) -> pa.Table | FrameRows | None:
    """Convert a pandas or polars frame to an Arrow table, or to rows if it is a pandas frame that Arrow might change.

    In a pandas frame, named index levels become columns, unnamed levels are dropped, and NaN, NaT and NA become null.
    A pandas frame with Python objects that Arrow cannot convert is also converted to rows. Raises ConfigurationError
    for a frame with columns that cannot be delivered, for any other object of pandas or polars, such as a Series, and
    for a Spark object. Returns None for objects of other libraries.
    """
    if is_instance(frame, "pandas", "DataFrame"):
        return _from_pandas(plain_pandas(frame))
    if is_instance(frame, "polars", "DataFrame"):
        return _from_polars(frame)
    package = columnar_package(frame)
    if package in {"pandas", "polars"}:
        hint = next((hint for name, hint in _HINTS.items() if is_instance(frame, package, name)), "pass a DataFrame")
        raise ConfigurationError(f"records is a {package} {type(frame).__name__}; {hint}")
    if package == "pyspark":
        raise ConfigurationError("records is a Spark object; pass frame.toArrow(), or write files and pass their path")
    return None


def is_read_as_rows(item: Any) -> bool:
    """Return whether ``item`` is a pandas frame that must be read row by row because Arrow might change its values."""
    return is_instance(item, "pandas", "DataFrame") and is_changed_by_arrow(plain_pandas(item))


def rows_of_frames(frames: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of pandas frames.

    Raises ConfigurationError for an item that is not a pandas frame, or that has columns that cannot be delivered.
    """
    for frame in frames:
        if not is_instance(frame, "pandas", "DataFrame"):
            raise ConfigurationError(
                f"records yields a {type(frame).__name__} after a pandas frame that is read as rows; all items must "
                "be pandas frames"
            )
        plain = plain_pandas(frame)
        _check_pandas(plain)
        rows = FrameRows(plain)
        for start in range(0, len(rows), _STEP):
            yield from rows[start : start + _STEP]


_STEP = 1_000
_HINTS = {
    "Series": "pass series.to_frame()",
    "LazyFrame": "pass frame.collect(), or write it with frame.sink_parquet() and pass the path",
}
_REFUSED_BY_PANDAS_TYPE = {
    "PeriodDtype": "a period is not a point in time: pass frame[{0}].dt.to_timestamp(), or frame[{0}].astype(str)",
    "GeometryDtype": "a geometry is not a value of a column: pass frame[{0}].to_wkb(), or frame[{0}].to_wkt()",
    "IntervalDtype": "an interval is two values: pass its .left and .right as columns, or frame[{0}].astype(str)",
}
_REFUSED_BY_POLARS_TYPE = {
    "Object": "which holds Python objects: cast it, or pass frame.to_dicts()",
    "Int128": "which Arrow does not have: cast it to pl.Int64 or pl.Decimal(38, 0)",
    "UInt128": "which Arrow does not have: cast it to pl.Int64 or pl.Decimal(38, 0)",
}


def _check_pandas(frame: Any) -> bool:
    """Check the columns of a pandas frame; return whether the index has a named level, which becomes a column.

    Raises ConfigurationError if two columns have the same name, if there are rows but no columns, or if a column has a
    type that cannot be delivered.
    """
    columns = list(frame_columns(frame))
    if len({name for name, _ in columns}) < len(columns):
        raise ConfigurationError(
            "the data frame has columns of the same name (named index levels count as columns); rename them"
        )
    if not columns and len(frame):
        raise ConfigurationError(
            f"the data frame has {len(frame)} {plural(len(frame), 'row')} and no columns, only an index without "
            "a name; name the index (frame.index.name = ...) or pass frame.reset_index()"
        )
    for name, column in columns:
        dtype = column.dtype
        if type(dtype).__name__ == "CategoricalDtype":
            dtype = dtype.categories.dtype
        hint = _REFUSED_BY_PANDAS_TYPE.get(type(dtype).__name__)
        if hint is not None:
            raise ConfigurationError(f"column {name} of the data frame has the type {dtype}; {hint.format(repr(name))}")
    return any(name is not None for name in frame.index.names)


def _from_pandas(frame: Any) -> pa.Table | FrameRows:
    is_indexed = _check_pandas(frame)
    if is_changed_by_arrow(frame):
        return FrameRows(frame)
    if is_indexed:
        # reset_index() would also turn the unnamed levels into columns.
        unnamed = [i for i, name in enumerate(frame.index.names) if name is None]
        frame = frame.droplevel(unnamed) if unnamed else frame
    try:
        return pa.Table.from_pandas(frame, preserve_index=is_indexed).replace_schema_metadata(None)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        if has_objects(frame):
            return FrameRows(frame)  # if a value also does not fit the table, the error names its row and column
        raise ConfigurationError(
            f"the data frame has a column that Arrow cannot convert: {error}; convert the column to another type, or "
            'pass frame.to_dict("records")'
        ) from error


def _from_polars(frame: Any) -> pa.Table:
    for name, kind in frame.schema.items():
        refused = next((inner for inner in _types_within(kind) if inner in _REFUSED_BY_POLARS_TYPE), None)
        if refused is not None:
            raise ConfigurationError(
                f"column {name} of the data frame has the polars type {kind}, {_REFUSED_BY_POLARS_TYPE[refused]}"
            )
    return frame.to_arrow()


def _types_within(kind: Any) -> Iterator[str]:
    """Yield the names of a polars type and of the types inside it."""
    yield kind.base_type().__name__
    inner = getattr(kind, "inner", None)
    if inner is not None:
        yield from _types_within(inner)
    for field in getattr(kind, "fields", None) or ():
        yield from _types_within(field.dtype)
