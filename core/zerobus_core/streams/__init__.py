"""A pool of N streams to one table, with one ledger of what they send and one check that all is acknowledged."""

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
