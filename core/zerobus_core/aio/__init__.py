"""Deliveries that an event loop awaits: ``aingest``, and what adapters build their own awaitable calls from."""

from .bridge import LoopBridge, run_in_thread
from .push import aingest

__all__ = ["LoopBridge", "aingest", "run_in_thread"]
