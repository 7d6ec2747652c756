"""A pool of N streams to one table, and the ledger of what these streams sent and what was acknowledged."""

from .ledger import Ledger
from .open_rate import OpenRate, open_rate_of
from .pool import FAILURE_GRACE, PoolHooks, StreamPool
from .sdk import SdkSession
from .statistics import PoolStatistics

__all__ = [
    "FAILURE_GRACE",
    "Ledger",
    "OpenRate",
    "PoolHooks",
    "PoolStatistics",
    "SdkSession",
    "StreamPool",
    "open_rate_of",
]
