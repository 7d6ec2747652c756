"""The gRPC server: one port, and optionally another with TLS. Both serve the Zerobus protocol and Arrow Flight."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from ..limits import Limits
from ..stream.statistics import Streams
from .admission import Admission
from .call import CallServer
from .ephemeral import EphemeralOpener
from .flight import FLIGHT_SERVICE, FlightOpener
from .messages import SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..catalog.catalog import Catalog
    from ..catalog.tokens import Tokens
    from ..faults import Faults
    from ..storage.storage import Storage
    from .call import Opener

__all__ = ["GrpcServer", "Tls"]

_MAX_STREAMS: Final = 512
# An Arrow batch can exceed 10 MB; that limit applies to each record.
_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate and its private key, both in PEM, and the port for TLS; 0 picks a free port."""

    certificate: bytes
    key: bytes
    port: int = 0


class GrpcServer:
    """Serves gRPC. ``streams`` collects statistics. If ``tokens`` is None, any bearer token is accepted."""

    def __init__(  # noqa: PLR0913  # the parts that it works with, and where it listens
        self,
        catalog: Catalog,
        tokens: Tokens | None,
        storage: Storage,
        faults: Faults,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: Tls | None = None,
        limits: Limits | None = None,
        create_timeout: float = 30.0,
    ) -> None:
        self.streams = Streams()
        self._calls = CallServer(
            admission=Admission(catalog, tokens, faults),
            storage=storage,
            limits=limits or Limits(),
            streams=self.streams,
            create_timeout=create_timeout,
        )
        self._address = (host, port)
        self._tls = tls
        self._server: Any = None

    def start(self) -> tuple[int, int | None]:
        """Bind in the caller's thread, then serve in the server's own threads; raise OSError if a port is taken.

        Returns the port and the TLS port. The TLS port is None if the server does not use TLS.
        """
        server = grpc.server(
            ThreadPoolExecutor(max_workers=_MAX_STREAMS, thread_name_prefix="zerobus-local-stream"),
            options=[
                ("grpc.so_reuseport", 0),  # without this, a second server shares the port instead of failing
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                # Detect a client that has vanished, and accept frequent pings.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.http2.max_ping_strikes", 0),
            ],
            maximum_concurrent_rpcs=_MAX_STREAMS,
        )
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, {"EphemeralStream": self._handler(EphemeralOpener())}),
                grpc.method_handlers_generic_handler(FLIGHT_SERVICE, {"DoPut": self._handler(FlightOpener())}),
            )
        )
        host, port = self._address
        port, tls_port = _bind(server, host, port), None
        if self._tls is not None:
            credentials = grpc.ssl_server_credentials([(self._tls.key, self._tls.certificate)])
            tls_port = _bind(server, host, self._tls.port, credentials)
        server.start()
        self._server = server
        return port, tls_port

    def stop(self, grace: float = 5.0) -> None:
        """Accept no more requests, acknowledge those that were accepted, and end every stream.

        Streams that take longer than ``grace`` seconds are cut. Can be called twice.
        """
        if self._server is not None:
            stopped = self._server.stop(grace)
            self._calls.shut_down()
            stopped.wait()
            self._server = None

    def _handler(self, opener: Opener) -> Any:
        def serve(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            return self._calls.serve(opener, requests, context)

        return grpc.stream_stream_rpc_method_handler(serve)


def _bind(server: Any, host: str, port: int, credentials: Any = None) -> int:
    _refuse_busy_port(host, port)
    try:
        if credentials is None:
            return int(server.add_insecure_port(f"{host}:{port}"))
        return int(server.add_secure_port(f"{host}:{port}", credentials))
    except RuntimeError as error:
        what = "" if credentials is None else "; or the certificate and key are invalid or do not match"
        raise OSError(f"cannot listen on {host}:{port}: {error}{what}") from error


def _refuse_busy_port(host: str, port: int) -> None:
    """Raise OSError if the port is in use.

    gRPC checks this too, but its error gives no reason and comes with several log lines.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
