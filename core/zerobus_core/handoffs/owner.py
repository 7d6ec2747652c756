"""Identifies the process that delivers, and finds out whether another owner's process is still running."""

from __future__ import annotations

import os
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from .lease import Owner

__all__ = ["activate", "deactivate", "is_alive", "process_owner", "with_process"]

_lock = threading.Lock()
# Guarded by _lock: the attempts of this process that are delivering now.
_active: set[str] = set()


def process_owner() -> Owner:
    """Return an owner for one run in this process; each call returns a different owner."""
    return with_process(Owner(key=f"process {socket.gethostname()}/{os.getpid()}/{uuid4().hex[:12]}"))


def with_process(owner: Owner) -> Owner:
    """Return a copy of ``owner`` that has the ids of this process and a new attempt id."""
    pid = os.getpid()
    return replace(
        owner, host=socket.gethostname(), pid=pid, process_start=_start_of(pid) or "", attempt=uuid4().hex[:16]
    )


def is_alive(owner: Owner) -> bool | None:
    """Return whether the owner's attempt is still running; None if that is not known.

    An attempt in another process of this machine is treated as running for as long as that process runs. On Windows,
    the result is None for every attempt in another process. On other systems without ``/proc``, the result is None
    until the other process has ended. The result is also None if the owner's process is on another machine or in
    another container, or if the slice is delivered in shards.
    """
    if not owner.pid:
        return False  # the owner has ended its lease
    if owner.host != socket.gethostname() or _machine_of(owner.process_start) != _machine():
        return None  # on another machine, or in another container, which can have the same host name
    if owner.pid == os.getpid() and owner.process_start == (_start_of(owner.pid) or ""):
        with _lock:
            return owner.attempt in _active
    if sys.platform == "win32":
        return None  # there, os.kill(pid, 0) would send Ctrl+C
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # the process is there, but belongs to another user
    start = _start_of(owner.pid)
    # The id of a process that has ended can be given to a new process, which has another start time.
    return None if start is None or not owner.process_start else start == owner.process_start


def activate(attempt: str) -> None:
    """Mark an attempt of this process as running."""
    with _lock:
        _active.add(attempt)


def deactivate(attempt: str) -> None:
    """Mark an attempt of this process as ended, so that another run can take over its slice."""
    with _lock:
        _active.discard(attempt)


def _start_of(pid: int) -> str | None:
    """Return the id of this machine and the start time of process ``pid``, as text of the form ``machine:ticks``.

    The ticks are clock ticks since boot. For a zombie (a process that has ended but is still in the process table), the
    text is ``machine:ended``. Returns None if no process has the id ``pid``, or if the system has no ``/proc``.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses can hold spaces
    if fields[0] == "Z":
        return f"{_machine()}:ended"  # a zombie, which its parent has not yet waited for
    return f"{_machine()}:{fields[19]}"


def _machine() -> str:
    """Return an id for this machine's boot and this process's PID namespace; empty if it cannot be read."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _machine_of(process_start: str) -> str:
    return process_start.rpartition(":")[0]
