"""Asks the storage about single files, and builds the errors for files that have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError, DeliveredFileChangedError, FrozenFileError
from ...file_formats import format_of
from ...sources.files.finding.found import known_format, version_of
from ...storage.filesystem import is_local, modified_at, translating_storage_errors
from ...storage.uris import shown_uri
from ...wording import plural

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ...sources.files.finding.listing import Location
    from ..source import Bounds
    from .frozen import FrozenFile

__all__ = ["ask_storage", "changed_error", "check_formats", "check_unchanged", "is_same"]

_MAX_NAMED = 5
# Requests that are sent to an object store at the same time.
_ASKING = 16


def ask_storage(place: Location, paths: Sequence[str]) -> Iterator[Mapping[str, Any] | None]:
    """Yield the storage's current information about each file; yield None for a missing file."""

    def ask(path: str) -> Mapping[str, Any] | None:
        try:
            info: Mapping[str, Any] = place.fs.info(f"{place.root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return info

    place.fs.invalidate_cache()
    with translating_storage_errors(f"cannot read {place.shown}"):
        if is_local(place.fs) or len(paths) < 2:  # noqa: PLR2004 - one needs no thread
            yield from map(ask, paths)
            return
        with ThreadPoolExecutor(_ASKING, thread_name_prefix="zerobus-files") as pool:
            yield from pool.map(ask, paths)


def is_same(listed: Mapping[str, Any], asked: Mapping[str, Any], place: Location) -> bool:
    """Return whether ``listed`` (from a listing) and ``asked`` (from a request) show the same version of a file."""
    if int(listed.get("size") or 0) != int(asked.get("size") or 0):
        return False
    if is_local(place.fs):
        return bool(listed.get("mtime") == asked.get("mtime") and listed.get("ino") == asked.get("ino"))
    names = ("ETag", "etag", "generation", "version_id")
    if any(listed[key] != asked[key] for key in names if listed.get(key) and asked.get(key)):
        return False
    before, now = modified_at(listed), modified_at(asked)
    # Some storages round times in listings.
    return before is None or now is None or abs((now - before).total_seconds()) < 1


def check_unchanged(
    place: Location, bounds: Bounds, frozen: Sequence[FrozenFile], infos: Sequence[Mapping[str, Any] | None]
) -> None:
    """Raise FrozenFileError if files of a slice are missing, or have changed since the slice was frozen.

    ``infos`` holds the storage's current information about each file in ``frozen``; None for a missing file.
    """
    gone = [file.path for file, info in zip(frozen, infos, strict=True) if info is None]
    other = [
        file.path
        for file, info in zip(frozen, infos, strict=True)
        if info is not None and (int(info.get("size") or 0), version_of(place.fs, info)) != (file.size, file.asked)
    ]
    if not gone and not other:
        return
    what = [f"{len(gone)} gone ({_named(gone)})"] if gone else []
    what += [f"{len(other)} changed ({_named(other)})"] if other else []
    text = (
        f"files of slice {bounds.id} below {shown_uri(place.root)} are not as they were when the slice was frozen: "
        f"{'; '.join(what)}. "
    )
    if bounds.is_delivered:
        raise FrozenFileError(
            f"{text}The slice was delivered before and cannot be sent again unchanged, so nothing was sent. Put the "
            "original files back to send it again. The next run handles the changed files as on_changed says"
        )
    raise FrozenFileError(
        f"{text}No file was skipped. Put the files back; or leave single files out with `zerobus-ingest handoff "
        f"release --slice {bounds.id} --file F` (a changed file then counts as new), or give up the slice with "
        f"`zerobus-ingest handoff skip {bounds.id}`"
    )


def changed_error(paths: Sequence[str], place: Location) -> DeliveredFileChangedError:
    """Return the error for files whose content has changed since they were delivered."""
    return DeliveredFileChangedError(
        f"{len(paths)} {plural(len(paths), 'file')} below {shown_uri(place.root)} "
        f"{plural(len(paths), 'was', 'were')} delivered, but the content has changed since: "
        f"{_named(paths)}. No slice was frozen. Set on_changed to 'deliver' to send "
        "all of their rows, or to 'ignore' to send none of them; or accept single files with `zerobus-ingest handoff "
        "release --file F`"
    )


def _named(paths: Sequence[str]) -> str:
    named = ", ".join(paths[:_MAX_NAMED])
    return named if len(paths) <= _MAX_NAMED else f"{named} and {len(paths) - _MAX_NAMED} more"


def check_formats(place: Location, frozen: Sequence[FrozenFile], options: IngestOptions) -> None:
    """Raise ConfigurationError unless all files have the same, known format. Call this before a slice is frozen.

    A file whose extension shows no format is assumed to have the format ``options.format``. If ``options.format`` is
    set, all files must have this format.
    """
    chosen = None if options.format is None else format_of(options.format).name
    formats = {known_format(file.path) or chosen for file in frozen}
    if None in formats:
        unknown = next(file.path for file in frozen if known_format(file.path) is None)
        raise ConfigurationError(
            f"{unknown} below {shown_uri(place.root)}: its extension does not show its format; use a glob that "
            "leaves it out"
        )
    if len(formats) > 1 or (chosen and formats and formats != {chosen}):
        raise ConfigurationError(
            f"{place.shown} holds new files of {', '.join(sorted(map(str, formats)))}"
            f"{f', and options.format is for {chosen} files' if chosen else ''}; use a glob for files of one format"
        )
