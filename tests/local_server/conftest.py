"""A gRPC door over a fresh catalog, and two clients for it: the official SDK, and one that sends what it is given."""

from __future__ import annotations

import queue
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from deltalake import DeltaTable
from zerobus.sdk.shared import RecordType, StreamConfigurationOptions, TableProperties
from zerobus.sdk.shared.headers_provider import HeadersProvider
from zerobus.sdk.sync import ZerobusSdk

from zerobus_local.catalog.catalog import Catalog
from zerobus_local.catalog.reading import dataset_at
from zerobus_local.catalog.tokens import ZEROBUS_PRIVILEGES, Tokens
from zerobus_local.faults import Faults
from zerobus_local.grpc_door.messages import EphemeralStreamRequest, EphemeralStreamResponse
from zerobus_local.grpc_door.server import GrpcServer
from zerobus_local.storage.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa


@dataclass(frozen=True)
class Headers(HeadersProvider):
    table: str
    token: str

    def get_headers(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.token}"), ("x-databricks-zerobus-table-name", self.table)]


class RawStream:
    """One EphemeralStream call that sends what it is given, byte by byte if it likes."""

    def __init__(self, port: int, headers: list[tuple[str, str]], method: str) -> None:
        self._outgoing: queue.Queue[bytes | None] = queue.Queue()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        call = self._channel.stream_stream(method)
        self.responses = call(iter(self._outgoing.get, None), metadata=headers, timeout=120)

    def send_raw(self, message: bytes) -> None:
        self._outgoing.put(message)

    def send(self, **payload: Any) -> None:
        self.send_raw(EphemeralStreamRequest(**payload).SerializeToString())

    def receive(self) -> Any:
        return EphemeralStreamResponse.FromString(next(self.responses))

    def acknowledged(self) -> int:
        """The offset that the next response acknowledges, which has to be an acknowledgement."""
        response = self.receive()
        # proto2 gives 0 for the offset of a message without one.
        assert response.WhichOneof("payload") == "ingest_record_response", response
        assert response.ingest_record_response.HasField("durability_ack_up_to_offset")
        return int(response.ingest_record_response.durability_ack_up_to_offset)

    def half_close(self) -> None:
        self._outgoing.put(None)

    def refusal(self) -> grpc.RpcError:
        """The status that the call ends with; whatever is answered before it is dropped."""
        with pytest.raises(grpc.RpcError) as caught:
            for _ in self.responses:
                pass
        return caught.value

    def close(self) -> None:
        self.half_close()
        self.responses.cancel()
        self._channel.close()


class Door:
    """A running server and what a test needs around it."""

    def __init__(self, data: Path, **options: Any) -> None:
        self.catalog = Catalog(data)
        self.tokens = Tokens(self.catalog)
        self.storage = Storage(self.catalog)
        self.faults = Faults()
        self.grpc = GrpcServer(self.catalog, self.tokens, self.storage, self.faults, **options)
        self.port, _ = self.grpc.start()
        self._raw: list[RawStream] = []

    def close(self) -> None:
        for raw in self._raw:
            raw.close()
        self.grpc.stop(0)
        self.storage.close()

    def create(self, columns: str, table: str = "main.default.t") -> str:
        self.catalog.execute(f"CREATE TABLE {table} ({columns})")
        return table

    def token(self, table: str) -> str:
        detail = {"object_type": "TABLE", "object_full_path": table, "privileges": list(ZEROBUS_PRIVILEGES)}
        return self.tokens.issue(self.catalog.principals.default.client_id, [detail])[0]

    def headers(self, table: str) -> Headers:
        return Headers(table, self.token(table))

    def sdk_stream(
        self, table: str, *, record_type: RecordType = RecordType.JSON, descriptor: Any = None, **options: Any
    ) -> Any:
        sdk = ZerobusSdk(f"http://127.0.0.1:{self.port}", "http://127.0.0.1:1")
        return sdk.create_stream(
            None,
            None,
            TableProperties(table, descriptor),
            StreamConfigurationOptions(record_type=record_type, **({"recovery": False} | options)),
            headers_provider=self.headers(table),
        )

    def raw(self, table: str, *, headers: list[tuple[str, str]] | None = None, method: str | None = None) -> RawStream:
        if headers is None:
            headers = self.headers(table).get_headers()
        stream = RawStream(self.port, headers, method or "/databricks.zerobus.Zerobus/EphemeralStream")
        self._raw.append(stream)
        return stream

    def opened(self, table: str, record_type: int = 2, **create: Any) -> RawStream:
        """A raw stream on which create_stream was answered; JSON unless told otherwise."""
        stream = self.raw(table)
        stream.send(create_stream={"table_name": table, "record_type": record_type, **create})
        assert stream.receive().create_stream_response.stream_id
        return stream

    def rows(self, table: str) -> pa.Table:
        return dataset_at(self.catalog.table(table).path).to_table()

    def version(self, table: str) -> int:
        return DeltaTable(self.catalog.table(table).path).version()


@pytest.fixture
def make_door(tmp_path: Path) -> Iterator[Callable[..., Door]]:
    with ExitStack() as closing:

        def make(**options: Any) -> Door:
            door = Door(tmp_path / "data", **options)
            closing.callback(door.close)
            return door

        yield make


@pytest.fixture
def door(make_door: Callable[..., Door]) -> Door:
    return make_door()
