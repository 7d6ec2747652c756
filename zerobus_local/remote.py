"""Controls a running server from another process over HTTP, as the data folder's first service principal."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import (
    AlreadyExists,
    InvalidRequest,
    LocalZerobusError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    UnknownOutcome,
    UnknownTable,
)

if TYPE_CHECKING:
    from .catalog.catalog import Result

__all__ = ["RemoteError", "RemoteFaults", "RemoteServer"]

# Requests to a server on this machine must not go through a proxy.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_TIMEOUT = 60.0
_KINDS: dict[str, type[LocalZerobusError]] = {
    kind.error_code: kind
    for kind in (
        AlreadyExists,
        InvalidRequest,
        NotFound,
        PermissionDenied,
        Unauthenticated,
        UnknownOutcome,
        UnknownTable,
    )
}


class RemoteError(LocalZerobusError):
    """The server refused a request or did not answer.

    ``answered`` is the error code that the server sent. If the server sent no error code, ``answered`` is "".
    """

    def __init__(self, message: str, answered: str = "") -> None:
        super().__init__(message)
        self.answered = answered


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteServer:
    """A running ``zerobus-local serve``.

    The first line that the server prints is a JSON object with the fields of this class.
    """

    endpoint: str
    workspace_url: str
    client_id: str
    client_secret: str = field(repr=False)
    data: str
    tls_endpoint: str | None = None

    @property
    def faults(self) -> RemoteFaults:
        """An object that switches the server's faults on and off."""
        return RemoteFaults(self)

    def sql(self, script: str) -> list[Result]:
        """Run a SQL script in the server, and return one Result per statement.

        Raises LocalZerobusError if a statement fails.
        """
        import pyarrow as pa  # slow to import, like the catalog, and only this method needs them

        from .catalog.catalog import Result

        try:
            answer = self.ask("POST", "/local/sql", {"script": script}, as_principal=True)
        except RemoteError as error:
            if error.answered not in _KINDS:
                raise
            raise _KINDS[error.answered](error.message) from error
        return [
            Result(
                message=result["message"],
                notes=tuple(result["notes"]),
                rows=result["rows"] and pa.ipc.open_stream(base64.b64decode(result["rows"])).read_all(),
            )
            for result in answer["results"]
        ]

    def create_principal(self, name: str) -> dict[str, str]:
        """Create a service principal without grants; return its name, ``client_id`` and ``client_secret``."""
        return self.ask("POST", "/local/principals", {"name": name}, as_principal=True)

    def expire_tokens(self) -> None:
        """Make the server reject every token that was issued before this call."""
        self.ask("POST", "/local/expire-tokens", {})

    def ask(self, method: str, path: str, body: object = None, *, as_principal: bool = False) -> dict[str, Any]:
        """Send one request with a JSON body, and return the JSON answer.

        If ``as_principal`` is true, the request has a new access token of the service principal. Raises RemoteError if
        the server does not answer or refuses the request. If the server refuses the request, the error
        contains the server's message.
        """
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
                message, code = _refusal(error.read())
                raise RemoteError(message or f"{path}: HTTP {error.code}", code) from error
        except (OSError, ValueError) as error:
            raise RemoteError(f"no answer from {self.workspace_url}: {error}") from error
        return answer


@dataclass(frozen=True, slots=True)
class RemoteFaults:
    """Controls the ``Faults`` of a running server over HTTP. Rules are dicts of JSON-compatible values."""

    _server: RemoteServer

    def add(self, rule: dict[str, Any] | None = None, /, **parameters: Any) -> int:
        """Switch on a fault and return its number; raise RemoteError for an invalid fault."""
        if rule is not None and parameters:
            raise TypeError(f"add takes either a rule or its parameters, not both: {rule!r} and {parameters!r}")
        return int(self._server.ask("POST", "/local/faults", rule if rule is not None else parameters)["number"])

    def remove(self, number: int) -> None:
        """Switch off one fault; raise RemoteError if it is not on."""
        self._server.ask("DELETE", f"/local/faults/{number}")

    def clear(self) -> None:
        """Switch off all faults; the log is kept."""
        self._server.ask("DELETE", "/local/faults")

    def list(self) -> dict[int, dict[str, Any]]:
        """Return a dict of the active rules; the keys are the numbers of the rules."""
        return {int(number): rule for number, rule in self._server.ask("GET", "/local/faults")["rules"].items()}

    def log(self) -> tuple[dict[str, Any], ...]:
        """Return the faults that have happened since the server started, in order."""
        return tuple(self._server.ask("GET", "/local/faults")["log"])


def _refusal(body: bytes) -> tuple[str, str]:
    """Return the message and the error code from the body of an answer; each is "" if the body does not contain it."""
    try:
        answer = json.loads(body)
        message = answer.get("message") or answer.get("error_description") or ""
        return str(message), str(answer.get("error_code", ""))
    except (ValueError, AttributeError):
        return "", ""
