"""Divides a slice of files into parts; a part lists the files, or the rows of large files, that one worker reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from ...errors import HandoffStateError
from ...sources.files.finding.found import FoundFile, FoundFiles, found_file, known_format
from ...sources.shards.files import file_shards
from ..parts import Parts, list_of_parts
from .kept import side_files

if TYPE_CHECKING:
    from ...sources.files.finding.listing import Location
    from ..source import Bounds, Context
    from .frozen import FrozenFile

__all__ = ["Piece", "found_files", "parts_of_files", "pieces_of", "read_part"]

Piece: TypeAlias = tuple[str, tuple[int, int] | None]
"""A path relative to the source's root, and the rows to read in this file, as (start, stop); None for all rows."""

_FORMAT = {"format": "zerobus-handoff-shards", "version": 1}


def found_files(place: Location, files: Sequence[FrozenFile]) -> list[FoundFile]:
    """Convert each frozen file, with its frozen version, to the FoundFile that the core reads."""
    return [
        found_file(place.fs, {"name": f"{place.root}/{file.path}", "size": file.size}, place.root, file.asked)
        for file in files
    ]


def pieces_of(pieces: Sequence[Piece], place: Location, files: Sequence[FrozenFile]) -> list[FoundFile]:
    """Convert the pieces of one part to the FoundFile objects that the core reads.

    ``files`` are the files that the slice contains now. If a person has released a file since the slice was split,
    ``files`` does not contain this file, and its pieces are omitted from the result.
    """
    found = {file.path: each for file, each in zip(files, found_files(place, files), strict=True)}
    return [replace(found[path], part=rows) for path, rows in pieces if path in found]


def parts_of_files(frozen: Sequence[FrozenFile], place: Location, n: int) -> Parts:
    """Divide the files into at most ``n`` parts of about equal size; only large Parquet files are cut.

    Blocks while the footers of large Parquet files are read.
    """
    files = tuple(found_files(place, frozen))
    kind = known_format(files[0].path) if files else None
    groups = file_shards(FoundFiles(given=place.shown, format=kind or "", files=files, places=(place,)), n)
    start = len(place.root) + 1
    listed = [[[file.path[start:], file.part] for file in group] for group, _ in groups]
    sizes = [{"files": len(group), "bytes": size} for group, size in groups]
    data = json.dumps({**_FORMAT, "shards": listed}).encode()
    return Parts(sizes=sizes or [{"files": 0, "bytes": 0}], ends=[None] * max(1, len(sizes)), files=data)


def read_part(bounds: Bounds, index: int, context: Context) -> list[Piece]:
    """Return the pieces of one part, from the list of parts that is stored next to the state.

    Raises HandoffStateError if this list is missing or damaged.
    """
    name = list_of_parts(bounds.id)
    data = side_files(context).read(name)
    where = f"the list of the shards of slice {bounds.id} next to {context.shown}"
    if data is None:
        raise HandoffStateError(f"{where} ({name}) is missing")
    try:
        return _pieces(json.loads(data), index)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise HandoffStateError(f"{where} ({name}) is damaged: {error}") from error


def _pieces(plain: Any, index: int) -> list[Piece]:
    if {key: plain[key] for key in _FORMAT} != _FORMAT:
        raise ValueError("it is not a list of shards in format version 1")
    return [
        (str(path), None if rows is None else (int(rows[0]), int(rows[1]))) for path, rows in plain["shards"][index]
    ]
