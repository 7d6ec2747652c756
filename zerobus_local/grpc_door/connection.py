"""Cuts the TCP connection of a call, as a broken network does."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from typing import Any, Final
from urllib.parse import unquote

__all__ = ["cut_connection"]

_LINGER: Final = 0.02


def cut_connection(context: Any) -> None:
    """Shut down the socket of the call's client in both directions; all streams of the connection break.

    gRPC cannot do this, so the socket is found by its peer address among the process's own. If the system does not list
    them, the call is cancelled, which resets only the stream. Acknowledgements that were already answered get a moment
    to leave, because gRPC does not report when they have left.
    """
    time.sleep(_LINGER)
    address = _address(context.peer())
    if address is None or not _shut_down(address):
        context.cancel()


def _address(peer: str) -> tuple[str, int] | None:
    family, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    if family not in {"ipv4", "ipv6"} or not port.isdigit():
        return None
    return host.strip("[]"), int(port)


def _peer(connection: socket.socket) -> tuple[str, int]:
    host, port = connection.getpeername()[:2]
    # gRPC listens on a dual-stack socket, where an IPv4 client has a mapped address.
    return host.removeprefix("::ffff:"), port


def _shut_down(address: tuple[str, int]) -> bool:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if not os.path.isdir(folder):
            continue
        return any(_shut_down_if(int(name), address) for name in os.listdir(folder))
    return False


def _shut_down_if(descriptor: int, address: tuple[str, int]) -> bool:
    """Shut down the socket if it is connected to the address; return whether it was."""
    with contextlib.suppress(OSError, ValueError):  # already closed, or not connected
        # Asked before: a copy of something that is not a socket would stay open when socket() refuses it.
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as candidate:
            if candidate.family in {socket.AF_INET, socket.AF_INET6} and _peer(candidate) == address:
                candidate.shutdown(socket.SHUT_RDWR)
                return True
    return False
