"""Recognises exceptions that a signal handler raised.

A handler can interrupt any code, including code that catches errors to rephrase or ignore them. An exception that a
handler raised is the user's way to stop the program, and must be passed on unchanged.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from types import CodeType
from typing import Any

__all__ = ["is_of_signal"]

# The most causes that are followed: errors can be chained in a circle.
_LONGEST_CHAIN = 100


def is_of_signal(error: BaseException) -> bool:
    """Return whether the error, or one of its causes, was raised by a signal handler that is still installed."""
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
