"""Statements of SQL over real HTTP: one that may have run is not sent again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from tests.core.schema.http_workspace import Answer, say, say_raw, serving
from zerobus_core import ClientCredentials, Workspace
from zerobus_core.errors import IngestTimeoutError, TransportError, ZerobusIngestError
from zerobus_core.schema.unity_catalog.fetch import send
from zerobus_core.schema.unity_catalog.statements import execute_statement

DONE = say_raw(200, b'{"statement_id": "1", "status": {"state": "SUCCEEDED"}}', "application/json")
TOKEN = say(200, access_token="t", token_type="Bearer", expires_in=3600)


def hang_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


@contextmanager
def warehouse_that(*answers: Answer, tokens: tuple[Answer, ...] = ()) -> Iterator[tuple[Workspace, list[str]]]:
    """A workspace that gives these answers to statements, one after the other; and the statements that it got."""
    seen: list[str] = []
    left, tokens_left = list(answers), list(tokens)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            here = f"http://{self.headers['Host']}/oidc"
            say(200, oidc_endpoint=here, token_endpoint=f"{here}/v1/token", authorization_endpoint=here)(self)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith("/oidc"):
                (tokens_left.pop(0) if tokens_left else TOKEN)(self)
            else:
                seen.append(json.loads(body)["statement"])
                (left.pop(0) if left else DONE)(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as port:
        url = f"http://127.0.0.1:{port}"
        credentials = ClientCredentials(client_id="me", client_secret="secret")
        yield Workspace(endpoint="http://127.0.0.1:9", workspace_url=url, credentials=credentials), seen


@pytest.mark.parametrize(
    "lost",
    [hang_up, say(500, error_code="INTERNAL_ERROR", message="oops"), say_raw(200, b"[]", "application/json")],
    ids=["hangs up", "fails", "says nothing"],
)
def test_a_statement_whose_answer_is_lost_is_not_sent_again(lost: Answer) -> None:
    with warehouse_that(lost) as (workspace, seen):
        with pytest.raises(ZerobusIngestError, match="it is not known whether the workspace ran the request") as caught:
            execute_statement(workspace, "CREATE TABLE t (a INT)", warehouse=None)
        assert (seen, caught.value.retryable) == (["CREATE TABLE t (a INT)"], False)


def test_a_statement_that_was_refused_for_now_or_never_sent_is_sent_again() -> None:
    throttled = say(429, error_code="REQUEST_LIMIT_EXCEEDED", message="slowly")
    token_fails = say(503, error="temporarily_unavailable")
    with warehouse_that(throttled, tokens=(token_fails,)) as (workspace, seen):
        execute_statement(workspace, "SELECT 1", warehouse=None)
        assert len(seen) == 2


def test_a_workspace_that_cannot_be_reached_is_still_a_transport_error() -> None:
    with warehouse_that() as (workspace, _):
        pass
    with pytest.raises(TransportError, match="nothing listens"):
        execute_statement(workspace, "SELECT 1", warehouse=None)


def test_a_request_whose_caller_has_given_up_is_not_sent_later() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def late(request: BaseHTTPRequestHandler) -> None:
        asked.set()
        go_on.wait(20)
        TOKEN(request)

    with warehouse_that(tokens=(late,)) as (workspace, seen):
        before = set(threading.enumerate())
        with pytest.raises(IngestTimeoutError, match="did not answer within"):
            send(workspace, "POST", "/api/2.0/sql/statements", {"statement": "SELECT 1"}, timeout=3)
        assert asked.is_set()
        go_on.set()
        for thread in set(threading.enumerate()) - before:
            if thread.name == "zerobus-unity-catalog":
                thread.join(20)
        assert seen == []
