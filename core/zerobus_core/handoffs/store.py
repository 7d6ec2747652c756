"""Stores that keep the state of a handoff and, next to the state, the checkpoints and file lists of its slices."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..checkpoint import FileCheckpointStore
from ..errors import ConfigurationError
from ..process.signals import is_of_signal
from ..storage.atomic_file import KeptFile
from ..storage.filesystem import filesystem_of, is_local, modified_at, translating_storage_errors
from ..storage.uris import shown_uri
from .document import MAX_BYTES

if TYPE_CHECKING:
    from ..checkpoint import CheckpointStore

__all__ = ["FileStateStore", "SideFiles", "StateConflict", "StateStore", "state_store_of"]

# The bounds, in seconds, of the pause after a write without a lock; another run may still be writing during it.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 0.3
# The names of files that are written only to read the storage's clock begin with this.
_CLOCK = "clock"
# Ids of explicit slices, which do not change the state, begin with this.
EXPLICIT = "explicit-"
_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700


class StateConflict(Exception):  # noqa: N818 - no failure: whoever gets it reads the state again
    """Raised because another run has written the state since it was read."""


class SideFiles(Protocol):
    """Files next to a state, for data that is too large for the state itself."""

    def read(self, name: str) -> bytes | None:
        """Return the data of the file ``name``; None if there is no such file."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically."""

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""

    def time_of(self, fs: Any) -> datetime | None:
        """Return the present time by the clock of the storage ``fs``; None if this time cannot be found.

        The time is found by writing a side file and asking the storage when this file was changed. The result is None
        if the side files are not on ``fs``, or if ``fs`` does not say when files were changed.
        """


@runtime_checkable
class StateStore(Protocol):
    """Keeps the state of one handoff.  All methods are called from the thread that uses the Handoff.

    A store can also have the attribute ``most_bytes``, the largest size of a state that it can hold.

    The adapters implement this protocol, too: the Dagster adapter keeps the state in Dagster's event log, and the
    Airflow adapter keeps it in the asset's state store.
    """

    @property
    def shown(self) -> str:
        """The location of the state, for messages. Contains no secrets."""
        ...

    @property
    def side_files(self) -> SideFiles | None:
        """The files next to the state. None if the store cannot keep files; NewFiles then cannot use the store."""

    def load(self) -> str | None:
        """Return the text that was saved last; None if no text was saved."""

    def save(self, text: str, *, replaces: str | None) -> None:
        """Save ``text`` if the stored text equals ``replaces``; raise StateConflict otherwise.

        ``replaces`` is None if no text was stored before.
        """

    def has_traces(self) -> bool:
        """Return whether the store has data of the handoff besides the state, such as checkpoints.

        If there is such data but no state, the state was lost.
        """
        ...

    def checkpoint(self, slice_id: str, epoch: str) -> CheckpointStore:
        """Return the checkpoint store of a slice; ``slice_id`` can also be the name of a shard or of a redelivery."""
        ...

    def forget(self, slice_id: str) -> None:
        """Remove the checkpoint of a slice. The checkpoint is no longer needed, so a store may leave it in place."""


class FileStateStore:
    """Keeps the state in one file, and everything else in the folder ``<uri>.d`` next to it.

    A local file is replaced under a lock on its folder, so that only one of two concurrent runs succeeds. On any other
    storage, and on Windows, there is no such lock: ``save`` reads the text back after a random pause, and raises
    StateConflict if another run has replaced the text. New local files are readable only by the user who creates them.
    Raises TransportError if the storage fails, and ConfigurationError if access is denied.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.uri = os.path.expanduser(os.fspath(uri))
        if not self.uri or self.uri.endswith("/"):
            raise ConfigurationError(f"state must be the path or URI of a file, not {shown_uri(self.uri)!r}")
        self._file = KeptFile(self.uri, "state of the handoff", new_mode=_PRIVATE)
        self._sleep = sleep
        self._draw = draw
        self._side = _SideFolder(self.uri)

    def __repr__(self) -> str:
        return f"FileStateStore({self.shown!r})"

    @property
    def shown(self) -> str:
        """See StateStore."""
        return shown_uri(self.uri)

    @property
    def side_files(self) -> SideFiles:
        """See StateStore."""
        return self._side

    def load(self) -> str | None:
        """See StateStore."""
        data = self._file.read()
        if data is None:
            return None
        if len(data) > MAX_BYTES:
            raise ConfigurationError(f"the state at {self.shown} is over 64 MiB")
        return data.decode(errors="replace")

    def save(self, text: str, *, replaces: str | None) -> None:
        """See StateStore."""
        with self._locked() as is_exclusive:
            if self.load() != replaces:
                raise StateConflict(self.shown)
            self._file.replace(text.encode())
            if is_exclusive:
                return
        self._sleep(self._draw(_SHORTEST_PAUSE, _LONGEST_PAUSE))
        if self.load() != text:
            raise StateConflict(self.shown)

    def has_traces(self) -> bool:
        """See StateStore."""
        return self._side.is_used()

    def checkpoint(self, slice_id: str, epoch: str) -> CheckpointStore:
        """See StateStore."""
        return FileCheckpointStore(self._side.uri_of(f"{slice_id}.checkpoint.json"), epoch=epoch)

    def forget(self, slice_id: str) -> None:
        """See StateStore."""
        self._side.delete(f"{slice_id}.checkpoint.json")

    @contextmanager
    def _locked(self) -> Generator[bool]:
        """Lock the folder of a local state file; yield whether it is locked.

        Nothing is locked on any other storage or on Windows.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield False
            return
        if not self._file.is_local:
            yield False
            return
        self._file.prepare()
        _, path = filesystem_of(self.uri, f"cannot open {self.shown}")
        failure = f"cannot lock the folder of {self.shown}"
        with translating_storage_errors(failure):
            folder = os.open(Path(os.path.realpath(path)).parent, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
            except OSError as error:
                if is_of_signal(error):
                    raise
                raise ConfigurationError(f"{failure}: {error}") from error
            yield True
        finally:
            os.close(folder)


class _SideFolder:
    """The folder next to a state file."""

    def __init__(self, uri: str) -> None:
        path, sign, query = uri.partition("?") if "://" in uri else (uri, "", "")
        self._folder = f"{path}.d"
        self._query = sign + query

    def uri_of(self, name: str) -> str:
        self._make_private()
        return f"{self._folder}/{name}{self._query}"

    def read(self, name: str) -> bytes | None:
        return self._file(name).read()

    def write(self, name: str, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise ConfigurationError(
                f"{name} at {shown_uri(self._folder)} would be over 64 MiB; limit the slice with max_files, or set "
                "names_increase=True if the name of each new file sorts after all earlier names"
            )
        self._make_private()
        self._file(name).replace(data)

    def delete(self, name: str) -> None:
        fs, path = self._place(name)
        with (
            translating_storage_errors(f"cannot remove {name} at {shown_uri(self._folder)}"),
            suppress(FileNotFoundError),
        ):
            fs.rm_file(path)

    def time_of(self, fs: Any) -> datetime | None:
        name = f"{_CLOCK}-{secrets.token_hex(8)}"  # another run would remove a file of the same name
        mine, path = self._place(name)
        if mine != fs:
            return None
        self.write(name, b"")
        fs.invalidate_cache()
        try:
            with translating_storage_errors(f"cannot read {name} at {shown_uri(self._folder)}"):
                return modified_at(fs.info(path))
        finally:
            self.delete(name)

    def is_used(self) -> bool:
        fs, path = self._place("x")
        fs.invalidate_cache()
        with translating_storage_errors(f"cannot read {shown_uri(self._folder)}"):
            try:
                names = [str(name).rpartition("/")[2] for name in fs.ls(fs._parent(path), detail=False)]
                return not all(name.startswith((_CLOCK, EXPLICIT)) for name in names)
            except FileNotFoundError:
                return False

    def _file(self, name: str) -> KeptFile:
        return KeptFile(f"{self._folder}/{name}{self._query}", "side file of the handoff", new_mode=_PRIVATE)

    def _place(self, name: str) -> tuple[Any, str]:
        return filesystem_of(f"{self._folder}/{name}{self._query}", f"cannot open {shown_uri(self._folder)}")

    def _make_private(self) -> None:
        fs, path = self._place("x")
        if not is_local(fs):
            return
        folder = Path(path).parent
        with translating_storage_errors(f"cannot make the folder {shown_uri(self._folder)}"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)


def state_store_of(state: Any) -> StateStore:
    """Return a StateStore for the user's ``state``: ``state`` itself, or a FileStateStore for a path or URI."""
    if isinstance(state, str | os.PathLike):
        return FileStateStore(state)
    if isinstance(state, StateStore):
        return state
    raise ConfigurationError(
        f"state is of type {type(state).__name__}; pass the path or URI of a file that is kept between runs, or a "
        "StateStore"
    )
