"""The frozen list of a slice's files: a JSON object, stored next to the state. This module does no I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .ledger import entry_of

__all__ = ["FrozenFile", "FrozenList", "from_list", "to_list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenFile:
    """A file as it was when the slice was frozen; ``path`` is relative to the source's root.

    ``listed`` is the version that the storage reports in a listing. ``asked`` is the version that the storage reports
    when it is asked for this file alone. Some storages report the same version in two different forms.
    """

    path: str
    size: int
    listed: str
    asked: str

    @property
    def entry(self) -> bytes:
        """This file's entry in the ledger."""
        return entry_of(self.path, self.listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenList:
    """The files of a slice, and the files that people have released from it since the slice was frozen."""

    files: tuple[FrozenFile, ...]
    released: tuple[tuple[int, FrozenFile], ...] = ()
    """The released files, in the order of release, each as a pair: the file's last index in ``files``, and the file."""

    def without(self, path: str) -> FrozenList:
        """Return a copy of the list with the file at ``path`` moved from ``files`` to ``released``.

        Return this list itself if the file is not in it.
        """
        for place, file in enumerate(self.files):
            if file.path == path:
                rest = self.files[:place] + self.files[place + 1 :]
                return FrozenList(files=rest, released=(*self.released, (place, file)))
        return self

    def earlier(self) -> list[tuple[FrozenFile, ...]]:
        """Return, for each release, the files of the slice just before this release; the latest release comes first.

        In a release, a person removes one file from the slice. The files before the release include the removed file.
        Attempts before the release may have delivered any of these files.
        """
        lists: list[tuple[FrozenFile, ...]] = []
        files = self.files
        for place, file in reversed(self.released):
            files = (*files[:place], file, *files[place:])
            lists.append(files)
        return lists


def to_list(frozen: FrozenList) -> bytes:
    """Return the list as the bytes that are stored."""
    plain: dict[str, Any] = {"format": "zerobus-handoff-files", "version": 1, "files": list(map(_row, frozen.files))}
    if frozen.released:
        plain["released"] = [[place, *_row(file)] for place, file in frozen.released]
    return json.dumps(plain).encode()


def from_list(data: bytes) -> FrozenList:
    """Read the result of ``to_list``; raise ValueError, KeyError or TypeError if ``data`` is not a frozen list."""
    plain: Any = json.loads(data)
    if not isinstance(plain, dict) or (plain.get("format"), plain.get("version")) != ("zerobus-handoff-files", 1):
        raise ValueError("it is not a list of files in format version 1")
    released = tuple((_place(place), _file(row)) for place, *row in plain.get("released", ()))
    return FrozenList(files=tuple(map(_file, plain["files"])), released=released)


def _row(file: FrozenFile) -> list[Any]:
    return [file.path, file.size, file.listed, file.asked]


def _place(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not an index of the list")
    return value


def _file(row: Any) -> FrozenFile:
    path, size, listed, asked = row
    if not all(isinstance(text, str) for text in (path, listed, asked)) or type(size) is not int:
        raise ValueError(f"{row!r} is not a file")
    return FrozenFile(path=path, size=size, listed=listed, asked=asked)
