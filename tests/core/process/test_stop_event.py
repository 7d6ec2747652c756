"""Signals that come while a stop is requested."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The alarm rings in the middle of ``set``, of which there is nothing else.
CODE = """
import signal, threading
from zerobus_core.hosting import StopRequest
from zerobus_core.process.stop_event import StopEvent
event = {event}
signal.signal(signal.SIGALRM, lambda *_: event.set())
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
for _ in range(300_000):
    event.set()
signal.setitimer(signal.ITIMER_REAL, 0)
print(event.is_set())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timer signals")
@pytest.mark.parametrize("event", ["StopEvent()", "StopRequest()"])
def test_a_handler_sets_an_event_that_is_just_being_set(event: str) -> None:
    code = CODE.format(event=event)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "True\n"
