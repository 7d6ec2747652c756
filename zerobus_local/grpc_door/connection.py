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

_LINGER: Final = 0.02  # seconds


def cut_connection(context: Any) -> None:
    """Shut down the TCP connection of the call in both directions, which breaks all streams of the connection.

    First waits for 20 ms, so that gRPC can send the acknowledgements that it already has (gRPC does not report when
    they are sent). gRPC has no function that shuts down a connection, so this function searches all sockets of the
    process for the one that is connected to the client's address. If no such socket is found (not every system lists
    the sockets of a process), the call is cancelled, which resets only one stream.
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
    # gRPC listens on a dual-stack socket, where an IPv4 client has an IPv4-mapped IPv6 address.
    return host.removeprefix("::ffff:"), port


def _shut_down(address: tuple[str, int]) -> bool:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if not os.path.isdir(folder):
            continue
        return any(_shut_down_if(int(name), address) for name in os.listdir(folder))
    return False


def _shut_down_if(descriptor: int, address: tuple[str, int]) -> bool:
    """If the file descriptor is a socket connected to ``address``, shut it down and return True; else return False."""
    with contextlib.suppress(OSError, ValueError):  # already closed, or not connected
        # Checked first: socket() refuses other files, and the copy made by dup() would stay open.
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as candidate:
            if candidate.family in {socket.AF_INET, socket.AF_INET6} and _peer(candidate) == address:
                candidate.shutdown(socket.SHUT_RDWR)
                return True
    return False
