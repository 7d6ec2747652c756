"""N physical streams to one table, one account of what they carry, and one gate over all of them."""

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
