"""Replaces small files as a whole, at local paths or any fsspec URIs; can also append lines to a local file.

A local file is replaced atomically and keeps its mode; if the path is a link, the file that it points to is replaced.
When a write to a local file returns, the content is on disk. An object store replaces whole objects. On other storages
an interrupted write can leave a damaged file, which the reader must detect.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import uuid4

from .filesystem import filesystem_of, is_local, translating_storage_errors
from .uris import shown_uri

__all__ = ["KeptFile"]

_OTHER_KINDS = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)  # fmt: skip
_TAIL_STEP = 65_536


class KeptFile:
    """The file at ``uri``. Error messages call the file ``what``, for example "checkpoint".

    Creating the object opens nothing. Methods raise TransportError if the storage fails, and ConfigurationError if
    retrying cannot help, for example because access is denied or the library for the URI is not installed.
    """

    def __init__(self, uri: str | os.PathLike[str], what: str, *, new_mode: int | None = None) -> None:
        """Build the object.

        If no local file exists yet, ``replace`` gives the new file the mode ``new_mode``. If ``new_mode`` is None, the
        umask determines the mode.
        """
        self.uri = os.fspath(uri)
        self._what = what
        self._new_mode = new_mode
        self._found: tuple[Any, str] | None = None

    @property
    def is_local(self) -> bool:
        """Whether the file is on the machine's own file system."""
        return is_local(self._place()[0])

    def prepare(self) -> None:
        """Prepare for writing: find the file system; if it is local, check the path and create the file's directory.

        The check fails if something other than a regular file, such as a directory, is at the path. The permission
        to write is not checked.
        """
        path = self._place()[1]
        with self._translating_errors("write"):
            if self.is_local:
                _check_regular(path)
                _make_directory(Path(path).parent)

    def is_at(self, uri: str) -> bool:
        """Return whether ``uri`` refers to this file."""
        fs, path = self._place()
        other, place = filesystem_of(uri, f"cannot open {shown_uri(uri)}")
        if is_local(fs) and is_local(other):
            return os.path.realpath(path) == os.path.realpath(place)
        return fs == other and path == place

    def read(self) -> bytes | None:
        """Return the content of the file, or None if it does not exist."""
        fs, path = self._place()
        with self._translating_errors("read"), suppress(FileNotFoundError):
            if self.is_local:
                _check_regular(path)
            data: bytes = fs.cat_file(path)
            return data
        return None

    def replace(self, data: bytes) -> None:
        """Replace the content of the file with ``data``."""
        fs, path = self._place()
        with self._translating_errors("write"):
            if self.is_local:
                _replace_local(Path(path), data, self._new_mode)
            else:
                fs.makedirs(fs._parent(path), exist_ok=True)
                fs.pipe_file(path, data)

    def append_lines(self, lines: bytes, *, is_whole: Callable[[bytes], bool]) -> None:
        """Append lines, each with its line end, to a local file.

        If the file's last line has no line end, ``is_whole`` is called with the line. If it returns True, the line
        is complete and gets a line end (an editor may have removed it). If it returns False, the line is incomplete,
        because a crash interrupted the write, and is removed. If the file is empty or ends with a line end,
        ``is_whole`` is called with ``b""``, and must return False.
        """
        with self._translating_errors("write"):
            path = self._place()[1]
            _check_regular(path)
            _append_local(Path(path), lines, is_whole)

    def _place(self) -> tuple[Any, str]:
        if self._found is None:
            self._found = filesystem_of(self.uri, f"no {self._what} can be kept at {shown_uri(self.uri)}")
        return self._found

    def _translating_errors(self, verb: str) -> AbstractContextManager[None]:
        return translating_storage_errors(f"cannot {verb} the {self._what} at {shown_uri(self.uri)}")


def _check_regular(path: str | os.PathLike[str]) -> None:
    """Raise FileExistsError if ``path`` is a directory, pipe, device or socket: reading it could block or never end."""
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for is_kind, name in _OTHER_KINDS if is_kind(mode)), "something else")
            raise FileExistsError(f"it is {kind}, but only a regular file is read or replaced")


def _replace_local(path: Path, data: bytes, new_mode: int | None = None) -> None:
    path = Path(os.path.realpath(path))  # a link stays one
    _check_regular(path)
    _make_directory(path.parent)
    temporary = path.with_name(f".zerobus-{uuid4().hex}")
    try:
        # Not created by tempfile: only the user who creates such a file can read it.
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new_mode is not None and not path.exists():
            temporary.chmod(new_mode)
        _take_mode(temporary, path)
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    # Without this, a crash can undo the renaming, and the old content comes back.
    _sync_directory(path.parent)


def _make_directory(path: Path) -> None:
    """Create a directory and its missing parents, and sync them to disk, so that they still exist after a crash."""
    missing = list(takewhile(lambda each: not each.exists(), (path, *path.parents)))
    path.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        _sync_directory(made.parent)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _take_mode(new: Path, old: Path) -> None:
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(old.stat().st_mode)
        if stat.S_IMODE(new.stat().st_mode) != mode:
            new.chmod(mode)


def _append_local(path: Path, lines: bytes, is_whole: Callable[[bytes], bool]) -> None:
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            # The file may be new: without this, a crash can undo its creation. It is done before anything is written,
            # so that the directory entry of a file with content is always on disk.
            _sync_directory(Path(os.path.realpath(path)).parent)
        tail = b""
        while size and b"\n" not in tail:
            step = min(size, _TAIL_STEP)
            size = file.seek(size - step)
            tail = file.read(step) + tail
        last = tail[tail.rfind(b"\n") + 1 :]
        if is_whole(last):
            file.write(b"\n")
        else:
            file.truncate(size + len(tail) - len(last))
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
