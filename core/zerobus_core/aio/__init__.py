"""Deliveries that an event loop awaits: ``aingest``, and the parts from which adapters build awaitable calls."""

from .bridge import LoopBridge, run_in_thread
from .push import aingest
from .side_loop import async_records

__all__ = ["LoopBridge", "aingest", "async_records", "run_in_thread"]
