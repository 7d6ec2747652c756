"""Finds the fsspec file system of a path or URI, and translates the errors that storages raise into ours."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from ..errors import ConfigurationError, TransportError, ZerobusIngestError
from ..process.signals import is_of_signal
from ..wording import plural
from .uris import without_secrets

__all__ = [
    "UriWithFilesystem",
    "changed_file_error",
    "filesystem_of",
    "is_local",
    "modified_at",
    "translating_storage_errors",
    "unreadable_file_error",
]

# What storages call the time of the last change of a file.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "modificationTime", "created")
# Packages whose errors are about a storage or the connection to it; not all of these errors are OSErrors.
_STORAGES = {
    "aiobotocore", "aiohttp", "azure", "botocore", "ftplib", "google", "http", "httpx", "paramiko", "requests",
    "urllib3",
}  # fmt: skip
# Retrying cannot fix these.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
# Errors can be chained in a circle.
_LONGEST_CHAIN = 100


class UriWithFilesystem(str):
    """A URI that has its own fsspec file system, ``fs``.

    For any other URI, ``filesystem_of`` lets fsspec create a file system from the settings of the process.
    """

    fs: Any
    path: str

    __slots__ = ("fs", "path")

    def __new__(cls, uri: str, fs: Any, path: str) -> UriWithFilesystem:
        """Build the URI; ``fs`` is an fsspec file system with its credentials, ``path`` is the path in ``fs``."""
        self = super().__new__(cls, uri)
        self.fs = fs
        self.path = path
        return self


def filesystem_of(uri: str, failure: str) -> tuple[Any, str]:
    """Return the file system of a path or fsspec URI, and the path within that file system.

    The text of an error starts with ``failure``, as in ``translating_storage_errors``. Some kinds of file systems
    (FTP, SFTP) open a connection here.
    """
    if isinstance(uri, UriWithFilesystem):
        return uri.fs, uri.path
    from fsspec.core import url_to_fs

    with translating_storage_errors(failure):
        fs, path = url_to_fs(os.path.expanduser(uri))
    return fs, str(path)


def is_local(fs: Any) -> bool:
    """Return whether ``fs`` is the machine's own file system."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def modified_at(info: Any) -> datetime | None:
    """Return the time of a file's last change, by the clock of its storage; None if fsspec's ``info`` has no time.

    If ``info`` has only the time of the file's creation, that time is returned.
    """
    for key in _TIMES:
        value = info.get(key)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
    return None


@contextmanager
def translating_storage_errors(failure: str) -> Generator[None]:
    """Translate errors that a storage raises inside the ``with`` block into ours.

    The text of the error starts with ``failure``, which says what cannot be done, and where. If retrying might help,
    because the storage or the connection to it failed, the error is a TransportError. Otherwise, for example for a
    PermissionError, it is a ConfigurationError. Our errors, and exceptions that signal handlers raise, are passed on
    unchanged.
    """
    try:
        yield
    except ZerobusIngestError:
        raise
    except Exception as error:  # every storage has errors of its own
        if is_of_signal(error):
            raise
        ours = _read_error(failure, error, is_passing=_is_passing(error))
        raise ours from ours.__cause__


def unreadable_file_error(path: str, error: Exception, rows: int | None = None) -> ConfigurationError | TransportError:
    """Return the error for a file that cannot be read; ``rows`` is the number of rows read before the error.

    The error is retryable if the storage failed, but not if the file is damaged or missing, or if access is denied.
    """
    after = f" after {rows} {plural(rows, 'row')}" if rows else ""
    return _read_error(f"cannot read {path}{after}", error, is_passing=_is_passing(error, is_decoded=True))


def changed_file_error(path: str) -> TransportError:
    """Return the error for a file that was changed or removed while it was read.

    The error is retryable; the next attempt reads the file from its first row.
    """
    return TransportError(
        f"{path} was changed or removed while it was read, and rows of two versions of it may have been sent; "
        "deliver the file again once it is complete: the next delivery starts at its first row"
    )


def _is_passing(error: Exception, *, is_decoded: bool = False) -> bool:
    if (type(error).__module__ or "").partition(".")[0] in _STORAGES:
        return True
    if not isinstance(error, OSError) or isinstance(error, _FINAL):
        return False
    # gzip and similar modules raise an OSError without errno for a damaged file; a failing storage sets errno.
    return not is_decoded or error.errno is not None or isinstance(error, ConnectionError | TimeoutError)


def _read_error(failure: str, error: Exception, *, is_passing: bool) -> ConfigurationError | TransportError:
    kind = TransportError if is_passing else ConfigurationError
    ours = kind(without_secrets(f"{failure}: {type(error).__name__}: {error}"))
    # A traceback shows the texts of all causes, so the cause is kept only if none of these texts has a secret.
    texts = list(map(str, _chain(error)))
    ours.__cause__ = error if texts == list(map(without_secrets, texts)) else None
    return ours


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__
