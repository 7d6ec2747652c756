"""Finds the class that reads a format. Each class is imported when it is needed, together with its library."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...file_formats import CsvFormat, ExcelFormat, FileFormatOption, JsonFormat
from ...optional_imports import require_calamine, require_fastavro, require_pyarrow

if TYPE_CHECKING:
    from .finding.found import FoundFiles
    from .formats.file_format import FileFormat

__all__ = ["reader_of"]

Maker = Callable[["FoundFiles", FileFormatOption | None, tuple[str, ...]], "FileFormat"]


def reader_of(found: FoundFiles, chosen: FileFormatOption | None, dropped: tuple[str, ...]) -> FileFormat:
    """Return the reader for the files of ``found``, with the settings of ``chosen`` if they are for this format.

    ``dropped`` are the column names in ``options.drop``. Raises ConfigurationError if a library that the format needs
    is missing. The first file may be read to find the reader; errors of this file's decoder are not translated.
    """
    return _MAKERS[found.format](found, chosen, dropped)


def _parquet(found: FoundFiles, _chosen: FileFormatOption | None, dropped: tuple[str, ...]) -> FileFormat:
    require_pyarrow(_reading(found))
    from .formats.parquet import DeadLetterFormat, ParquetFormat, holds_dead_letters

    return DeadLetterFormat() if holds_dead_letters(found.files[0]) else ParquetFormat(dropped)


def _csv(found: FoundFiles, chosen: FileFormatOption | None, _dropped: tuple[str, ...]) -> FileFormat:
    require_pyarrow(_reading(found))
    from .formats.csv import CsvReader

    return CsvReader(chosen if isinstance(chosen, CsvFormat) else None)


def _ipc(found: FoundFiles, _chosen: FileFormatOption | None, dropped: tuple[str, ...]) -> FileFormat:
    require_pyarrow(_reading(found))
    from .formats.ipc import IpcFormat

    return IpcFormat(dropped)


def _excel(found: FoundFiles, chosen: FileFormatOption | None, _dropped: tuple[str, ...]) -> FileFormat:
    require_calamine(_reading(found))
    from .formats.excel import ExcelReader

    return ExcelReader(chosen if isinstance(chosen, ExcelFormat) else None)


def _avro(found: FoundFiles, _chosen: FileFormatOption | None, _dropped: tuple[str, ...]) -> FileFormat:
    require_fastavro(_reading(found))
    from .formats.avro import AvroFormat

    return AvroFormat()


def _json_lines(_found: FoundFiles, chosen: FileFormatOption | None, _dropped: tuple[str, ...]) -> FileFormat:
    from .formats.json_lines import JsonLinesFormat

    return JsonLinesFormat(chosen if isinstance(chosen, JsonFormat) else None)


def _reading(found: FoundFiles) -> str:
    return f"reading {found.files[0].shown}"


_MAKERS: dict[str, Maker] = {
    "parquet": _parquet,
    "csv": _csv,
    "ipc": _ipc,
    "excel": _excel,
    "avro": _avro,
    "jsonl": _json_lines,
}
