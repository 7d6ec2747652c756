"""How a server is to run; the same for Python and for the command line."""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InvalidRequest

__all__ = ["ServerOptions"]

_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of ``LocalZerobus.start``; checked when built, InvalidRequest names the one that cannot be."""

    host: str = "127.0.0.1"
    grpc_port: int = 0
    """0 picks a free one."""
    http_port: int = 0
    allow_remote: bool = False
    """Listen on an address that other machines can reach.  There is no TLS: for closed networks only."""
    commit_delay: float = 0.05
    """Seconds that the first rows of a Delta commit wait for others."""
    token_lifetime: float = 3600.0
    """Seconds; the service's tokens live an hour."""
    faults: tuple[Mapping[str, Any], ...] = field(default=())
    """Faults that are on from the start."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", tuple(self.faults))
        for name in ("grpc_port", "http_port"):
            port = getattr(self, name)
            if not isinstance(port, int) or not 0 <= port <= _HIGHEST_PORT:
                raise InvalidRequest(f"{name} {port!r} is no port: give 0 to {_HIGHEST_PORT}, 0 picks a free one")
        for name in ("commit_delay", "token_lifetime"):
            seconds = getattr(self, name)
            if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
                raise InvalidRequest(f"{name} {seconds!r} is no number of seconds")
        if not self.allow_remote and not is_loopback(self.host):
            raise InvalidRequest(
                f"host {self.host!r} can be reached from other machines, and nothing here is encrypted: "
                "use 127.0.0.1, or allow it with allow_remote (--allow-remote)"
            )

    @property
    def reachable_host(self) -> str:
        """The host as a client on this machine would write it into a URL."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::", ""} else self.host  # noqa: S104  # compared, not bound
        return f"[{host}]" if ":" in host else host

    def arguments(self) -> list[str]:
        """The same as arguments of ``zerobus-local serve``."""
        values = {
            "--host": self.host,
            "--grpc-port": self.grpc_port,
            "--http-port": self.http_port,
            "--commit-delay": self.commit_delay,
            "--token-lifetime": self.token_lifetime,
        }
        arguments = [text for name, value in values.items() for text in (name, str(value))]
        for fault in self.faults:
            arguments += ["--fault", json.dumps(dict(fault))]
        return arguments + ["--allow-remote"] * self.allow_remote


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
