"""What goes wrong while a file is read, as errors of ours that name the file; what a signal raised stays as it is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from types import CodeType
from typing import Any

from ..errors import ConfigurationError, TransportError

__all__ = ["is_of_signal", "unreadable"]

# Packages whose errors tell of a storage or of the way to it; not all of them are OSErrors.
_STORAGES = {"aiobotocore", "aiohttp", "azure", "botocore", "google", "httpx", "requests", "urllib3"}

# Errors can be chained in a circle.
_LONGEST_CHAIN = 100


def unreadable(path: str, error: Exception, rows: int | None = None) -> ConfigurationError | TransportError:
    """The error for a file that cannot be read; ``rows`` is how many rows of it had been read by then.

    A storage that fails is worth another try, a damaged file is not.
    """
    after = f" after {rows} rows" if rows else ""
    message = f"cannot read {path}{after}: {type(error).__name__}: {error}"
    if (type(error).__module__ or "").partition(".")[0] in _STORAGES:
        return TransportError(message)
    # gzip and its kind say by a bare OSError that a file is damaged; a storage that fails has a number for it.
    if isinstance(error, FileNotFoundError | PermissionError) or getattr(error, "errno", None) is None:
        return ConfigurationError(message)
    return TransportError(message)


def is_of_signal(error: BaseException) -> bool:
    """Whether the handler of a signal raised an error, or what led to it; it breaks in wherever the program is."""
    handlers = {code for number in signal.valid_signals() for code in _codes_of(signal.getsignal(number))}
    seen: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if seen is None:
            break
        trace = seen.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code in handlers:
                return True
            trace = trace.tb_next
        seen = seen.__cause__ or seen.__context__
    return False


def _codes_of(handler: Any) -> Iterator[CodeType]:
    while isinstance(handler, partial):
        handler = handler.func
    for function in (handler, getattr(handler, "__func__", None), getattr(type(handler), "__call__", None)):  # noqa: B004
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            yield code
