"""Finds the files of a path, URI, directory or glob, in a fixed order; determines their format and versions."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from ....errors import ConfigurationError
from ....storage.filesystem import filesystem_of, is_local, translating_storage_errors
from ....storage.uris import shown_uri
from .compressed import open_compressed
from .listing import Location

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "FoundFile",
    "FoundFiles",
    "find_files",
    "found_file",
    "holds_no_files",
    "known_format",
    "local_content",
    "local_version",
    "looks_like_path",
    "version_of",
    "versions_in",
]

# Formats by the last extension of a file's name. An extension that shows compression, such as .gz, is ignored.
FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".json": "jsonl", ".arrow": "ipc", ".arrows": "ipc", ".feather": "ipc", ".ipc": "ipc", ".avro": "avro",
    ".xlsx": "excel", ".xlsm": "excel", ".xlsb": "excel", ".xls": "excel", ".ods": "excel",
}  # fmt: skip
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
EXTENSIONS = frozenset({*FORMATS, *_COMPRESSIONS})
"""The extensions, in lower case, that show a file's format, and those that show its compression."""
_KNOWN = ".parquet, .csv, .tsv, .jsonl, .ndjson, .json, .arrow, .feather, .ipc, .avro, .xlsx, .xls, .ods"
# Names under which storages report a value that normally changes when the file changes. The first one with a value is
# used.
_VERSIONS = (
    "ETag", "etag", "md5Hash", "content_md5", "version_id", "generation", "mtime", "LastModified", "last_modified",
    "updated", "modified", "modificationTime", "created", "CRC",
)  # fmt: skip
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """One file of a source."""

    fs: Any = field(repr=False)
    path: str = field(repr=False)
    """The path in the form that the file system uses. For HTTP this is the whole URI, including its secrets."""
    size: int
    version: str | None
    """A string that changes when the file changes, such as an ETag; None if the file has no version.

    For a local file, the version consists of the size, the modification time, the inode and the change time; if
    ``is_expected`` is True, it does not contain the change time.
    """
    part: tuple[int, int] | None = None
    """The rows to read: the position of the first row, and the position after the last row; None for all rows."""
    partitions: tuple[tuple[str, str | None], ...] = ()
    """Names and values of the ``name=value`` directories between the source's directory and the file.

    A value is None if the directory is Hive's name for NULL.
    """
    is_expected: bool = False
    """Whether ``version`` was recorded earlier, so that the file has changed if its version is now different."""

    @property
    def shown(self) -> str:
        """The path or URI for messages, without secrets."""
        return shown_uri(self.path)

    @property
    def is_local(self) -> bool:
        """Whether the file is on the machine's own file system."""
        return is_local(self.fs)

    @property
    def suffix(self) -> str:
        """The extension that shows the format, in lower case; ``.csv`` for both ``a.CSV`` and ``a.csv.gz``."""
        name = PurePosixPath(self.path)
        return (PurePosixPath(name.stem) if name.suffix.lower() in _COMPRESSIONS else name).suffix.lower()

    @property
    def compression(self) -> str | None:
        """The compression of the whole file, by its extension: gzip, bz2, xz or zstd; None for other extensions."""
        return _COMPRESSIONS.get(PurePosixPath(self.path).suffix.lower())

    def open(self) -> Any:
        """Open the file's uncompressed content as a binary file object."""
        if self.compression is None:
            return self.fs.open(self.path, "rb")
        return open_compressed(self.fs, self.path, self.compression)

    def watched(self) -> Callable[[], bool]:
        """Return a function that returns whether the file has been changed or removed.

        Each call of the function compares the file's present version with an earlier version. The earlier version is
        ``self.version`` if the file is local or ``is_expected`` is True. Otherwise it is the version that the file had
        when ``watched`` was called. For a local file, the change times in the versions are not compared. A change that
        leaves the version the same is not noticed.
        """
        # Some storages report a file's version differently in a listing than for a single file.
        if self.is_local:
            before = local_content(self.version)
            return lambda: local_content(self._version_now()) != before
        if self.is_expected:
            return lambda: self._version_now() != self.version
        found = self._version_now()
        return lambda: self._version_now() != found

    def _version_now(self) -> str | None:
        try:
            return _version(self.fs, self.fs.info(self.path))
        except FileNotFoundError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """The files of a source, in the order in which they are read."""

    given: str
    """The user's paths as text, for messages."""
    format: str
    files: tuple[FoundFile, ...]
    places: tuple[Location, ...] = field(repr=False)
    """The user's paths, as Locations."""

    def fingerprint(self, reading: Mapping[str, Any]) -> str | None:
        """Return a hash of ``reading``, the format, and the path, size, version and part of each file.

        ``reading`` contains the settings that change how the files are read. Returns None if a file has no version.
        """
        if any(file.version is None for file in self.files):
            return None
        facts = [self.format, reading, [_facts_of(file) for file in self.files]]
        digest = hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()
        return f"files:{len(self.files)}:{digest[:32]}"

    def would_hold(self, uri: str) -> bool:
        """Return whether a file at ``uri`` is one of these files, or would be one of them if it were written."""
        fs, path = filesystem_of(uri, f"cannot open {shown_uri(uri)}")
        if any(place.would_hold(fs, path) for place in self.places):
            return True
        with translating_storage_errors(f"cannot read {self.given}"):
            return (
                is_local(fs)
                and os.path.exists(path)
                and any(file.is_local and os.path.samefile(file.path, path) for file in self.files)
            )


def _facts_of(file: FoundFile) -> tuple[Any, ...]:
    facts = file.path, file.size, file.version
    return facts if file.part is None else (*facts, file.part)


def looks_like_path(text: str) -> bool:
    """Return whether ``text`` looks like a path: a URI, a glob, an existing path, or a name with a known extension."""
    if "://" in text or "::" in text:
        return True
    if "\n" in text or len(text) > 4_096:  # noqa: PLR2004 - no system has longer paths
        return False
    return _format_of(text) is not None or any(sign in text for sign in "*?[") or os.path.exists(text)


def find_files(given: str | Sequence[str], *, format: str | None = None, fallback: str | None = None) -> FoundFiles:
    """Find the files of one or more paths, URIs, directories or globs.

    Files in a directory or glob are sorted by path. Files and directories whose names begin with ``_`` or ``.`` are
    ignored, except partitions such as ``_day=1``. If ``given`` has several paths, their files are in the order of
    these paths. ``format`` is the format of all files, whatever their extensions; ``fallback`` is the format of files
    with an unknown extension. Raises ConfigurationError if a path has no files to read, if the format of a file is
    unknown, or if the files have several formats. Also raises the errors of Location.
    """
    places = [Location(place) for place in ([given] if isinstance(given, str) else given)]
    files = tuple(file for place in places for file in _found_at(place))
    shown = ", ".join(place.shown for place in places)
    formats = {format or _format_of(file.path) or fallback for file in files}
    if None in formats:
        unknown = next(file.shown for file in files if _format_of(file.path) is None)
        raise ConfigurationError(
            f"{unknown}: its extension does not show its format; known extensions are {_KNOWN}, also with .gz, "
            ".bz2, .xz or .zst. Unpack archives first, or name the files inside: zip://*.csv::archive.zip; for "
            'files with another extension, pass the format: IngestOptions(format="csv"), --format csv'
        )
    if len(formats) > 1:
        raise ConfigurationError(
            f"{shown} holds files of several formats ({sorted(map(str, formats))}); use a glob that matches files of "
            "only one format"
        )
    return FoundFiles(given=shown, format=str(formats.pop()), files=files, places=tuple(places))


def holds_no_files(place: str) -> bool:
    """Return whether a directory or glob has no files to read; False for a single file.

    Raises the errors of Location, such as ConfigurationError for a path that does not exist and is not a glob.
    """
    return not Location(place).files()


def _found_at(place: Location) -> list[FoundFile]:
    infos = place.files()
    if not infos:
        raise ConfigurationError(f"{place.shown} has no files to read; to deliver nothing, pass an empty list")
    return [_found(place.fs, info, place.root) for info in sorted(infos, key=lambda info: str(info["name"]))]


def _format_of(path: str) -> str | None:
    name = PurePosixPath(path)
    if name.suffix.lower() in _COMPRESSIONS:
        name = PurePosixPath(name.stem)
    return FORMATS.get(name.suffix.lower())


def _found(fs: Any, info: Mapping[str, Any], root: str) -> FoundFile:
    path = str(info["name"])
    return FoundFile(
        fs=fs,
        path=path,
        size=int(info.get("size") or 0),
        version=_version(fs, info),
        partitions=tuple(_partitions(path[len(root) :])),
    )


def _version(fs: Any, info: Mapping[str, Any]) -> str | None:
    if is_local(fs):
        return local_version(str(info["name"]))
    archive = getattr(fs, "of", None)
    if archive is not None:  # a member's time can be set to any value, or be missing
        return _version(archive.fs, archive.fs.info(archive.path))
    return next((str(info[key]) for key in _VERSIONS if info.get(key)), None)


def version_of(fs: Any, info: Mapping[str, Any]) -> str | None:
    """Return the version of the file that fsspec's ``info`` describes; None if the file has no version.

    The version of a local file does not contain the change time, because chmod and new links also change that time.
    """
    version = _version(fs, info)
    return local_content(version) if is_local(fs) else version


def versions_in(fs: Any) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a function that takes fsspec's info about a file of ``fs`` and returns the version of the file.

    The function returns None if the file has no version. For a local file or a file in an archive, the function returns
    the result of ``version_of``. For any other file, the function returns ``size:version``, where ``version`` is the
    version that ``version_of`` would return; ``version_of`` is slower, and is not called.
    """
    if is_local(fs) or getattr(fs, "of", None) is not None:
        return lambda info: version_of(fs, info)

    def version_in(info: Mapping[str, Any]) -> str | None:
        for key in _VERSIONS:
            if version := info.get(key):
                return f"{info.get('size') or 0}:{version}"
        return None

    return version_in


def known_format(path: str) -> str | None:
    """Return the format that a file's extension shows; None if the extension is unknown."""
    return _format_of(path)


def found_file(fs: Any, info: Mapping[str, Any], root: str, version: str) -> FoundFile:
    """Return a FoundFile with a ``version`` that was recorded earlier, so that changes since then are noticed."""
    path = str(info["name"])
    if is_local(fs):
        version = f"{version}:"  # without the change time, which chmod and new links change
    return FoundFile(
        fs=fs,
        path=path,
        size=int(info["size"]),
        version=version,
        partitions=tuple(_partitions(path[len(root) :])),
        is_expected=True,
    )


def local_version(path: str) -> str | None:
    """Return the version of a local file; None if ``path`` is not a regular file, or its status cannot be read.

    The version includes the change time (ctime), because no program can set it. The modification time is not enough:
    programs that copy files can set it to that of the original.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None  # the error is raised when the file is read
    if not stat.S_ISREG(status.st_mode):
        return None
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}:{status.st_ctime_ns}"


def local_content(version: str | None) -> str | None:
    """Return a local file's ``version`` without the change time, which chmod and new links also change."""
    return None if version is None else version.rpartition(":")[0]


def _partitions(relative: str) -> list[tuple[str, str | None]]:
    pairs = []
    for part in relative.split("/")[:-1]:
        name, sign, value = part.partition("=")
        if sign and name:
            pairs.append((unquote(name), None if value == _NO_PARTITION else unquote(value)))
    return pairs
