"""Which source a value is: the one place that looks at what users pass."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import is_dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .rows import IterableSource, OneShot, SequenceSource

if TYPE_CHECKING:
    from ..batch import Source
    from ..options import IngestOptions

__all__ = ["source_of"]

_INSTEAD = (
    "pass a list or generator of dicts (or dataclasses, pydantic models, protobuf messages), a pandas or polars frame, "
    "a pyarrow table, a path or URI of files, or a DB-API cursor"
)


def source_of(records: Any, options: IngestOptions) -> Source:
    """The source that reads ``records``.  Of a generator it takes the first item, to see what it yields.

    Raises ConfigurationError that says what to pass instead.
    """
    if is_source(records):
        return records  # type: ignore[no-any-return]  # is_source has looked at its attributes
    package = type(records).__module__.partition(".")[0]
    if package == "pyarrow":
        return _arrow_source(records, options)
    _refuse_what_is_no_source(records)
    return _row_source(records, options)


def is_source(value: Any) -> bool:
    """Whether ``value`` has the Source protocol; its properties are not called, since some cost work."""
    kind = type(value)
    return callable(getattr(kind, "chunks", None)) and all(
        hasattr(kind, name) or name in getattr(value, "__dict__", {})
        for name in ("fingerprint", "is_arrow", "total_rows")
    )


def _arrow_source(records: Any, options: IngestOptions) -> Source:
    import pyarrow as pa

    from .arrow import TableSource

    if isinstance(records, pa.RecordBatch):
        return TableSource(pa.Table.from_batches([records]), options)
    if isinstance(records, pa.Table):
        return TableSource(records, options)
    raise ConfigurationError(f"records is a pyarrow {type(records).__name__}; {_INSTEAD}")


def _refuse_what_is_no_source(records: Any) -> None:
    if isinstance(records, Mapping):
        raise ConfigurationError("records is a dict, which is one record; pass a list of them: [record]")
    if inspect.iscoroutine(records) or inspect.isasyncgen(records) or hasattr(records, "__aiter__"):
        raise ConfigurationError(
            "records is asynchronous (a coroutine or async generator); collect it first, e.g. "
            "[row async for row in rows], or yield rows from a plain generator"
        )
    if isinstance(records, Set):
        raise ConfigurationError("records is a set, whose order changes from run to run; pass a sorted list")
    if _is_record(records):
        raise ConfigurationError(f"records is one {type(records).__name__}; pass a list of them: [record]")
    if records is None or isinstance(records, str | bytes) or not isinstance(records, Iterable):
        raise ConfigurationError(f"records is {_told(records)}; {_INSTEAD}")


def _row_source(records: Iterable[Any], options: IngestOptions) -> Source:
    if isinstance(records, Sequence):
        if len(records):
            _check_first(records[0])
        return SequenceSource(records, options)
    if not isinstance(records, Iterator):
        return IterableSource(lambda: _checked(iter(records)), options)
    if inspect.isgenerator(records) and inspect.getgeneratorstate(records) == inspect.GEN_CLOSED:
        raise ConfigurationError("records is a generator that has ended already; call the function again that made it")
    once = OneShot(records)
    return IterableSource(lambda: _checked(once.take()), options)


def _checked(rows: Iterator[Any]) -> Iterator[Any]:
    for first in rows:
        _check_first(first)
        return chain([first], rows)
    return rows


def _check_first(record: Any) -> None:
    if not _is_record(record):
        raise ConfigurationError(
            f"the first record is {_told(record)}; a record is a dict (or dataclass, pydantic model, protobuf message) "
            "with one value for each column"
        )


def _is_record(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        or (is_dataclass(value) and not isinstance(value, type))
        or hasattr(type(value), "model_fields")  # pydantic
        or hasattr(type(value), "DESCRIPTOR")  # protobuf
    )


def _told(value: Any) -> str:
    if value is None:
        return "None (did the function that makes it return nothing?)"
    if isinstance(value, str):
        short = value if len(value) <= 40 else value[:37] + "..."  # noqa: PLR2004  # a line of a log
        return f"the text {short!r}"
    return f"of type {type(value).__module__}.{type(value).__qualname__}"
