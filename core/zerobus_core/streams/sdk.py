"""The only module that uses the Zerobus SDK: opens the SDK's streams with the options that the pool needs.

The SDK's recovery is off. With recovery, SDK 1.10.0 reconnects endlessly and without pauses, sends batches again when
an ACK is late, and reports none of this. Without recovery, a stream object dies once and says why.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..errors import ConfigurationError
from ..process.fork import ForkSafeLock, in_each_child
from ..version import USER_AGENT
from ..workspace import ClientCredentials, FederatedCredentials, mask_of
from .sdk_errors import translated_error

if TYPE_CHECKING:
    from ..batch import Encoder
    from ..errors import ZerobusIngestError
    from ..masking import Mask
    from ..options import IngestOptions
    from ..workspace import Workspace
    from .stream import Listener, SdkStream

__all__ = ["SdkSession"]

# The pool enforces the time limits. The SDK's own limits are set far beyond these, so that the pool decides.
_BEYOND_MS = 24 * 3600 * 1000
_CLOSE_MS = 1_000


def _import_quietly() -> Any:
    """Import the SDK, and switch off its log lines on stdout.

    If RUST_LOG is set, or the SDK was imported before, the log lines are left as they are. The SDK reads RUST_LOG only
    when it is imported.
    """
    if "zerobus" in sys.modules or "RUST_LOG" in os.environ:
        import zerobus.sdk.sync
    else:
        os.environ["RUST_LOG"] = "off"
        try:
            import zerobus.sdk.sync
        finally:
            del os.environ["RUST_LOG"]
    return zerobus.sdk.sync


_lock = ForkSafeLock()  # guards _sdks
_sdks: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()
in_each_child(_sdks.clear)  # the threads of an SDK object do not exist in the child of a fork


def _sdk_of(workspace: Workspace) -> Any:
    """Return the SDK object of the workspace; all deliveries in this process to the workspace share it.

    The object has a thread for each core, and a cache of tokens for each identity and table. It is freed when the last
    delivery that uses it ends. If one of its streams broke or could not be opened, it is kept forever instead.
    """
    module = _import_quietly()
    key = (workspace.endpoint, workspace.workspace_url)
    with _lock:
        sdk = _sdks.get(key)
        if sdk is None:
            sdk = module.ZerobusSdk(*key, application_name=USER_AGENT)
            _sdks[key] = sdk
        return sdk


def _keep_for_ever(sdk: Any) -> None:
    """Keep an SDK object forever; called when one of its streams broke or could not be opened.

    Freeing the object could block the process forever: the thread that frees it holds the GIL and waits for the SDK's
    threads, and one of these can be in a callback that waits for the GIL. If Python's garbage collector frees the
    object during a callback, the SDK panics. The extra reference keeps the object alive even when the interpreter ends.
    Later deliveries share the object and its idle threads.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(sdk))


class SdkSession:
    """Opens the streams of one delivery. ``open`` blocks, and is called in each stream's worker thread."""

    def __init__(self, workspace: Workspace, table: str, encoder: Encoder, options: IngestOptions) -> None:
        self._workspace = workspace
        self._table = table
        self._encoder = encoder
        self._open_ms = max(1, int(options.open_timeout * 1000))
        self._ack_ms = int(options.ack_timeout * 1000)
        self._module = _import_quietly()
        self._mask = mask_of(workspace)
        self._sdk: Any = None  # kept until the delivery ends, so that all its streams share one
        self._federated_token: Any = None  # one for all streams: it is the key of the SDK's token cache
        if isinstance(workspace.credentials, FederatedCredentials):
            from zerobus.sdk.shared.auth import FederatedToken

            self._federated_token = FederatedToken(
                workspace.credentials.token_supplier, workspace.credentials.client_id
            )
        if encoder.record_format == "arrow" and not isinstance(workspace.credentials, ClientCredentials):
            raise ConfigurationError(
                'Arrow streams support only ClientCredentials; set record_format="protobuf" for FederatedCredentials'
            )

    def open(self, listener: Listener) -> SdkStream:
        """Open one stream. If the SDK cannot open the stream, raise one of our errors in place of the SDK's error.

        Blocks for up to ``open_timeout``, or longer if a token endpoint does not answer.
        """
        sdk = self._sdk = _sdk_of(self._workspace)
        try:
            if self._encoder.record_format == "arrow":
                return self._open_arrow(sdk, listener)
            return self._open_records(sdk, listener)
        except BaseException as error:  # noqa: BLE001 - the edge of the SDK: panics are BaseExceptions
            failure = translated_error(error, self._mask)
        _keep_for_ever(sdk)
        raise failure  # outside of the except block: the SDK's error, as its context, could show a secret

    def _open_records(self, sdk: Any, listener: Listener) -> SdkStream:
        properties = self._module.TableProperties(self._table, descriptor_proto=self._encoder.descriptor)
        options = self._module.StreamConfigurationOptions(
            recovery=False,
            recovery_retries=0,
            recovery_timeout_ms=self._open_ms,
            server_lack_of_ack_timeout_ms=_BEYOND_MS,
            flush_timeout_ms=_CLOSE_MS,
            callback_max_wait_time_ms=_CLOSE_MS,
            ack_callback=_ack_callback(listener, self._mask),
        )
        credentials = self._workspace.credentials
        if isinstance(credentials, ClientCredentials):
            stream = sdk.create_stream(credentials.client_id, credentials.client_secret, properties, options)
        else:
            stream = sdk.create_stream(table_properties=properties, options=options, auth=self._federated_token)
        return RecordStream(sdk, stream, self._mask)

    def _open_arrow(self, sdk: Any, listener: Listener) -> SdkStream:
        from zerobus.sdk.shared.arrow import ArrowStreamConfigurationOptions

        credentials = self._workspace.credentials
        assert isinstance(credentials, ClientCredentials)
        options = ArrowStreamConfigurationOptions(
            recovery=False,
            recovery_retries=0,
            recovery_timeout_ms=self._open_ms,
            connection_timeout_ms=self._open_ms,
            server_lack_of_ack_timeout_ms=_BEYOND_MS,
            # Limits the wait for one offset, so that the thread that waits on a silent stream ends.
            flush_timeout_ms=self._ack_ms + _CLOSE_MS,
        )
        stream = sdk.create_arrow_stream(
            self._table, self._encoder.arrow_schema, credentials.client_id, credentials.client_secret, options
        )
        return ArrowStream(sdk, stream, listener, self._mask)


def _ack_callback(listener: Listener, mask: Mask) -> Any:
    """Return a callback object for ``listener``.

    Its class is defined inside this function because its base class exists only once the SDK is imported.
    """
    from zerobus import AckCallback

    class _Callback(AckCallback):  # type: ignore[misc]  # the SDK ships no types
        def on_ack(self, offset: int) -> None:
            listener.on_ack(offset)

        def on_error(self, _offset: int, error_message: str) -> None:
            listener.on_error(translated_error(error_message, mask))

    return _Callback()


class RecordStream:
    """A protobuf or JSON stream, which reports its ACKs through a callback."""

    stream_id: str | None = None

    def __init__(self, sdk: Any, stream: Any, mask: Mask) -> None:
        self._sdk = sdk
        self._stream = stream
        self._mask = mask

    def ingest(self, payload: list[bytes] | list[str]) -> int:
        """Queue a batch in the SDK and return its offset; the whole batch has one offset."""
        offset: int = self._stream.ingest_records_offset(payload)
        return offset

    def cause(self) -> BaseException | None:
        """Return why the stream died: the SDK's ``ingest`` says only "Stream closed", but its ``flush`` says why."""
        return _call_error(self._stream.flush, self._mask)

    def close(self) -> None:
        """Close the stream; the SDK waits up to a second for its own tasks."""
        self._stream.close()

    def abandon(self) -> None:
        """Drop the stream, so that the SDK aborts it; keep the SDK object, because the SDK can still call back."""
        _keep_for_ever(self._sdk)


class ArrowStream:
    """An Arrow Flight stream. The SDK has no ACK callback for it, so a thread waits for each offset in turn."""

    stream_id: str | None = None

    def __init__(self, sdk: Any, stream: Any, listener: Listener, mask: Mask) -> None:
        self._sdk = sdk
        self._stream = stream
        self._mask = mask
        self._listener = listener
        self._sent: SimpleQueue[int | None] = SimpleQueue()
        threading.Thread(target=self._wait_for_acks, name="zerobus-arrow-acks", daemon=True).start()

    def ingest(self, payload: Any) -> int:
        """Queue a record batch in the SDK and return its offset."""
        offset: int = self._stream.ingest_batch(payload)
        self._sent.put(offset)
        return offset

    def cause(self) -> BaseException | None:
        """Return why the stream died: the SDK's ``ingest`` reports only a closed stream, but its ``flush`` says why."""
        return _call_error(self._stream.flush, self._mask)

    def close(self) -> None:
        """Close the stream; call this once everything is acknowledged."""
        self._sent.put(None)
        self._stream.close()

    def abandon(self) -> None:
        """Drop the stream; the thread that waits for an ACK ends within about ``ack_timeout``."""
        _keep_for_ever(self._sdk)
        self._sent.put(None)

    def _wait_for_acks(self) -> None:
        while (offset := self._sent.get()) is not None:
            try:
                self._stream.wait_for_offset(offset)
            except BaseException as error:  # noqa: BLE001 - the edge of a thread: whoever waits must hear of it
                self._listener.on_error(translated_error(error, self._mask))
                return
            self._listener.on_ack(offset)


def _call_error(call: Any, mask: Mask) -> ZerobusIngestError | None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - the error is what is asked for
        return translated_error(error, mask)
    return None
