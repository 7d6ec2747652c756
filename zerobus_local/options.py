"""The options of a server. They are the same in Python and on the command line."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InvalidRequest
from .limits import LONGEST, Limits

__all__ = ["ServerOptions"]

_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of ``LocalZerobus.start``.

    The constructor raises InvalidRequest if an option is invalid. The constructor does not check the faults or
    the files for TLS; they are checked when a server starts.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 0
    """Port of the Zerobus endpoint. For this port and the others, 0 picks a free one."""
    http_port: int = 0
    tls_certificate: str | None = None
    """File with a certificate (PEM). With ``tls_key``, one more gRPC port uses TLS, for clients that require TLS."""
    tls_key: str | None = None
    """File with the certificate's private key (PEM)."""
    tls_port: int = 0
    allow_remote: bool = False
    """Whether ``host`` is allowed to be an address that other machines can reach.

    Set this only in closed networks, because secrets and tokens are sent without encryption.
    """
    commit_delay: float = 0.05
    """How many seconds the first rows of a Delta commit wait for more rows."""
    token_lifetime: float = 3600.0
    """Seconds for which a token is valid; the service's tokens are valid for an hour."""
    rows_per_second: float | None = None
    """Largest number of rows per second and stream (the service documents 100,000); None for no limit."""
    bytes_per_second: float | None = None
    """Largest number of bytes per second and stream (the service documents 100 MB); None for no limit."""
    ack_delay: float = 0.0
    """Seconds added between the commit and the acknowledgement."""
    open_delay: float = 0.0
    """Seconds added before a stream is open."""
    max_stream_life: float | None = 900.0
    """Seconds after which a stream is ended (about 15 minutes in the service); None for no limit."""
    faults: tuple[Mapping[str, Any], ...] = field(default=())
    """Faults that are on from the start."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", tuple(self.faults))
        for name in ("grpc_port", "http_port", "tls_port"):
            port = getattr(self, name)
            if not isinstance(port, int) or not 0 <= port <= _HIGHEST_PORT:
                raise InvalidRequest(
                    f"{name} must be a port number from 0 to {_HIGHEST_PORT} (0 picks a free port), not {port!r}"
                )
        try:
            _ = self.limits
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        for name in ("commit_delay", "token_lifetime"):
            seconds = getattr(self, name)
            if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST:
                raise InvalidRequest(f"{name} {seconds!r} is not a number of seconds from 0 to 1e9")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidRequest("tls_certificate and tls_key (--tls-certificate, --tls-key) must be used together")
        if self.tls_port and self.tls_key is None:
            raise InvalidRequest("tls_port needs tls_certificate and tls_key (--tls-certificate, --tls-key)")
        if not self.allow_remote and not is_loopback(self.host):
            raise InvalidRequest(
                f"host {self.host!r} can be reached from other machines, but nothing is encrypted here: use "
                "127.0.0.1, or set allow_remote (--allow-remote)"
            )

    @property
    def limits(self) -> Limits:
        """The limits and delays of each stream."""
        return Limits(
            rows_per_second=self.rows_per_second,
            bytes_per_second=self.bytes_per_second,
            ack_delay=self.ack_delay,
            open_delay=self.open_delay,
            max_stream_life=self.max_stream_life,
        )

    @property
    def bracketed_host(self) -> str:
        """The host in the form that can be followed by a colon and a port: an IPv6 address is put in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def reachable_host(self) -> str:
        """The host in URLs for clients on this machine.

        If the server listens on all addresses, this is 127.0.0.1, otherwise ``bracketed_host``.
        """
        is_any = self.host in {"0.0.0.0", "::", ""}  # noqa: S104  # compared, not bound
        return "127.0.0.1" if is_any else self.bracketed_host

    def arguments(self) -> list[str]:
        """Return the options as arguments of ``zerobus-local serve``."""
        values = {
            "--host": self.host,
            "--grpc-port": self.grpc_port,
            "--http-port": self.http_port,
            "--tls-certificate": self.tls_certificate,
            "--tls-key": self.tls_key,
            "--tls-port": self.tls_port,
            "--commit-delay": self.commit_delay,
            "--token-lifetime": self.token_lifetime,
            "--rows-per-second": self.rows_per_second,
            "--bytes-per-second": self.bytes_per_second,
            "--ack-delay": self.ack_delay,
            "--open-delay": self.open_delay,
            "--max-stream-life": self.max_stream_life or 0,
        }
        arguments = [text for name, value in values.items() if value is not None for text in (name, str(value))]
        for fault in self.faults:
            arguments += ["--fault", json.dumps(dict(fault))]
        return arguments + ["--allow-remote"] * self.allow_remote


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
