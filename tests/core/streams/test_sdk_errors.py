"""Every rule of the border, provoked from the real SDK by a real server."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from zerobus.sdk.sync import HeadersProvider, TableProperties, ZerobusSdk

from zerobus_core import ClientCredentials, IngestOptions, TableSchema, Workspace
from zerobus_core.batch import Chunk
from zerobus_core.encode import encoder_for
from zerobus_core.errors import (
    AuthenticationError,
    ConfigurationError,
    IngestTimeoutError,
    PermissionDeniedError,
    RejectedRecordError,
    SchemaError,
    TableNotFoundError,
    ThrottledError,
    TransportError,
    ZerobusIngestError,
)
from zerobus_core.streams.sdk import SdkSession
from zerobus_core.streams.sdk_errors import RULES, translated_error
from zerobus_local import LocalZerobus

OPTIONS = IngestOptions(open_timeout=3.0)
Provoke = Callable[[LocalZerobus, str], str]


class Listening:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.reasons: list[BaseException | str] = []

    def on_ack(self, offset: int) -> None:
        pass

    def on_error(self, reason: BaseException | str) -> None:
        self.reasons.append(reason)

    def reason(self) -> BaseException | str:
        deadline = time.monotonic() + 10
        while not self.reasons and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.reasons[0]


def open_failure(workspace: Workspace, table: str, sql: str, options: IngestOptions = OPTIONS) -> str:
    schema = TableSchema.from_sql(sql)
    session = SdkSession(workspace, table, encoder_for(schema, options, is_arrow=False), options)
    for _ in range(20):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is, is the question
            session.open(Listening())
        if "Failed to send stream-open request" not in str(caught.value):
            break  # otherwise the SDK saw the end of the call before the status, and cannot say more
    return str(caught.value)


SQL = "CREATE TABLE main.default.t (id BIGINT NOT NULL)"


def refused_with(status: str) -> Provoke:
    def provoke(server: LocalZerobus, table: str) -> str:
        # A message that quotes other statuses and codes must decide nothing.
        server.faults.add(action="refuse_open", status=status, text="code: 'Internal error' Error Code: 4002, (429)")
        return open_failure(server.workspace, table, SQL)

    return provoke


def token_answer(**fault: Any) -> Provoke:
    def provoke(server: LocalZerobus, table: str) -> str:
        server.faults.add(fault)
        return open_failure(server.workspace, table, SQL)

    return provoke


def without_grants(server: LocalZerobus, table: str) -> str:
    return open_failure(server.create_principal("nobody"), table, SQL)


def workspace_at(server: LocalZerobus, **changes: str) -> Workspace:
    described = server.describe()
    return Workspace(
        endpoint=changes.get("endpoint", server.endpoint),
        workspace_url=changes.get("workspace_url", server.workspace_url),
        credentials=ClientCredentials(
            client_id=described["client_id"], client_secret=changes.get("secret", described["client_secret"])
        ),
    )


def nobody_at_home(server: LocalZerobus, table: str) -> str:
    return open_failure(workspace_at(server, endpoint="http://127.0.0.1:1"), table, SQL)


def never_opened(server: LocalZerobus, table: str) -> str:
    server.faults.add(action="hang_open", table=table, times=1)
    return open_failure(server.workspace, table, SQL, IngestOptions(open_timeout=0.5))


def unknown_host(server: LocalZerobus, table: str) -> str:
    nowhere = "https://1.zerobus.nowhere-1.cloud.databricks.com"
    return open_failure(workspace_at(server, endpoint=nowhere), table, SQL)


def no_workspace(server: LocalZerobus, table: str) -> str:
    return open_failure(workspace_at(server, workspace_url="http://127.0.0.1:1"), table, SQL)


def token_connection_dropped(server: LocalZerobus, table: str) -> str:
    with dropping_server() as url:
        return open_failure(workspace_at(server, workspace_url=url), table, SQL)


class dropping_server:  # noqa: N801 - used like a function
    """Accepts connections and hangs up in the middle of the request."""

    def __enter__(self) -> str:
        import socket
        import threading

        self.socket = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            try:
                while True:
                    connection, _ = self.socket.accept()
                    connection.recv(10)
                    connection.close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def malformed_table(server: LocalZerobus, _table: str) -> str:
    return open_failure(server.workspace, "main..t", SQL)


def malformed(argument: str) -> Provoke:
    def provoke(server: LocalZerobus, _table: str) -> str:
        urls = {"endpoint": server.endpoint, "workspace_url": server.workspace_url} | {argument: "::"}
        with pytest.raises(Exception) as caught:  # noqa: PT011, PT012 - which one it is, is the question
            sdk = ZerobusSdk(urls["endpoint"], urls["workspace_url"])
            sdk.create_stream("id", "secret", TableProperties("main.default.t"))
        return str(caught.value)

    return provoke


def another_schema(server: LocalZerobus, table: str) -> str:
    return open_failure(server.workspace, table, "CREATE TABLE main.default.t (id BIGINT NOT NULL, more STRING)")


def another_arrow_schema(server: LocalZerobus, table: str) -> str:
    sql = "CREATE TABLE main.default.t (id BIGINT NOT NULL, more STRING)"
    return open_failure(server.workspace, table, sql, IngestOptions(record_format="arrow", open_timeout=3.0))


def refused_record(record_format: Any) -> Provoke:
    def provoke(server: LocalZerobus, table: str) -> str:
        server.faults.add(action="refuse_records", predicate="id = 7")
        listening = Listening()
        options = IngestOptions(record_format=record_format, open_timeout=3.0)
        encoder = encoder_for(TableSchema.from_sql(SQL), options, is_arrow=False)
        stream = SdkSession(server.workspace, table, encoder, options).open(listening)
        for batch in encoder.encode(Chunk(0, [{"id": 7}])):
            stream.ingest(batch.payload)
        return str(listening.reason())

    return provoke


def answering(*answers: bytes, status: str | None = None) -> Provoke:
    """A peer that breaks the protocol: it answers a record with these messages, then maybe with a status."""

    def provoke(_server: LocalZerobus, table: str) -> str:
        def ephemeral(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            context.send_initial_metadata(())
            next(requests)
            yield b"\x0a\x03\x0a\x01s"  # create_stream_response { stream_id: "s" }
            next(requests)
            yield from answers
            if status:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, status)
            for _ in requests:
                pass

        class Handler(grpc.GenericRpcHandler):
            def service(self, _details: Any) -> Any:
                return grpc.stream_stream_rpc_method_handler(ephemeral)

        class Headers(HeadersProvider):
            def get_headers(self) -> list[tuple[str, str]]:
                return [("authorization", "Bearer x"), ("x-databricks-zerobus-table-name", table)]

        server = grpc.server(futures.ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((Handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            from zerobus.sdk.sync import StreamConfigurationOptions

            sdk = ZerobusSdk(f"http://127.0.0.1:{port}", "http://127.0.0.1:1")
            options = StreamConfigurationOptions(recovery=False, flush_timeout_ms=5000)
            stream = sdk.create_stream(
                table_properties=TableProperties(table), options=options, headers_provider=Headers()
            )
            stream.ingest_record_offset("{}")
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is, is the question
                stream.flush()
            return str(caught.value)
        finally:
            server.stop(0)

    return provoke


AHEAD = b"\x12\x02\x08\x05"  # ingest_record_response { durability_ack_up_to_offset: 5 }

CASES: list[tuple[str, Provoke, type[ZerobusIngestError]]] = [
    ("token without the grants", without_grants, PermissionDeniedError),
    ("token 429", token_answer(action="token_status", http_status=429), ThrottledError),
    ("token 408", token_answer(action="token_status", http_status=408), IngestTimeoutError),
    ("token 403", token_answer(action="token_status", http_status=403), PermissionDeniedError),
    ("token 404", token_answer(action="token_status", http_status=404), ConfigurationError),
    ("token 4xx", token_answer(action="token_status", http_status=401), AuthenticationError),
    ("token garbage", token_answer(action="token_garbage"), TransportError),
    ("token connection dropped", token_connection_dropped, TransportError),
    ("token 5xx or no connection", token_answer(action="token_status", http_status=500), TransportError),
    ("token 5xx or no connection", token_answer(action="token_status", http_status=503), TransportError),
    ("token 5xx or no connection", no_workspace, TransportError),
    ("table name", malformed_table, ConfigurationError),
    ("endpoint", malformed("endpoint"), ConfigurationError),
    ("workspace URL", malformed("workspace_url"), ConfigurationError),
    ("Arrow schema", another_arrow_schema, SchemaError),
    ("INVALID_ARGUMENT at open", another_schema, SchemaError),
    ("protocol broken", answering(AHEAD), TransportError),
    ("protocol broken", answering(status="Offset 7 is not next. Error Code: 4002, Error State: 1"), TransportError),
    ("INVALID_ARGUMENT on an open stream", refused_record("protobuf"), RejectedRecordError),
    ("INVALID_ARGUMENT on an open stream", refused_record("json"), RejectedRecordError),
    ("INVALID_ARGUMENT on an open stream", refused_record("arrow"), RejectedRecordError),
    ("open timed out", never_opened, IngestTimeoutError),
    ("UNAUTHENTICATED", refused_with("UNAUTHENTICATED"), AuthenticationError),
    ("PERMISSION_DENIED", refused_with("PERMISSION_DENIED"), PermissionDeniedError),
    ("NOT_FOUND", refused_with("NOT_FOUND"), TableNotFoundError),
    ("RESOURCE_EXHAUSTED", refused_with("RESOURCE_EXHAUSTED"), ThrottledError),
    ("DEADLINE_EXCEEDED", refused_with("DEADLINE_EXCEEDED"), IngestTimeoutError),
    ("UNIMPLEMENTED", refused_with("UNIMPLEMENTED"), ConfigurationError),
    ("OUT_OF_RANGE", refused_with("OUT_OF_RANGE"), RejectedRecordError),
    ("connection", refused_with("UNAVAILABLE"), TransportError),
    ("connection", refused_with("INTERNAL"), TransportError),
    ("connection", refused_with("ABORTED"), TransportError),
    ("connection", refused_with("CANCELLED"), TransportError),
    ("connection", refused_with("UNKNOWN"), TransportError),
    ("connection", refused_with("DATA_LOSS"), TransportError),
    ("connection", refused_with("FAILED_PRECONDITION"), TransportError),
    ("connection", refused_with("ALREADY_EXISTS"), TransportError),
    ("nobody at a local port", nobody_at_home, TransportError),
    ("not connected", unknown_host, TransportError),
]


@pytest.mark.parametrize(("rule", "provoke", "expected"), CASES)
def test_a_failure_of_the_real_sdk_is_the_error_that_it_is(
    server: LocalZerobus, rule: str, provoke: Provoke, expected: type[ZerobusIngestError]
) -> None:
    server.create_table(SQL)
    text = provoke(server, "main.default.t")
    error = translated_error(text)
    matched = next(each.name for each in RULES if each.pattern.match(text))
    assert (matched, type(error)) == (rule, expected), text
    assert text.rstrip(".") in str(error) or text in str(error)


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _, _ in CASES} == {rule.name for rule in RULES}


def test_the_traps_are_retryable_and_the_final_answers_are_not() -> None:
    by_rule = {rule: error.retryable for rule, _, error in CASES}
    traps = {"token 429", "token garbage", "token connection dropped", "token 5xx or no connection", "connection"}
    final = {"token 4xx", "token 403", "token without the grants", "NOT_FOUND", "Arrow schema", "UNAUTHENTICATED"}
    assert all(by_rule[rule] for rule in traps)
    assert not any(by_rule[rule] for rule in final)


def test_a_token_that_a_server_quotes_does_not_reach_the_error() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    error = translated_error(f"Stream is closed: code: 'Internal error', message: \"bad {token}\"")
    assert token not in str(error)
    assert "<token>" in str(error)


def test_the_cause_is_kept_and_the_error_pickles() -> None:
    cause = RuntimeError("Token fetch failed: Network error: x")
    error = translated_error(cause)
    assert error.__cause__ is cause
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_our_own_errors_pass_the_border_unchanged() -> None:
    error = ThrottledError("x")
    assert translated_error(error) is error
