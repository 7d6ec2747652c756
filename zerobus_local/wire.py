"""The gRPC door: a server on one port, its streams, and how they are opened and ended.

Every call answers its headers at once: the SDK waits for them before it sends its first message, and would time out.
"""

from __future__ import annotations

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import grpc

from .stream import Stream
from .stream_inbox import Inbox
from .stream_statistics import Streams
from .wire_admission import Admission
from .wire_connection import cut_connection
from .wire_ephemeral import FORMATS, EphemeralProtocol, created, decoder_for, parse_create
from .wire_messages import SERVICE
from .wire_status import CutError, StatusError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .catalog import Catalog
    from .faults import Faults
    from .storage import Storage
    from .tokens import Tokens

__all__ = ["GrpcServer"]

_log = logging.getLogger("zerobus_local")

_MAX_STREAMS: Final = 512
_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024  # Arrow batches may exceed 10 MB; records are checked one by one
_INBOX_BYTES: Final = 16 * 1024 * 1024


class GrpcServer:
    """``start`` returns the port or raises OSError if it is taken; ``stop`` may be called twice."""

    def __init__(  # noqa: PLR0913  # whom it works with, and where it listens
        self,
        catalog: Catalog,
        tokens: Tokens | None,
        storage: Storage,
        faults: Faults,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        create_timeout: float = 30.0,
    ) -> None:
        self.streams = Streams()
        self._admission = Admission(catalog, tokens, faults)
        self._storage = storage
        self._faults = faults
        self._host = host
        self._port = port
        self._create_timeout = create_timeout
        self._server: Any = None

    def start(self) -> int:
        """Bind in the caller's thread, then serve in threads of the server's own."""
        server = grpc.server(
            ThreadPoolExecutor(max_workers=_MAX_STREAMS, thread_name_prefix="zerobus-local-stream"),
            options=[
                ("grpc.so_reuseport", 0),  # without it a second server shares the port instead of failing
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ],
            maximum_concurrent_rpcs=_MAX_STREAMS,
        )
        ephemeral = grpc.stream_stream_rpc_method_handler(self._ephemeral_stream)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"EphemeralStream": ephemeral}),)
        )
        try:
            port = server.add_insecure_port(f"{self._host}:{self._port}")
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._host}:{self._port}: {error}") from error
        server.start()
        self._server = server
        return int(port)

    def stop(self, grace: float = 1.0) -> None:
        """Refuse new streams, give those that are open ``grace`` seconds, then end them."""
        if self._server is not None:
            self._server.stop(grace).wait()
            self._server = None

    def _ephemeral_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.send_initial_metadata(())
        yield from self._answer(context, lambda: self._ephemeral_responses(requests, context))

    def _ephemeral_responses(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        call = self._admission.call(context)
        inbox = Inbox(requests, max_bytes=_INBOX_BYTES)
        inbox.start()
        try:
            create = parse_create(self._first_message(inbox))
            if create.table_name.lower() != call.table_name:
                raise invalid(f"create_stream names table {create.table_name!r}, the header {call.table_name!r}")
            table = call.table()
            protocol = EphemeralProtocol(create.record_type, decoder_for(table, create))
            stream_id = str(uuid.uuid4())
            record = self.streams.opened(
                stream_id=stream_id,
                table=table.full_name,
                number=call.number,
                protocol="grpc",
                record_format=FORMATS[create.record_type],
                client=call.client,
            )
            stream = Stream(
                table=table,
                protocol=protocol,
                inbox=inbox,
                storage=self._storage,
                faults=self._faults,
                record=record,
            )
            yield from self._run(context, stream, stream_id, created(stream_id))
        finally:
            inbox.stop()

    def _run(self, context: Any, stream: Stream, stream_id: str, opening: bytes) -> Iterator[bytes]:
        error: str | None = None
        if not context.add_callback(stream.cancel):
            stream.cancel()
        try:
            yield opening
            yield from stream.run()
        except StatusError as status:
            error = f"{status.code.name}: {status.text}"
            raise
        except CutError:
            error = "connection cut by a fault"
            raise
        finally:
            self.streams.closed(stream_id, error)

    def _first_message(self, inbox: Inbox) -> bytes:
        with inbox.changed:
            inbox.changed.wait_for(lambda: inbox.filled or inbox.ended, self._create_timeout)
        messages = inbox.take(0)
        if messages:
            return messages[0]
        if inbox.ended:
            raise invalid("the stream ended before create_stream")
        raise StatusError(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"no create_stream within {self._create_timeout:g} s of the call"
        )

    def _answer(self, context: Any, responses: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
        """Run a call and turn how it ends into what goes over the wire."""
        table = dict(context.invocation_metadata()).get("x-databricks-zerobus-table-name", "")
        try:
            yield from responses()
        except StatusError as status:
            _log.info("stream on %s refused: %s: %s", table, status.code.name, status.text)
            self.streams.failed(table, f"{status.code.name}: {status.text}")
            context.abort(status.code, status.text)
        except CutError:
            cut_connection(context)
        except Exception as error:  # noqa: BLE001  # the edge of the call: the client gets a status, others go on
            _log.exception("stream on %s failed", table)
            self.streams.failed(table, f"{type(error).__name__}: {error}")
            context.abort(grpc.StatusCode.INTERNAL, f"internal error of zerobus-local: {type(error).__name__}: {error}")
