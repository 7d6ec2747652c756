"""Deliveries that an event loop awaits: ``aingest``, and what adapters build their own awaitable calls from."""

from .bridge import LoopBridge, run_in_thread
from .push import aingest
from .side_loop import async_records

__all__ = ["LoopBridge", "aingest", "async_records", "run_in_thread"]
