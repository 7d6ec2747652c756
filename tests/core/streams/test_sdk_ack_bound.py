"""What the SDK believes of an acknowledgement; docs/zerobus_local.md says so under "What it cannot prove".

SDK 1.10.0 compares the offset of an acknowledgement with the number of *records* sent, and not of requests, of which
each has one offset.  If one of these tests fails, the SDK has changed: correct that paragraph, and drop the test.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from zerobus.sdk.sync import HeadersProvider, StreamConfigurationOptions, TableProperties, ZerobusSdk

RECORDS = 10
TABLE = "main.default.t"


def acknowledgement(offset: int) -> bytes:
    """ingest_record_response { durability_ack_up_to_offset: offset }"""
    return bytes([0x12, 0x02, 0x08, offset])


class Headers(HeadersProvider):
    def get_headers(self) -> list[tuple[str, str]]:
        return [("authorization", "Bearer x"), ("x-databricks-zerobus-table-name", TABLE)]


@contextmanager
def stream_to_a_server_that_acknowledges(offset: int) -> Iterator[Any]:
    """A stream whose server acknowledges ``offset`` after its first request."""
    is_over = threading.Event()

    def ephemeral(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.send_initial_metadata(())
        next(requests)
        yield b"\x0a\x03\x0a\x01s"  # create_stream_response { stream_id: "s" }
        next(requests)
        yield acknowledgement(offset)
        is_over.wait(30)

    class Handler(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(ephemeral)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        sdk = ZerobusSdk(f"http://127.0.0.1:{port}", "http://127.0.0.1:1")
        options = StreamConfigurationOptions(recovery=False, flush_timeout_ms=10_000)
        yield sdk.create_stream(table_properties=TableProperties(TABLE), options=options, headers_provider=Headers())
    finally:
        is_over.set()
        server.stop(0)


def test_an_acknowledgement_of_requests_that_were_not_sent_is_believed_up_to_the_number_of_records() -> None:
    with stream_to_a_server_that_acknowledges(RECORDS - 1) as stream:
        assert stream.ingest_records_offset(["{}"] * RECORDS) == 0  # one request, and offset 0 is its only one
        stream.flush()  # and not: Invalid durability ACK offset


def test_an_acknowledgement_beyond_the_number_of_records_ends_the_stream() -> None:
    with stream_to_a_server_that_acknowledges(RECORDS) as stream:
        stream.ingest_records_offset(["{}"] * RECORDS)
        with pytest.raises(Exception, match="Invalid durability ACK offset"):
            stream.flush()
