"""Identifies who delivers: a process; and finds out whether another owner's process is still running."""

from __future__ import annotations

import os
import socket
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
    """Return an owner for one call in this process; another call or process gets another owner."""
    return with_process(Owner(key=f"process {socket.gethostname()}/{os.getpid()}/{uuid4().hex[:12]}"))


def with_process(owner: Owner) -> Owner:
    """Return the owner with the ids of this process, as a new attempt."""
    pid = os.getpid()
    return replace(
        owner, host=socket.gethostname(), pid=pid, process_start=_start_of(pid) or "", attempt=uuid4().hex[:16]
    )


def is_alive(owner: Owner) -> bool | None:
    """Return whether the owner's attempt is still running; None if this is unknown, as on another machine."""
    if not owner.pid:
        return False  # it has let go
    if owner.host != socket.gethostname() or _machine_of(owner.process_start) != _machine():
        return None  # two containers can have one name, and neither knows the processes of the other
    if owner.pid == os.getpid() and owner.process_start == (_start_of(owner.pid) or ""):
        with _lock:
            return owner.attempt in _active
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is another user's
    start = _start_of(owner.pid)
    # Containers that share a host name do not share process numbers: only a start time that differs is proof.
    return None if start is None or not owner.process_start else start == owner.process_start


def activate(attempt: str) -> None:
    """Count this process's attempt as running from now on."""
    with _lock:
        _active.add(attempt)


def deactivate(attempt: str) -> None:
    """Let another run take over the attempt's slice from now on."""
    with _lock:
        _active.discard(attempt)


def _start_of(pid: int) -> str | None:
    """Return when a process started, in clock ticks since boot.

    None if the process has ended or the system does not say.
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
    """Return an id of the machine since its boot, and of the process namespace that is visible from here."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _machine_of(process_start: str) -> str:
    return process_start.rpartition(":")[0]
