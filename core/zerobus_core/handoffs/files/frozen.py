"""The frozen list of files of a slice: one JSON object, kept next to the state.  Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .ledger import entry_of

__all__ = ["FrozenFile", "from_list", "to_list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenFile:
    """One file as it was when the slice was frozen; ``path`` is relative to the source's root.

    ``listed`` is its version as a listing of the storage says it, ``asked`` as the storage says it of one file: some
    storages use other words.
    """

    path: str
    size: int
    listed: str
    asked: str

    @property
    def entry(self) -> bytes:
        """What the ledger keeps of it."""
        return entry_of(self.path, self.listed)


def to_list(files: Sequence[FrozenFile]) -> bytes:
    """The list as it is kept."""
    rows = [[file.path, file.size, file.listed, file.asked] for file in files]
    return json.dumps({"format": "zerobus-handoff-files", "version": 1, "files": rows}).encode()


def from_list(data: bytes) -> list[FrozenFile]:
    """Read what ``to_list`` wrote; raises ValueError for anything else."""
    plain: Any = json.loads(data)
    if not isinstance(plain, dict) or (plain.get("format"), plain.get("version")) != ("zerobus-handoff-files", 1):
        raise ValueError("it is not a list of files of version 1")
    return [_file(row) for row in plain["files"]]


def _file(row: Any) -> FrozenFile:
    path, size, listed, asked = row
    if not all(isinstance(text, str) for text in (path, listed, asked)) or type(size) is not int:
        raise ValueError(f"{row!r} is not a file")
    return FrozenFile(path=path, size=size, listed=listed, asked=asked)
