"""``NewFiles``: the files of a folder or glob that were not delivered before."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ...errors import ConfigurationError, FrozenFileError
from ...sources.files.finding.found import FoundFile, versions_in
from ...sources.files.finding.listing import Location
from ...sources.files.source import source_of_files
from ...storage.filesystem import filesystem_of
from ...storage.uris import shown_uri
from ..parts import list_of_parts
from ..source import Bounds, Context, Plan
from .arguments import check_fixed_part, checked_bound, checked_seconds
from .candidates import Candidate, bounded, confirmed, find_candidates, not_delivered, settled
from .frozen import FrozenFile, FrozenList, to_list
from .groups import found_files, parts_of_files, pieces_of, read_part
from .kept import list_name, read_ledger, read_list, side_files, write_ledger
from .ledger import entry_of
from .looking import ask_storage, changed_error, check_unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...options import IngestOptions
    from ..parts import Parts
    from ..state import PastSlice, Position

__all__ = ["NewFiles"]

OnChanged = Literal["fail", "deliver", "ignore"]

# The most released files that are remembered; each takes 36 characters in every position that the state holds.
_MAX_RELEASED = 1_000
# The most files released from one slice that are remembered by name.
_MAX_NAMED = 20
_NOTHING: dict[str, Any] = {"ledger": None, "files": 0, "floor": None, "released": []}


class NewFiles:
    """The files below ``path`` that were not delivered before. ``path`` is a directory or a glob on any fsspec storage.

    A file is taken only if it has been unchanged for at least ``settle`` seconds. The storage's clock decides this if
    the state is on the same storage; otherwise, this machine's clock decides. ``max_files`` and ``max_bytes`` limit one
    slice, which contains at least one file; the other files wait for the next run. ``on_changed`` says what to do about
    a delivered file that has changed: ``fail`` (raise DeliveredFileChangedError), ``deliver`` (send all of its rows, as
    for a new file) or ``ignore`` (send none of its rows).

    ``names_increase=True`` promises that the name of each new file sorts after the names of all earlier files. Then the
    state keeps only the last name: a file that arrives late with a lower name is never delivered, and changes to
    delivered files are not noticed.
    """

    kind = "files"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        settle: float = 0.0,
        max_files: int | None = None,
        max_bytes: int | None = None,
        on_changed: OnChanged = "fail",
        names_increase: bool = False,
    ) -> None:
        if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
            raise ConfigurationError(f"path must be a path, a glob or a URI, not {type(path).__name__}")
        self._path = os.path.expanduser(os.fspath(path))
        self._settle = checked_seconds(settle)
        self._max_files = checked_bound("max_files", max_files)
        self._max_bytes = checked_bound("max_bytes", max_bytes)
        if on_changed not in ("fail", "deliver", "ignore"):
            raise ConfigurationError(f"on_changed must be 'fail', 'deliver' or 'ignore', not {on_changed!r}")
        self._on_changed = on_changed
        self._names_increase = bool(names_increase)
        check_fixed_part(self._path)

    def __repr__(self) -> str:
        return f"NewFiles({shown_uri(self._path)!r})"

    def identity(self) -> dict[str, Any]:
        """See HandoffSource."""
        path = self._path if "://" in self._path or "::" in self._path else os.path.abspath(self._path)
        return {"path": shown_uri(path), "names_increase": self._names_increase}

    def prepare(self, context: Context) -> None:
        """See HandoffSource."""
        if context.side_files is None:
            raise ConfigurationError(
                f"NewFiles keeps a list of delivered files, which {context.shown} cannot store: pass the path or "
                "URI of a file as state (state_uri in Airflow and Dagster)"
            )
        if context.uri is not None and self._place().would_hold(
            *filesystem_of(context.uri, f"cannot open {context.shown}")
        ):
            raise ConfigurationError(
                f"the state at {context.shown} lies among the files that are delivered, and would be read as rows; "
                "choose another place for the state"
            )

    def options(self, bounds: Bounds, options: IngestOptions) -> IngestOptions:
        """See HandoffSource."""
        return options

    # freezing

    def plan(
        self,
        done: Position,
        last: PastSlice | None,
        context: Context,
    ) -> tuple[Plan | None, dict[str, Any]]:
        """See HandoffSource."""
        done = done or _NOTHING
        place = self._place()
        candidates, changed = find_candidates(place, not_delivered(done, context, in_order=self._names_increase))
        notes: dict[str, Any] = {}
        if changed:
            if self._on_changed == "fail":
                raise changed_error([one.path for one in changed], place)
            notes["changed"] = len(changed)
        if self._on_changed == "deliver":
            candidates += changed
        candidates.sort(key=lambda candidate: candidate.path)
        old = settled(place, candidates, context, seconds=self._settle, in_order=self._names_increase)
        taken = bounded(old, self._max_files, self._max_bytes)
        frozen = confirmed(place, taken, context, in_order=self._names_increase)
        if len(old) < len(candidates):
            notes["unsettled"] = len(candidates) - len(old)
        if len(frozen) < len(taken):
            notes["unsettled"] = notes.get("unsettled", 0) + len(taken) - len(frozen)
        if not frozen:
            return None, notes
        return self._planned(done, frozen, remaining=len(taken) < len(old)), notes

    def _planned(self, done: Mapping[str, Any], frozen: list[FrozenFile], *, remaining: bool) -> Plan:
        end = {**done, "files": done["files"] + len(frozen)}
        if self._names_increase:
            end["floor"] = frozen[-1].path
        facts = {"files": len(frozen), "bytes": sum(file.size for file in frozen)}
        return Plan(end=end, facts=facts, files=to_list(FrozenList(files=tuple(frozen))), remaining=remaining)

    # reading

    @contextmanager
    def open(self, bounds: Bounds, options: IngestOptions, context: Context) -> Generator[Any]:
        """See HandoffSource."""
        yield self._opened(bounds, read_list(bounds, context), options, found_files)

    def split(self, bounds: Bounds, n: int, context: Context) -> Parts:
        """See SplittableSource.

        The parts have about the same number of bytes; large Parquet files are cut between row groups.
        """
        frozen = read_list(bounds, context).files
        place = self._place()
        check_unchanged(place, bounds, frozen, list(ask_storage(place, [file.path for file in frozen])))
        return parts_of_files(frozen, place, n)

    @contextmanager
    def open_part(self, bounds: Bounds, index: int, options: IngestOptions, context: Context) -> Generator[Any]:
        """See SplittableSource."""
        pieces = read_part(bounds, index, context)
        yield self._opened(bounds, read_list(bounds, context), options, partial(pieces_of, pieces))

    def _opened(
        self,
        bounds: Bounds,
        kept: FrozenList,
        options: IngestOptions,
        found_in: Callable[[Location, Sequence[FrozenFile]], list[FoundFile]],
    ) -> Any:
        """Return a source for the files that ``found_in`` selects from ``kept``, or an empty list if it selects none.

        Raises FrozenFileError if one of the selected files is missing, has changed, or does not match the path.
        """
        place = self._place()
        files = found_in(place, kept.files)
        if not files:
            return []
        paths = {file.path for file in files}
        frozen = [file for file in kept.files if f"{place.root}/{file.path}" in paths]
        for file in frozen:
            if not place.takes(f"{place.root}/{file.path}"):
                raise FrozenFileError(
                    f"slice {bounds.id} holds {file.path!r}, which does not match {place.shown}: the state or the "
                    "source was changed from outside"
                )
        infos = list(ask_storage(place, [file.path for file in frozen]))
        check_unchanged(place, bounds, frozen, infos)
        earlier = [found_in(place, files) for files in kept.earlier()]
        if any(file.part for file in files):  # after a release, a delivery of parts of files starts over
            earlier = []
        return source_of_files(files, place, options, earlier=earlier)

    # afterwards

    def settled(self, bounds: Bounds, context: Context) -> Position:
        """See HandoffSource."""
        frozen = read_list(bounds, context).files
        start = bounds.start or _NOTHING
        done = {**start, "files": start["files"] + len(frozen)}
        if self._names_increase:
            paths = [file.path for file in frozen]
            return {**done, "floor": max([*paths, bounds.end["floor"]])}
        ledger = read_ledger(start, context).with_files(file.entry for file in frozen)
        return {**done, "ledger": write_ledger(ledger, bounds.id, context)}

    def after_finish(self, done: Position) -> Position | None:
        """See HandoffSource."""
        return None

    def remove_unused(self, before: Position, done: Position, context: Context) -> None:
        """See HandoffSource."""
        old = (before or _NOTHING)["ledger"]
        if old is not None and old != (done or _NOTHING)["ledger"]:
            side_files(context).delete(old)

    def forget(self, past: PastSlice, context: Context) -> None:
        """See HandoffSource."""
        names = (list_name(past), list_of_parts(past.id), *past.facts.get("_former_lists", []))
        for name in names:
            side_files(context).delete(name)

    # what people do

    def position_before(
        self, past: PastSlice, later: tuple[PastSlice, ...], done: Position, context: Context
    ) -> Position:
        """See HandoffSource."""
        start = past.start or _NOTHING
        if self._names_increase:
            return start
        entries = [file.entry for one in (past, *later) if one.opened_by for file in read_list(one, context).files]
        ledger = read_ledger(done or _NOTHING, context).without_files(entries)
        name = write_ledger(ledger, f"before-{past.id}", context)
        return {**(done or _NOTHING), "files": len(ledger), "ledger": name}

    def rewind_to(self, value: Any) -> Position:
        """See HandoffSource."""
        if value in {None, "start"}:
            return None
        if not self._names_increase:
            raise ConfigurationError(
                f"cannot rewind to {value!r}: use 'start', or the id of a slice that `handoff show` lists"
            )
        return {**_NOTHING, "floor": self.parsed(value)}

    def parsed(self, value: Any) -> Position:
        """See HandoffSource."""
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"{value!r} is not the name of a file relative to the source's directory")
        return value

    def between(self, start: Position, end: Position, context: Context) -> Plan:
        """See HandoffSource."""
        place = self._place()
        first = len(place.root) + 1
        if end is None:
            raise ConfigurationError("an explicit slice needs an end, the name of its last file")
        infos = [info for info in place.each() if (start or "") < str(info["name"])[first:] <= end]
        candidates: list[Candidate] = []
        for info in sorted(infos, key=lambda info: str(info["name"])):
            size, listed = int(info.get("size") or 0), versions_in(place.fs)(info) or ""
            candidates.append(Candidate(path=str(info["name"])[first:], info=info, size=size, listed=listed))
        frozen = confirmed(place, candidates, context, in_order=self._names_increase)
        if not frozen:
            raise ConfigurationError(f"{place.shown} holds no file after {start!r} and up to {end!r}")
        return self._planned(_NOTHING, frozen, remaining=False)

    def release(
        self, file: str, bounds: Bounds | None, done: Position, context: Context
    ) -> tuple[Position, dict[str, Any] | None]:
        """Exclude one version of a file from the open slice and from later slices; see ``Handoff.release``.

        Returns the position that replaces ``done``, and facts that describe the open slice after the file was removed
        from it. The facts are None if the file is not in the open slice.
        """
        done = done or _NOTHING
        place = self._place()
        path = file.removeprefix(f"{place.root}/")
        frozen = FrozenList(files=()) if bounds is None else read_list(bounds, context)
        rest = frozen.without(path)
        entries = [one.entry for _, one in rest.released[len(frozen.released) :]]
        info = next(iter(ask_storage(place, [path])))
        if info is not None and not entries:
            entries = [entry_of(path, versions_in(place.fs)(info) or "")]
        if not entries:
            raise ConfigurationError(f"{file!r} is neither in the open slice nor in {place.shown}")
        released = [*done["released"], *(entry.hex() for entry in entries)][-_MAX_RELEASED:]
        facts = None
        if bounds is not None and rest is not frozen:
            name = f"{bounds.id}.{secrets.token_hex(4)}.files.json"
            side_files(context).write(name, to_list(rest))
            facts = {
                "files": len(rest.files),
                "bytes": sum(one.size for one in rest.files),
                "left_out": [*bounds.facts.get("left_out", []), path][-_MAX_NAMED:],
                "_list": name,
                "_former_lists": [*bounds.facts.get("_former_lists", []), list_name(bounds)],
            }
        return {**done, "released": released}, facts

    def shown(self, position: Position, *, values: bool = True) -> Any:
        """See HandoffSource."""
        if isinstance(position, str):  # a bound of an explicit slice
            return position if values else "(a name)"
        position = position or _NOTHING
        if self._names_increase:
            return position["floor"] if values or position["floor"] is None else "(a name)"
        return position["files"]

    def nothing_new(self, done: Position) -> str:
        """See HandoffSource."""
        if not done:
            return f"no file is there yet in {shown_uri(self._path)}"
        if self._names_increase:
            return f"no file is new in {shown_uri(self._path)} since {self.shown(done, values=False)}"
        return f"no file is new in {shown_uri(self._path)}: {done['files']:,} were delivered before"

    def _place(self) -> Location:
        place = Location(self._path)
        if place.is_one_file:
            raise ConfigurationError(f"{place.shown} is a single file; pass a directory or a glob")
        return place
