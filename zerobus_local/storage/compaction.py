"""Keeping the number of files of a Delta table low, for each commit costs more the more files there are.

Measured with deltalake 1.6: a commit takes 10 ms of processor time in a table of 100 files and 50 ms in one of 600.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["CROWDED", "compact_if_crowded"]

CROWDED: Final = 100
# Files of up to so many times the median are merged into files of about that size: a row is rewritten once per such
# step in size, instead of each time.
_STEP: Final = 16


def compact_if_crowded(delta: DeltaTable) -> bool:
    """Merge small files if there are many; rows and their readers are not disturbed.  Whether it was done."""
    sizes = delta.get_add_actions(flatten=True).column("size_bytes").to_pylist()
    if len(sizes) < CROWDED:
        return False
    delta.optimize.compact(target_size=int(statistics.median(sizes) * _STEP), max_concurrent_tasks=1)
    return True
