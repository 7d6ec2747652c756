"""A running server as another process sees it: over HTTP, with the principal that came with the data folder."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from .errors import InvalidRequest, LocalZerobusError

__all__ = ["RemoteError", "RemoteFaults", "RemoteServer"]

# A proxy has no business between us and a server on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_TIMEOUT = 60.0


class RemoteError(LocalZerobusError):
    """The server refused, or does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteServer:
    """What ``zerobus-local serve`` prints first, and what can be asked with it."""

    endpoint: str
    workspace_url: str
    client_id: str
    client_secret: str = field(repr=False)
    data: str
    tls_endpoint: str | None = None

    @property
    def faults(self) -> RemoteFaults:
        """The switches of the server."""
        return RemoteFaults(self)

    def sql(self, script: str) -> dict[str, Any]:
        """Carry out SQL; the answer of the Statement Execution API, with ``messages``.  Raises InvalidRequest."""
        answer = self.ask("POST", "/api/2.0/sql/statements", {"statement": script}, as_principal=True)
        if answer["status"]["state"] != "SUCCEEDED":
            raise InvalidRequest(answer["status"]["error"]["message"])
        return answer

    def create_principal(self, name: str) -> dict[str, str]:
        """Make a service principal without grants: name, client_id and client_secret."""
        return self.ask("POST", "/local/principals", {"name": name}, as_principal=True)

    def expire_tokens(self) -> None:
        """Take no token any more that was issued until now."""
        self.ask("POST", "/local/expire-tokens", {})

    def ask(self, method: str, path: str, body: object = None, *, as_principal: bool = False) -> dict[str, Any]:
        """One request with JSON in and out; raises RemoteError with the server's message."""
        headers = {"content-type": "application/json"}
        if as_principal:
            headers["authorization"] = f"Bearer {self._token()}"
        return self._send(method, path, None if body is None else json.dumps(body).encode(), headers)

    def _token(self) -> str:
        basic = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        headers = {"authorization": f"Basic {basic}", "content-type": "application/x-www-form-urlencoded"}
        answer = self._send("POST", "/oidc/v1/token", b"grant_type=client_credentials&scope=all-apis", headers)
        return str(answer["access_token"])

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  # the address comes from our own server
            f"{self.workspace_url}{path}", data=body, headers=headers, method=method
        )
        try:
            with _OPENER.open(request, timeout=_TIMEOUT) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise RemoteError(_message(error.read()) or f"{path}: HTTP {error.code}") from error
        except (OSError, ValueError) as error:
            raise RemoteError(f"no answer from {self.workspace_url}: {error}") from error
        return answer


@dataclass(frozen=True, slots=True)
class RemoteFaults:
    """``Faults`` over HTTP, in plain JSON types."""

    _server: RemoteServer

    def add(self, rule: dict[str, Any] | None = None, /, **parameters: Any) -> int:
        """Switch a fault on; its number.  Raises RemoteError for what is no fault."""
        if rule is not None and parameters:
            raise TypeError(f"add takes a rule or its parameters, not both: {rule!r} and {parameters!r}")
        return int(self._server.ask("POST", "/local/faults", rule if rule is not None else parameters)["number"])

    def remove(self, number: int) -> None:
        """Switch one fault off; raises RemoteError if it is not on."""
        self._server.ask("DELETE", f"/local/faults/{number}")

    def clear(self) -> None:
        """Switch all faults off; the log stays."""
        self._server.ask("DELETE", "/local/faults")

    def list(self) -> dict[int, dict[str, Any]]:
        """The rules that are on, by number."""
        return {int(number): rule for number, rule in self._server.ask("GET", "/local/faults")["rules"].items()}

    def log(self) -> tuple[dict[str, Any], ...]:
        """What was injected since the server started, in order."""
        return tuple(self._server.ask("GET", "/local/faults")["log"])


def _message(body: bytes) -> str:
    try:
        answer = json.loads(body)
        return str(answer.get("message") or answer.get("error_description") or "")
    except (ValueError, AttributeError):
        return ""
