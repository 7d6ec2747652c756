"""Chooses the files for the next slice: new files that have not changed for a while.

Delivered files that have changed are chosen, too, if ``on_changed`` is ``deliver``. A file that has changed since the
folder was listed is left for a later slice.

If ``in_order`` is True, the name of a new file must sort after the names of all earlier files, and the state keeps only
the last name of a slice. So if a file is left for a later slice, all files with later names are left for that slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ...sources.files.finding.found import version_of, versions_in
from ...storage.filesystem import modified_at
from ...storage.uris import shown_uri
from .frozen import FrozenFile
from .kept import read_ledger
from .ledger import Known, entries_of, entry_of
from .looking import ask_storage, check_formats, is_same

if TYPE_CHECKING:
    from ...sources.files.finding.listing import Location
    from ..source import Context

__all__ = ["Candidate", "NotDelivered", "bounded", "confirmed", "find_candidates", "not_delivered", "settled"]

NotDelivered = Callable[[list[str], list[str]], Iterator[tuple[int, Known]]]
"""A function of the paths and the versions of listed files. It yields the index of each new or changed file, with
``new`` or ``changed``."""

# How many files of the listing are looked up together.
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file that a listing of the folder contains.

    ``path`` is relative to the source's directory. ``listed`` is the file's version in the listing.
    """

    path: str
    info: Mapping[str, Any]
    size: int
    listed: str


def not_delivered(done: Mapping[str, Any], context: Context, *, in_order: bool) -> NotDelivered:
    """Return a function that finds the files whose present version was neither delivered nor released.

    A released version is one that a person has excluded. With ``in_order``, every file is treated as delivered unless
    its name comes after the last delivered name.
    """
    released = frozenset(bytes.fromhex(entry) for entry in done["released"])
    floor = done["floor"]
    if in_order:

        def by_name(paths: list[str], versions: list[str]) -> Iterator[tuple[int, Known]]:
            for number, path in enumerate(paths):
                is_old = floor is not None and path <= floor
                if not is_old and entry_of(path, versions[number]) not in released:
                    yield number, "new"

        return by_name
    ledger = read_ledger(done, context)

    def by_ledger(paths: list[str], versions: list[str]) -> Iterator[tuple[int, Known]]:
        for number, known in ledger.not_delivered(entries_of(paths, versions)):
            if not released or entry_of(paths[number], versions[number]) not in released:
                yield number, known

    return by_ledger


def find_candidates(place: Location, unknown: NotDelivered) -> tuple[list[Candidate], list[Candidate]]:
    """Return the new files, and the files that have changed since they were delivered.

    ``unknown`` is the function that ``not_delivered`` returned. Raises ConfigurationError for a file without a version.
    """
    start = len(place.root) + 1
    version_in = versions_in(place.fs)
    new: list[Candidate] = []
    changed: list[Candidate] = []
    listing = iter(place.each())
    while infos := list(islice(listing, _AT_ONCE)):
        paths = [str(info["name"])[start:] for info in infos]
        versions = _checked_versions(infos, list(map(version_in, infos)))
        for number, what in unknown(paths, versions):
            info = infos[number]
            size = int(info.get("size") or 0)
            candidate = Candidate(path=paths[number], info=info, size=size, listed=versions[number])
            (new if what == "new" else changed).append(candidate)
    return new, changed


def settled(
    place: Location, candidates: list[Candidate], context: Context, *, seconds: float, in_order: bool
) -> list[Candidate]:
    """Return the files whose last change was at least ``seconds`` seconds ago.

    With ``in_order``, stop at the first file that was changed more recently, and return only the files that precede it.
    """
    if not seconds or not candidates:
        return candidates
    now = (context.side_files.time_of(place.fs) if context.side_files else None) or context.now
    old: list[Candidate] = []
    for candidate in candidates:
        if _is_settled(candidate, now, seconds):
            old.append(candidate)
        elif in_order:
            break
    return old


def _is_settled(candidate: Candidate, now: datetime, seconds: float) -> bool:
    modified = modified_at(candidate.info)
    if modified is None:
        raise ConfigurationError(
            f"settle={seconds:g}: the storage of {shown_uri(str(candidate.info['name']))} does not say when files were "
            "changed; leave settle out"
        )
    return (now - modified).total_seconds() >= seconds


def bounded(candidates: list[Candidate], most_files: int | None, most_bytes: int | None) -> list[Candidate]:
    """Return as many of the first files as both limits allow, but at least one."""
    taken = candidates[:most_files]
    if most_bytes is None:
        return taken
    total = 0
    for count, candidate in enumerate(taken):
        total += candidate.size
        if count and total > most_bytes:
            return taken[:count]
    return taken


def confirmed(place: Location, taken: list[Candidate], context: Context, *, in_order: bool) -> list[FrozenFile]:
    """Ask the storage about each file again, and return the files that have not changed since they were listed.

    With ``in_order``, stop at the first file that has changed, and return only the files that precede it. Raises
    ConfigurationError if the returned files would not all have the same known format.
    """
    frozen: list[FrozenFile] = []
    for candidate, info in zip(taken, ask_storage(place, [one.path for one in taken]), strict=True):
        asked = None if info is None else version_of(place.fs, info)
        if info is None or asked is None or not is_same(candidate.info, info, place):
            if in_order:
                break
            continue
        frozen.append(FrozenFile(path=candidate.path, size=candidate.size, listed=candidate.listed, asked=asked))
    check_formats(place, frozen, context.options)
    return frozen


def _checked_versions(infos: Sequence[Mapping[str, Any]], versions: Sequence[str | None]) -> list[str]:
    checked = [version for version in versions if version is not None]
    if len(checked) < len(infos):
        name = str(infos[list(versions).index(None)]["name"])
        raise ConfigurationError(
            f"{shown_uri(name)}: the storage reports neither a version nor a time for this file, so nothing shows "
            "whether the file is new"
        )
    return checked
