"""A workspace of plain HTTP for tests: its token route and its tables route answer as a test says, right or wrong."""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from zerobus_core import ClientCredentials, Workspace

Answer = Callable[[BaseHTTPRequestHandler], None]

SECRET = "hush-hush/0123456789+"
TABLE_ANSWER = {
    "full_name": "main.default.t",
    "table_id": "an-id",
    "columns": [{"name": "a", "type_text": "int", "type_json": '"integer"', "position": 0}],
}


def say(status: int, **body: object) -> Answer:
    return say_raw(status, json.dumps(body).encode(), "application/json")


def say_raw(status: int, body: bytes, content_type: str | None = None, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if content_type is not None:
            request.send_header("Content-Type", content_type)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


GOOD_TOKEN = say(200, access_token="t", token_type="Bearer", expires_in=3600)
GOOD_TABLE = say(200, **TABLE_ANSWER)


@contextmanager
def workspace_that(
    tables: Answer = GOOD_TABLE, token: Answer | None = None, *, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[Workspace, list[str]]]:
    """A workspace whose tables route, and token route, answers as given; and the paths that were asked for."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            seen.append(self.path)
            here = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"
            if self.path.startswith("/api/2.1/unity-catalog/tables/"):
                tables(self)
            elif "databricks-config" in self.path:
                say(200, oidc_endpoint=f"{here}/oidc", workspace_id="1")(self)
            else:
                say(200, token_endpoint=f"{here}/oidc/v1/token", authorization_endpoint=f"{here}/oidc/v1/authorize")(
                    self
                )

        def do_POST(self) -> None:
            seen.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            (token or GOOD_TOKEN)(self)

        def log_message(self, format: str, *args: object) -> None:  # http.server's name
            pass

    with serving(Handler, tls) as port:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        credentials = ClientCredentials(client_id="me", client_secret=SECRET)
        yield Workspace(endpoint="http://127.0.0.1:9", workspace_url=url, credentials=credentials), seen


@contextmanager
def proxy_that_passes_on() -> Iterator[tuple[int, list[str]]]:
    """A proxy for http and https: its port, and each request line with the login that it came with."""
    seen: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self._note()
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port))) as peer:
                self.send_response(200)
                self.end_headers()
                _relay(self.connection, peer)
                self.close_connection = True

        def do_GET(self) -> None:
            self._note()
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with socket.create_connection((url.hostname, url.port)) as peer:
                lines = [f"{self.command} {url.path or '/'}{'?' * bool(url.query)}{url.query} HTTP/1.0"]
                lines += [f"{name}: {value}" for name, value in self.headers.items() if "roxy" not in name]
                peer.sendall("\r\n".join([*lines, "", ""]).encode() + body)
                _relay(self.connection, peer)
                self.close_connection = True

        def do_POST(self) -> None:
            self.do_GET()

        def _note(self) -> None:
            seen.append(f"{self.command} {self.path} {self.headers.get('Proxy-Authorization', '')}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Proxy) as port:
        yield port, seen


def _relay(one: socket.socket, other: socket.socket) -> None:
    while ready := select.select([one, other], [], [], 20)[0]:
        for each in ready:
            data = each.recv(65536)
            if not data:
                return
            (other if each is one else one).sendall(data)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def get_request(self) -> tuple[socket.socket, object]:
            connection, address = super().get_request()
            if tls is None:
                return connection, address
            # The handshake is the handler's thread's, so that a client that refuses does not stop the server.
            return tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, request: object, client_address: object) -> None:  # a client that went away
            pass

    server = Quiet(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
