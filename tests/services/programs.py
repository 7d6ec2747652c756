"""Server programs of Debian packages as child processes, on a free port of 127.0.0.1.

A server that refuses to run as root runs as the unprivileged user that its package makes. The fixtures skip a test
whose program is not installed; ``make services`` installs them all and turns such a skip into a failure.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

READY_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0


def require_program(name: str, *patterns: str) -> str:
    """The path of an installed program: the newest file that matches a pattern, or the one on the PATH."""
    for pattern in patterns:
        if found := sorted(glob.glob(pattern)):
            return found[-1]
    if path := shutil.which(name):
        return path
    pytest.skip(f"{name} is not installed (make services installs it)")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def private_folder(name: str, user: str | None) -> Iterator[Path]:
    """A new folder in the system's one for temporary files, of ``user`` if we are root; removed at the end.

    pytest's own folders are closed to other users.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"zerobus-{name}-"))
    try:
        if user is not None and os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_as(user: str | None) -> dict[str, object]:
    """What to give to ``subprocess`` so that a program runs as ``user``, if we are root."""
    if user is None or os.geteuid() != 0:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def run_program(arguments: Sequence[str | Path], *, user: str | None = None, cwd: Path | None = None) -> None:
    """Run a program to its end; fail with its output if it fails."""
    done = subprocess.run(
        arguments,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        **run_as(user),
    )
    assert done.returncode == 0, f"{arguments[0]} exited with {done.returncode}:\n{done.stdout}"


@contextmanager
def running_server(
    arguments: Sequence[str | Path],
    is_ready: Callable[[], bool],
    log: Path,
    *,
    user: str | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server from the moment that it answers to its end; ``is_ready`` is asked again and again until then."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **run_as(user)
        )
    try:
        deadline = time.monotonic() + READY_TIMEOUT
        while not is_ready():
            running = process.poll() is None
            if not running or time.monotonic() > deadline:
                state = "does not answer" if running else f"exited with {process.returncode}"
                raise RuntimeError(f"{arguments[0]} {state}:\n{log.read_text(errors='replace')[-5_000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(stop_signal)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
