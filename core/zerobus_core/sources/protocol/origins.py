"""A source whose chunks say from which file each row comes, for the option ``metadata_columns``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from .source import ChangedSource, Source, combined_fingerprint

if TYPE_CHECKING:
    from ...batch import Chunk
    from ...ranges import RowRanges

__all__ = ["OriginSource"]


class OriginSource(ChangedSource):
    """A source that has the rows of another source; if the rows are from files, its chunks contain the rows' origins.

    Raises ConfigurationError if ``metadata_columns`` asks for file names and the other source has no files.
    """

    def __init__(self, source: Source, metadata_columns: Mapping[str, str]) -> None:
        super().__init__(source)
        self._columns = dict(metadata_columns)
        if not source.has_files and (asked := sorted({"file_name", "file_path"} & set(self._columns))):
            raise ConfigurationError(
                f"options.metadata_columns asks for {' and '.join(asked)}, but the rows do not come from files with "
                "names; leave file names out of the option, or pass the paths of the files"
            )

    def __repr__(self) -> str:
        return f"OriginSource({self._source!r}, {self._columns})"

    def chunks(self, skip: RowRanges) -> Iterator[Chunk]:
        """Yield the chunks of the underlying source; add the origins of their rows if that source has files."""
        for chunk in self._source.chunks(skip):
            if self.has_files and len(chunk.rows):
                yield replace(chunk, origins=tuple(self._source.origins(chunk.first_row, chunk.stop_row)))
            else:
                yield chunk

    def _find_fingerprint(self) -> str | None:
        return combined_fingerprint(self._source.fingerprint, {"metadata_columns": sorted(self._columns.items())})
