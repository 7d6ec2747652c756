"""Runs uvicorn in a thread. The caller binds the socket, so a port that is already in use is reported at once."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["HttpServer", "bind"]


def bind(host: str, port: int) -> socket.socket:
    """Return a TCP socket that is bound to ``host`` and ``port``; port 0 picks a free port.

    Raises OSError if the socket cannot be bound; the error's message contains the host and the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A killed server leaves connections in TIME_WAIT. With this option, the port can be bound nevertheless.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


class HttpServer:
    """Serves an ASGI app from ``start`` until ``stop``. Calling ``stop`` again is harmless."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._listener = listener
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="zerobus-local-http", daemon=True
        )

    def start(self, timeout: float = 10.0) -> None:
        """Start the server, and return once it answers requests.

        Raises RuntimeError if the server ends before it answers, or if it does not answer within ``timeout`` seconds.
        """
        self._thread.start()
        deadline = time.monotonic() + timeout
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the HTTP server did not start")
            time.sleep(0.005)

    def stop(self, timeout: float = 10.0) -> None:
        """End the server and close its socket; running requests get up to 2 s to complete.

        Waits at most ``timeout`` seconds for the server's thread to end.
        """
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._listener.close()
