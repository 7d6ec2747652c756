"""Recognises what a user passed as ``records``, and chooses the source that reads it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from io import IOBase
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..column_options import is_kept
from ..errors import ConfigurationError
from ..optional_imports import require_pyarrow
from ..records import is_record
from .libraries.frame_kinds import columnar_package, is_instance
from .protocol.columns import shaped
from .protocol.source import Source, is_source_like, source_from
from .rows.iterables import IterableSource, OneShotIterable, SequenceSource
from .shards import shard_in

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..schema import TableSchema

__all__ = ["options_for", "source_of"]

_INSTEAD = (
    "pass a list or generator of dicts (or dataclasses, pydantic models, protobuf messages), a pandas or polars frame, "
    "a pyarrow table, a path or URI of files, or a DB-API cursor"
)


def source_of(records: Any, options: IngestOptions, schema: TableSchema | None = None) -> Source:
    """Return the source that reads ``records`` for a table of ``schema``; docs/sources.md lists what can be passed.

    Takes the first item of an iterable to recognise what it yields; the source still yields that item. Without
    ``schema``, a JSON number is rounded to a double unless it is a whole number of at most 64 bits. Raises
    ConfigurationError if no source can read ``records``, or if an option does not fit ``records``; the error says what
    to do.
    """
    source = shaped(_source_of(records, options), options)
    if schema is not None:
        source.read_for(schema)
    return source


def _source_of(records: Any, options: IngestOptions) -> Source:
    if is_source_like(records):
        return source_from(records)
    if isinstance(records, str | os.PathLike):
        return _path_source(os.fspath(records), options, is_text=isinstance(records, str))
    if shard_in(records) is not None:
        from .shards import shard_source

        source = shard_source(records, options)
    else:
        source = _data_source(records, options)
    if options.format is not None:
        _refuse_format(records, source)
    return source


def _refuse_format(records: Any, source: Source) -> None:
    from .files.source import FileSource

    if not isinstance(source, FileSource):
        raise ConfigurationError(
            f"options.format applies only to files, but records is {_describe(records)}; leave the option out"
        )


def _data_source(records: Any, options: IngestOptions) -> Source:
    if _is_columnar(records) or hasattr(records, "__arrow_c_stream__"):
        source = _columnar_source(records, options)
        if source is not None:
            return source
    if _is_cursor(records):
        from .rows.cursor import CursorSource

        return CursorSource(records, options)
    _refuse_what_is_no_source(records)
    return _iterable_source(records, options)


def _is_cursor(value: Any) -> bool:
    """Return whether a value has the attributes of a DB-API 2.0 (PEP 249) cursor that are needed to read it."""
    return hasattr(value, "description") and callable(getattr(value, "fetchmany", None))


def options_for(source: Source, options: IngestOptions) -> IngestOptions:
    """Return ``options``, with ``parse_text`` set if all values of ``source`` are text."""
    return replace(options, parse_text=True) if source.is_text else options


def _path_source(path: str | bytes, options: IngestOptions, *, is_text: bool) -> Source:
    from .files.finding.found import looks_like_path
    from .files.source import files_source

    if isinstance(path, bytes):
        raise ConfigurationError(f"records is a path given as bytes; {_INSTEAD}")
    if is_text and not looks_like_path(path):
        raise ConfigurationError(f"records is {_describe(path)}, which is not the path or URI of a file; {_INSTEAD}")
    return files_source(path, options)


def _columnar_source(records: Any, options: IngestOptions) -> Source | None:
    pa = require_pyarrow(f"reading a {type(records).__name__}")

    from .arrow.arrow import TableSource
    from .arrow.frames import frame_content
    from .libraries.pandas_index import with_range_column
    from .rows.frame_rows import FrameRows, FrameSource

    if isinstance(records, pa.Array | pa.ChunkedArray | pa.Scalar):
        raise ConfigurationError(f"records is a pyarrow {type(records).__name__}, which is one column; pass a Table")
    if isinstance(records, pa.RecordBatch):
        records = pa.Table.from_batches([records])
    if isinstance(records, pa.Table):
        return TableSource(with_range_column(records, tuple(options.drop)), options)
    if is_instance(records, "polars", "LazyFrame") and hasattr(records, "collect_batches"):
        return _lazy_source(records, options)
    content = frame_content(records)
    if isinstance(content, FrameRows):
        return FrameSource(content, options)
    if content is not None:
        return TableSource(content, options)
    return _streamed_source(records, options, pa)


def _lazy_source(frame: Any, options: IngestOptions) -> Source:
    """Return a source for a LazyFrame, which is computed in batches while the source is read."""
    from .arrow.arrow import BatchesSource, batches_of

    def batches() -> Iterator[Any]:
        return batches_of(frame.collect_batches(chunk_size=options.batch_rows, maintain_order=True))

    return BatchesSource(batches, options)


def _streamed_source(records: Any, options: IngestOptions, pa: Any) -> Source | None:
    from .arrow.arrow import BatchesSource, DatasetSource, is_whole, scan
    from .arrow.duckdb_json import reader_with_json
    from .libraries.pandas_index import refuse_range_column

    refuse_range_column(_schema_of(records), tuple(options.drop), f"the {type(records).__name__}")
    if hasattr(records, "get_fragments"):
        if is_whole(records):
            return DatasetSource(records, options)
        return BatchesSource(lambda: scan(records, options.batch_rows), options, can_read_again=True)
    if hasattr(records, "to_reader"):  # a Scanner of a dataset
        begun = OneShotIterable(records.to_reader())
        return BatchesSource(begun.take, options, on_durable=begun.forget)
    if hasattr(records, "__arrow_c_stream__"):
        # A RecordBatchReader continues where it stopped; any other object starts a new stream each time.
        given = records if isinstance(records, pa.RecordBatchReader) else None
        reader = reader_with_json(
            records, pa.RecordBatchReader.from_stream(records), lambda name: _is_read(name, options)
        )
        refuse_range_column(reader.schema, tuple(options.drop), f"the {type(records).__name__}")
        begun = OneShotIterable(reader, given=given)
        return BatchesSource(begun.take, options, on_durable=begun.forget)
    return None


def _is_read(name: str, options: IngestOptions) -> bool:
    """Return whether the column ``name`` is used. All columns are used if there is a ``transform``."""
    return options.transform is not None or is_kept(name, options.select, options.drop)


def _schema_of(records: Any) -> Any:
    """Return ``records.projected_schema`` (of a Scanner) or ``records.schema``; None if ``records`` has neither."""
    return getattr(records, "projected_schema", None) or getattr(records, "schema", None)


def _refuse_what_is_no_source(records: Any) -> None:
    if isinstance(records, type):
        raise ConfigurationError(f"records is the class {records.__qualname__}; pass a list of its objects")
    _refuse_other_forms(records)
    if inspect.isfunction(records) or inspect.ismethod(records):
        raise ConfigurationError(f"records is the function {records.__qualname__}; pass what it returns: call it")
    if inspect.iscoroutine(records):
        raise ConfigurationError("records is a coroutine; pass what it returns: await it first")
    if hasattr(records, "__aiter__"):
        raise ConfigurationError(
            "records is an async iterable: call await aingest(...) from an async function instead of ingest(...), or "
            "yield the rows from a plain generator"
        )
    if isinstance(records, Set):
        raise ConfigurationError("records is a set, whose order changes from run to run; pass a sorted list")
    if is_instance(records, f"{__package__}.sql.query", "SqlQuery"):
        raise ConfigurationError(
            "records is a SqlQuery: split it with split_source, and pass read_shard(query, shard) for each shard; or "
            "execute the query, and pass the cursor"
        )
    if is_record(records):
        raise ConfigurationError(f"records is one {type(records).__name__}; pass a list of records: [record]")
    if records is None or isinstance(records, str | bytes) or not isinstance(records, Iterable):
        raise ConfigurationError(f"records is {_describe(records)}; {_INSTEAD}")


def _refuse_other_forms(records: Any) -> None:
    """Raise ConfigurationError for dicts, open files and NumPy arrays, with advice on what to pass instead."""
    if isinstance(records, Mapping):
        if records and all(isinstance(value, list | tuple) for value in records.values()):
            raise ConfigurationError(
                "records is a dict of lists: if each list is a column, pass pyarrow.table(records); if the dict "
                "is one record, pass a list of records: [record]"
            )
        raise ConfigurationError("records is a dict, which is one record; pass a list of records: [record]")
    if isinstance(records, IOBase):
        raise ConfigurationError("records is an open file; pass its path, or the rows that you read from it")
    if type(records).__module__.partition(".")[0] == "numpy":
        raise ConfigurationError(
            "records is a numpy array; pass pandas.DataFrame(records, columns=…), with a name for each column"
        )


def _iterable_source(records: Iterable[Any], options: IngestOptions) -> Source:
    if isinstance(records, Sequence) and _is_sliceable(records):
        return _sequence_source(records, options)
    if inspect.isgenerator(records) and inspect.getgeneratorstate(records) == inspect.GEN_CLOSED:
        raise ConfigurationError("records is a generator that has already ended; call the generator function again")
    # A SQLAlchemy result makes a new iterator each time, but all of its iterators share the same rows.
    is_result = hasattr(type(records), "fetchmany")
    begun = OneShotIterable(records, given=records if is_result else None)
    first = begun.peek()
    if _is_columnar(first):
        return _batches_source(
            first, begun.take, options, can_read_again=begun.can_start_again, on_durable=begun.forget
        )
    return IterableSource(
        lambda: _checked(begun.take()),
        options,
        is_made_anew=not isinstance(records, Collection),
        can_read_again=begun.can_start_again,
        on_durable=begun.forget,
    )


def _is_sliceable(records: Sequence[Any]) -> bool:
    """Return whether the sequence can be sliced; a deque is a Sequence but cannot be sliced."""
    try:
        records[0:0]
    except (TypeError, KeyError, IndexError, NotImplementedError):
        return False
    return True


def _sequence_source(records: Sequence[Any], options: IngestOptions) -> Source:
    first = records[0] if len(records) else {}
    if _is_columnar(first):
        return _batches_source(first, lambda: records, options, can_read_again=True)
    if isinstance(first, str | os.PathLike) and _is_path(first):
        from .files.source import files_source

        return files_source([os.fspath(path) for path in records], options)
    _check_first(first)
    return SequenceSource(records, options)


def _is_path(first: str | os.PathLike[str]) -> bool:
    from .files.finding.found import looks_like_path

    return not isinstance(first, str) or looks_like_path(first)


def _is_columnar(item: Any) -> bool:
    return columnar_package(item) is not None


def _batches_source(
    first: Any,
    items: Callable[[], Iterable[Any]],
    options: IngestOptions,
    *,
    can_read_again: bool,
    on_durable: Callable[[], None] | None = None,
) -> Source:
    """Return a source for an iterable of data frames, Arrow tables or record batches.

    ``first`` is the first item of the iterable; it decides whether all items are read as Arrow data or as rows.
    """
    require_pyarrow(f"reading a {type(first).__name__}")

    from .arrow.arrow import BatchesSource, batches_of
    from .arrow.frames import is_read_as_rows, rows_of_frames

    if is_read_as_rows(first):
        return IterableSource(
            lambda: rows_of_frames(items()), options, can_read_again=can_read_again, on_durable=on_durable
        )

    return BatchesSource(
        lambda: batches_of(items(), options.drop), options, can_read_again=can_read_again, on_durable=on_durable
    )


def _checked(rows: Iterator[Any]) -> Iterator[Any]:
    for first in rows:
        _check_first(first)
        return chain([first], rows)
    return rows


def _check_first(record: Any) -> None:
    if shard_in(record) is not None:
        raise ConfigurationError(
            "records is a list of shards; pass one shard to each delivery (in Airflow, with expand())"
        )
    if is_record(record):
        _refuse_wrapped_object(record)
        return
    if isinstance(record, list | tuple | Iterator) and _holds_records(record):
        raise ConfigurationError(
            f"the first record is a {type(record).__name__} of records; pass all rows in one iterable: "
            "(row for page in records for row in page), or send each page with StreamManager.send"
        )
    if isinstance(record, list | tuple):
        raise ConfigurationError(
            f"the first record is a {type(record).__name__} of values without names; pass the cursor itself, rows with "
            "names (from row_factory or .mappings()), or (dict(zip(names, row)) for row in records)"
        )
    raise _no_record_error(record)


def _holds_records(page: Any) -> bool:
    return isinstance(page, Iterator) or not page or is_record(page[0])


def _refuse_wrapped_object(record: Any) -> None:
    """Raise ConfigurationError if ``record`` is a row whose only value is an object that SQLAlchemy maps to a table.

    ``session.execute(select(Order))`` returns such rows.
    """
    if hasattr(type(record), "_fields") and len(record) == 1 and hasattr(type(record[0]), "__mapper__"):
        raise ConfigurationError(
            f"each record is a row with one {type(record[0]).__name__} in it; pass result.scalars(), which gives the "
            "objects themselves"
        )


def _no_record_error(record: Any) -> ConfigurationError:
    if isinstance(record, str | bytes) and record.strip()[:1] in {"{", b"{"}:
        return ConfigurationError(
            f"the first record is {_describe(record)}, which seems to be JSON; pass (json.loads(line) for line in "
            "records)"
        )
    return ConfigurationError(
        f"the first record is {_describe(record)}; a record must be a dict (or dataclass, pydantic model, protobuf "
        "message) with one value for each column"
    )


def _describe(value: Any) -> str:
    if value is None:
        return "None (did the function that makes it return nothing?)"
    if isinstance(value, str):
        short = value if len(value) <= 40 else value[:37] + "..."  # noqa: PLR2004  # a line of a log
        return f"the text {short!r}"
    return f"of type {type(value).__module__}.{type(value).__qualname__}"
