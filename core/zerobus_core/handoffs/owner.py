"""Who delivers, as far as this machine can say: a process, and whether the process of another owner still lives."""

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
    """An owner for one call in this process: another call, or another process, is another owner."""
    return with_process(Owner(key=f"process {socket.gethostname()}/{os.getpid()}/{uuid4().hex[:12]}"))


def with_process(owner: Owner) -> Owner:
    """The owner as this process, in a new attempt."""
    pid = os.getpid()
    return replace(
        owner, host=socket.gethostname(), pid=pid, process_start=_start_of(pid) or "", attempt=uuid4().hex[:16]
    )


def is_alive(owner: Owner) -> bool | None:
    """Whether the owner's attempt still runs; None if that cannot be known, since it is on another machine."""
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
    """From now on the attempt of this process counts as alive."""
    with _lock:
        _active.add(attempt)


def deactivate(attempt: str) -> None:
    """From now on another run may take over what the attempt held."""
    with _lock:
        _active.discard(attempt)


def _start_of(pid: int) -> str | None:
    """When a process began, in clock ticks after the machine did; None if the system does not say, or it ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses can hold spaces
    if fields[0] == "Z":
        return f"{_machine()}:ended"  # a zombie, which its parent has not yet waited for
    return f"{_machine()}:{fields[19]}"


def _machine() -> str:
    """Identifies a machine since its start, and the processes that are seen from here."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _machine_of(process_start: str) -> str:
    return process_start.rpartition(":")[0]
