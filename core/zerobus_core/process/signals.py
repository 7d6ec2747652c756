"""Distinguishes what a signal's handler raised from what went wrong.

A handler breaks in wherever the program is, also where errors are caught to be reworded, or to be
survived; what it raises is the user's stop, and goes on as it is.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from types import CodeType
from typing import Any

__all__ = ["is_of_signal"]

# Errors can be chained in a circle.
_LONGEST_CHAIN = 100


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
