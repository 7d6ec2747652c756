"""A small file that is kept whole between tries: a local path, or any fsspec URI.

A local file is replaced atomically and is on the disk when a call returns.  An object store replaces an object as a
whole; elsewhere a write that breaks off may leave half a file, and whoever reads it must find that out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import ConfigurationError, TransportError
from .signals import is_of_signal

__all__ = ["KeptFile"]

_TAIL_STEP = 65_536


class KeptFile:
    """The file at ``uri``; ``what`` names it in errors, e.g. "checkpoint".

    Opens nothing when built.  Raises TransportError where the storage fails, ConfigurationError where it does not let
    us, or where nothing is installed for such a URI.
    """

    def __init__(self, uri: str | os.PathLike[str], what: str) -> None:
        self.uri = os.fspath(uri)
        self._what = what
        self._found: tuple[Any, str] | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is on the machine's own file system."""
        protocol = self._place()[0].protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def prepare(self) -> None:
        """Find out whether files can be kept there; makes the directory of a local one."""
        fs, path = self._place()
        with self._told("write"):
            if self.is_local:
                fs.makedirs(fs._parent(path), exist_ok=True)

    def read(self) -> bytes | None:
        """What is kept, or None."""
        fs, path = self._place()
        with self._told("read"), suppress(FileNotFoundError):
            data: bytes = fs.cat_file(path)
            return data
        return None

    def replace(self, data: bytes) -> None:
        """Keep ``data`` instead of what was kept."""
        fs, path = self._place()
        with self._told("write"):
            if self.is_local:
                _replace_local(Path(path), data)
            else:
                fs.makedirs(fs._parent(path), exist_ok=True)
                fs.pipe_file(path, data)

    def append_lines(self, lines: bytes, *, is_whole: Callable[[bytes], bool]) -> None:
        """Add whole lines to a local file.

        A last line without its end was left by a crash, and is taken off, or by an editor, and gets one:
        ``is_whole`` tells.
        """
        with self._told("write"):
            _append_local(Path(self._place()[1]), lines, is_whole)

    def _place(self) -> tuple[Any, str]:
        if self._found is None:
            from fsspec.core import url_to_fs

            try:
                fs, path = url_to_fs(os.path.expanduser(self.uri))
            except (ImportError, ValueError) as error:
                raise ConfigurationError(f"no {self._what} can be kept at {self.uri}: {error}") from error
            self._found = fs, str(path)
        return self._found

    @contextmanager
    def _told(self, verb: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            if is_of_signal(error):
                raise
            is_refused = isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError)
            told = ConfigurationError if is_refused else TransportError
            raise told(self._message(verb, error)) from error

    def _message(self, verb: str, error: OSError) -> str:
        return f"cannot {verb} the {self._what} at {self.uri}: {type(error).__name__}: {error}"


def _replace_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    # Without this the new name may be lost in a crash, and the old content comes back.
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _append_local(path: Path, lines: bytes, is_whole: Callable[[bytes], bool]) -> None:
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
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
