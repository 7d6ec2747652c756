"""Fetches descriptions of tables from Unity Catalog within a deadline, caches them, and translates errors into ours.

``ask`` and ``send`` send other requests in the same way, but without the cache. All these functions raise only our
errors and the errors of the user's ``token_supplier``. An unexpected error becomes the ``__cause__`` of a
TransportError. Secrets in the server's answers and in errors raised by libraries are masked, both in the text of our
error and in its chain of causes.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, cast
from urllib.parse import urlencode

from ...errors import IngestInterruptedError, IngestTimeoutError, ThrottledError, TransportError, ZerobusIngestError
from ...process.backoff import pause_after
from ...process.fork import ForkSafeLock
from ...workspace import ClientCredentials, Workspace, mask_of
from . import client
from .connection import UnsupportedProxyError

__all__ = ["ask", "fetch_table_info", "forget_table_info", "send"]

_MAX_CACHED = 256
_ATTEMPTS = 4
_FIRST_PAUSE = 0.5  # seconds at most; see backoff
# The caller's thread checks for a stop request at least once in this time, in seconds.
_SLICE = 0.1

_lock = ForkSafeLock()  # guards _cache
_cache: dict[tuple[object, ...], tuple[float, Mapping[str, Any]]] = {}
_salt = os.urandom(16)


def fetch_table_info(
    workspace: Workspace, table: str, *, timeout: float, max_age: float, stop: threading.Event | None = None
) -> Mapping[str, Any]:
    """Return the answer to ``GET /api/2.1/unity-catalog/tables/{table}``, already parsed from JSON.

    Blocks for at most ``timeout`` seconds, or until ``stop`` is set. Returns a cached answer that is less than
    ``max_age`` seconds old, if there is one.
    """
    key = _key(workspace, table)
    now = time.monotonic()
    with _lock:
        fetched_at, info = _cache.get(key, (0.0, None))
    if info is not None and now - fetched_at < max_age:
        return info
    path = f"/api/2.1/unity-catalog/tables/{table}"
    look = _own_road if isinstance(workspace.credentials, ClientCredentials) else _sdk_road
    info = _asked(workspace, look, path, {}, table=table, timeout=timeout, stop=stop)
    with _lock:
        _cache.pop(key, None)
        if len(_cache) >= _MAX_CACHED:
            del _cache[next(iter(_cache))]
        _cache[key] = (time.monotonic(), info)
    return info


def forget_table_info(workspace: Workspace, table: str) -> None:
    """Discard the cached answer for the table, however recent it is."""
    with _lock:
        _cache.pop(_key(workspace, table), None)


def _key(workspace: Workspace, table: str) -> tuple[object, ...]:
    return (workspace.workspace_url, _identity(workspace), table)


_Road = Callable[[Workspace, str, Mapping[str, str], float], Mapping[str, Any]]


def ask(
    workspace: Workspace, path: str, *, timeout: float, query: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Send a GET to the workspace with databricks-sdk, and return the parsed JSON answer.

    Blocks for at most ``timeout`` seconds. Raises our errors, and those of the user's ``token_supplier``.
    """
    return _asked(workspace, _sdk_road, path, query or {}, table=None, timeout=timeout, stop=None)


def send(
    workspace: Workspace, method: str, path: str, body: Mapping[str, Any] | None, *, timeout: float
) -> Mapping[str, Any]:
    """Send a request and return the parsed answer.

    ``body`` is sent as JSON; if it is None, the request has no body. A GET is sent again after a transient failure,
    even if the GET reached the workspace. A request with another method is sent again only if the workspace certainly
    did not run it. If it is unknown whether the workspace ran such a request, raises a ZerobusIngestError that is not
    retryable. In all other respects, this function works like ``ask``.
    """
    attempt = None if method == "GET" else _Unrepeatable()

    def look(workspace: Workspace, path: str, query: Mapping[str, str], timeout: float) -> Mapping[str, Any]:
        on_send = None if attempt is None else attempt.on_send
        return _sdk_road(workspace, path, query, timeout, method=method, body=body, on_send=on_send)

    try:
        return _asked(workspace, look, path, {}, table=None, timeout=timeout, stop=None, attempt=attempt)
    except (TransportError, IngestTimeoutError) as error:
        if attempt is None or not attempt.give_up():
            raise
        raise ZerobusIngestError(
            f"it is not known whether the workspace ran the request {method} {path}, so it was not sent again: before "
            f"you repeat the request, check whether the workspace ran it ({error})"
        ) from error


class _Unrepeatable:
    """The state of a request that must not run twice: whether it was sent, and whether it may still be sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both flags
        self._is_sent = False
        self._is_given_up = False

    def on_send(self) -> None:
        """Record that the request is about to be sent.

        Raises IngestTimeoutError, so that the request is not sent, if ``give_up`` was called before.
        """
        with self._lock:
            if self._is_given_up:
                raise IngestTimeoutError("the request was not sent in time")
            self._is_sent = True

    def may_repeat(self, error: Exception) -> bool:
        """Return whether the request can be sent again after it failed with ``error``, which is one of our errors."""
        with self._lock:
            if isinstance(error, ThrottledError):  # the workspace answered that it did not run the request
                self._is_sent = False
            return not self._is_sent

    def give_up(self) -> bool:
        """Prevent the request from being sent from now on; return whether it was already sent."""
        with self._lock:
            self._is_given_up = True
            return self._is_sent


def _identity(workspace: Workspace) -> object:
    """Return a cache key for the workspace's credentials, so that each identity gets only its own answers.

    The key does not contain the secret itself.
    """
    credentials = workspace.credentials
    if isinstance(credentials, ClientCredentials):
        secret = hashlib.blake2b(credentials.client_secret.encode(), key=_salt, digest_size=16).hexdigest()
        return (credentials.client_id, secret)
    supplier = credentials.token_supplier
    try:
        hash(supplier)
    except TypeError:  # for example an instance of a dataclass that is not frozen
        return (credentials.client_id, _ThisObject(supplier))
    return (credentials.client_id, supplier)


class _ThisObject:
    """A cache key for an object that cannot be hashed. Two keys are equal only if they are keys of the same object.

    The key keeps a reference to the object.
    """

    __slots__ = ("_held",)

    def __init__(self, held: object) -> None:
        self._held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ThisObject) and self._held is other._held

    def __hash__(self) -> int:
        return id(self._held)


def _asked(  # noqa: PLR0913 - the request, the client that sends it, and the time limit
    workspace: Workspace,
    look: _Road,
    path: str,
    query: Mapping[str, str],
    *,
    table: str | None,
    timeout: float,
    stop: threading.Event | None,
    attempt: _Unrepeatable | None = None,
) -> Mapping[str, Any]:
    # Resolving a host name has no time limit, and neither has databricks-sdk's request for a token. So the request runs
    # in a thread of its own, which is left behind at the deadline. The caller's thread waits in short steps, so that
    # signal handlers can run.
    outcome: list[Mapping[str, Any] | BaseException] = []

    def run() -> None:
        try:
            work = partial(look, workspace, path, query, timeout)
            outcome.append(_patiently(workspace, work, seconds=timeout / 4, attempt=attempt))
        except BaseException as error:  # noqa: BLE001  # the edge of a thread: the waiting caller gets it
            outcome.append(error)

    thread = threading.Thread(target=run, name="zerobus-unity-catalog", daemon=True)
    thread.start()
    deadline = time.monotonic() + timeout
    while thread.is_alive() and (left := deadline - time.monotonic()) > 0:
        thread.join(min(left, _SLICE))
        if stop is not None and stop.is_set():
            raise IngestInterruptedError("stopped on request, before anything was sent", table=table)
    if not outcome:
        raise IngestTimeoutError(f"Unity Catalog did not answer within {timeout:g} s", table=table)
    if isinstance(outcome[0], ZerobusIngestError):
        outcome[0].table = outcome[0].table or table
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _own_road(workspace: Workspace, path: str, query: Mapping[str, str], timeout: float) -> Mapping[str, Any]:
    assert isinstance(workspace.credentials, ClientCredentials)
    encoded = f"?{urlencode(query)}" if query else ""
    try:
        return client.get_json(
            workspace.workspace_url, workspace.credentials, path, timeout=max(1.0, timeout / 2), query=encoded
        )
    except UnsupportedProxyError:
        return _sdk_road(workspace, path, query, timeout)


def _sdk_road(  # noqa: PLR0913 - the request, and the promise that it is sent once
    workspace: Workspace,
    path: str,
    query: Mapping[str, str],
    timeout: float,
    *,
    method: str = "GET",
    body: Mapping[str, Any] | None = None,
    on_send: Callable[[], None] | None = None,
) -> Mapping[str, Any]:
    with suppress(UnsupportedProxyError):
        # databricks-sdk takes half a minute to find out that a host does not answer, and says "Invalid URL 'None'".
        client.reach(workspace.workspace_url, timeout=timeout).close()
    from . import sdk_client

    return sdk_client.json_answer(workspace, method, path, query, body, timeout, on_send=on_send)


def _patiently(
    workspace: Workspace,
    work: Callable[[], Mapping[str, Any]],
    *,
    seconds: float,
    attempt: _Unrepeatable | None = None,
) -> Mapping[str, Any]:
    """Return the result of ``work``, which is called up to four times if it raises transient errors.

    ``work`` is called again only within the first ``seconds`` seconds, and only if ``attempt`` is None or its method
    ``may_repeat`` returns True. Raises our errors, and those of the user's ``token_supplier``. Sleeps between the
    calls, so call this function from a worker thread.
    """
    end = time.monotonic() + seconds
    for number in count(1):
        try:
            return work()
        except Exception as error:  # noqa: BLE001  # any library's error becomes one of ours here
            ours = _own_error(error, workspace)
            pause = pause_after(number, first=_FIRST_PAUSE, draw=random.random())  # noqa: S311  # jitter, no secret
            if isinstance(error, client.RetryLater):
                pause = max(pause, error.seconds)
            is_passing = isinstance(ours, TransportError | ThrottledError) and not client.is_final(error)
            may_repeat = is_passing and (attempt is None or attempt.may_repeat(ours))
            if not may_repeat or number == _ATTEMPTS or time.monotonic() + pause > end:
                raise ours from ours.__cause__
        time.sleep(pause)
    raise AssertionError("itertools.count never ends")


def _own_error(error: Exception, workspace: Workspace) -> Exception:
    """Translate ``error`` to one of our errors, with secrets masked.

    An error that the user's ``token_supplier`` raised is returned unchanged if it is not one of our errors.
    """
    mask = mask_of(workspace)
    origin: BaseException = error
    ours: BaseException | None = None
    # If sdk_client was never imported, ``error`` is not from databricks-sdk.
    sdk_client = sys.modules.get(f"{__package__}.sdk_client")
    if isinstance(error, client.RetryLater):
        ours = error.__cause__
    elif isinstance(error, ZerobusIngestError):
        ours = error
    elif sdk_client is not None and isinstance(error, sdk_client.SdkError) and error.__cause__ is not None:
        origin = error.__cause__
        ours = sdk_client.translated_error(origin, mask.text)
        if ours is not None and not isinstance(ours, ZerobusIngestError):
            return cast("Exception", ours)
    else:
        ours = client.unreachable_error(workspace.workspace_url, error)
    if ours is None:
        ours = TransportError(f"the answer of the workspace cannot be read ({type(origin).__name__}: {origin})")
    if ours is not origin and not isinstance(error, client.RetryLater):
        ours.__cause__ = origin
    return cast("Exception", mask.cause(ours))
