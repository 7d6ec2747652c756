"""Lists the files of a path, a URI, a directory or a glob, and decides whether a given path would be listed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ....errors import ConfigurationError
from ....storage.filesystem import filesystem_of, is_local, translating_storage_errors
from ....storage.uris import shown_uri

__all__ = ["Location"]

_SIGNS = "*?["

Info = Mapping[str, Any]
"""The information that fsspec has about a file: its name, type, size and so on."""


class Location:
    """A path, URI, directory or glob that the user passed.

    Creating a Location raises ConfigurationError if the path does not exist, unless the path is a glob. If the storage
    fails, creating a Location raises TransportError or ConfigurationError.
    """

    def __init__(self, given: str) -> None:
        self.shown = shown_uri(given)
        """The path or URI for messages, without secrets."""
        self.fs, self._path = filesystem_of(given, f"cannot open {self.shown}")
        # fsspec caches listings for as long as the process lives, and files can have been added since then.
        self.fs.invalidate_cache()
        self._pattern: re.Pattern[str] | None = None
        self._file: Info | None = None
        with translating_storage_errors(f"cannot read {self.shown}"):
            self.root = self._root()
            """The directory below which ``name=value`` directories are partitions."""

    def _root(self) -> str:
        # exists() and isdir() alone cannot decide this: they return False if the storage fails.
        info = _info_of(self.fs, self._path)
        if info is not None:
            if info["type"] == "directory" or self.fs.isdir(self._path):
                return self._path.rstrip("/")
            self._file = info
            return str(self.fs._parent(self._path))
        if not any(sign in self._path for sign in _SIGNS):
            raise ConfigurationError(f"there is no file {self.shown}")

        from fsspec.utils import glob_translate

        self._pattern = re.compile(glob_translate(self._path))
        first_sign = min(self._path.find(sign) for sign in _SIGNS if sign in self._path)
        return self._path[:first_sign].rpartition("/")[0]

    def files(self) -> list[Info]:
        """Return fsspec's info about the single file, or about each file of the directory or glob; see ``each``."""
        return [self._file] if self._file is not None else list(self.each())

    def each(self) -> Iterator[Info]:
        """Yield fsspec's info about each file of a directory or glob.

        The whole list is kept in memory only if the file system has its own recursive listing. Files and directories
        whose names begin with ``_`` or ``.`` are ignored, except partitions such as ``_day=1``. Raises
        ConfigurationError for the directory of a Delta table, and for a local pipe, socket or device. If the listing is
        recursive, also raises ConfigurationError for a local link to a directory. If the storage fails, raises the same
        errors as creating the Location.
        """
        with translating_storage_errors(f"cannot read {self.shown}"):
            if self._pattern is None and _info_of(self.fs, f"{self.root}/_delta_log") is not None:
                raise ConfigurationError(
                    f"{self.shown} is a Delta table, whose files also contain deleted rows; "
                    "pass deltalake.DeltaTable(...).to_pyarrow_dataset() instead"
                )
            local = is_local(self.fs)
            for info in self._listed():
                if self._takes(path := str(info["name"])):
                    if local:
                        _check_regular(path)
                    yield info

    @property
    def is_one_file(self) -> bool:
        """Whether the path is a single file, not a directory or a glob."""
        return self._file is not None

    def takes(self, path: str) -> bool:
        """Return whether the listing of a directory or glob would contain ``path`` if a file existed there."""
        is_below = path.startswith(f"{self.root}/") and ".." not in path.split("/")
        return is_below and self._takes(path)

    def would_hold(self, fs: Any, path: str) -> bool:
        """Return whether the listing contains the file at ``path`` of ``fs``, or would contain it if it existed."""
        if fs != self.fs:
            return False
        if self._file is not None:
            return path == self._path
        if self._pattern is None and is_local(fs):
            return self._is_below(os.path.realpath(path), os.path.realpath(self.root))
        return self._is_below(path, self.root) and self._takes(path)

    def _is_below(self, path: str, root: str) -> bool:
        return path.startswith(f"{root}/") and not _is_hidden(path[len(root) :])

    def _takes(self, path: str) -> bool:
        is_meant = self._pattern is None or self._pattern.match(path) is not None
        return is_meant and not _is_hidden(path[len(self.root) :])

    def _listed(self) -> Iterable[Info]:
        if _lists_by_itself(self.fs):
            if self._pattern is None:
                return list(self.fs.find(self._path, detail=True).values())
            # Not find(): glob() can ask the storage only for names that begin like the pattern.
            found = self.fs.glob(self._path, detail=True).values()
            return [info for info in found if info["type"] == "file"]
        if self._pattern is None:
            return _below(self.fs, self._path, self.fs.ls(self._path, detail=True))
        try:
            listed = self.fs.ls(f"{self.root}/", detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        depth = None if "**" in self._path else self._path[len(self.root) + 1 :].count("/") + 1
        return _below(self.fs, self.root, listed, depth)


def _info_of(fs: Any, path: str) -> Info | None:
    try:
        info: Info = fs.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return info


def _lists_by_itself(fs: Any) -> bool:
    """Return whether ``fs`` has its own recursive listing.

    If not, ``_below`` lists the files: the default listing of fsspec silently omits directories that it cannot read.
    """
    from fsspec.asyn import AsyncFileSystem
    from fsspec.spec import AbstractFileSystem

    if isinstance(fs, AsyncFileSystem):
        return type(fs)._find is not AsyncFileSystem._find
    return type(fs).find is not AbstractFileSystem.find


def _below(fs: Any, directory: str, listed: Iterable[Info], depth: int | None = None) -> Iterator[Info]:
    """Yield fsspec's info about each file below ``directory``.

    ``listed`` has fsspec's info about the entries of ``directory``. Only files that are at most ``depth`` levels deep
    are yielded. If ``depth`` is None, files at any depth are yielded, and links to directories are not followed,
    because following them could lead in circles, or yield a file twice. In this case, a local link to a directory
    raises ConfigurationError, unless the name of the link is hidden.
    """
    for info in listed:
        name = str(info["name"])
        is_link = _is_linked_directory(fs, info)
        if is_link and depth is None:
            if not _is_hidden(name.rpartition("/")[2]):
                raise ConfigurationError(
                    f"{shown_uri(name)} is a link to a directory, and recursive listings do not follow links; "
                    "pass the directory that it points to, or move the link"
                )
        elif is_link or info["type"] == "directory":
            if name.rstrip("/") != directory.rstrip("/") and depth != 1:
                yield from _below(fs, name, fs.ls(name, detail=True), depth and depth - 1)
        else:
            yield info


def _check_regular(path: str) -> None:
    """Raise ConfigurationError for a pipe, a socket or a device: reading it could block or never end."""
    with suppress(OSError):  # the error is raised when the file is read
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ConfigurationError(
                f"{path} is not a regular file but a pipe, a socket or a device, which is not read together with other "
                "files; move it elsewhere"
            )


def _is_linked_directory(fs: Any, info: Info) -> bool:
    return bool(info.get("islink")) and is_local(fs) and os.path.isdir(str(info["name"]))


def _is_hidden(relative: str) -> bool:
    # Spark writes _SUCCESS next to its files. The name of a partition column can begin with an underscore.
    return any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in relative.split("/"))
