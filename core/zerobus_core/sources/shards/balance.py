"""Which unit of work goes to which shard.  Pure, and the same for the same units in every process.

The largest unit goes first, each to the shard that has the least so far ("longest processing time first"): the largest
shard is at most 4/3 of the best possible one (Graham 1969).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

__all__ = ["balanced"]


def balanced(sizes: Sequence[int], shards: int) -> list[list[int]]:
    """The indexes of ``sizes`` in at most ``shards`` groups of about equal sums; none is empty.

    Groups are ordered by their first index, and so are the indexes in a group.
    """
    # Many units without a size, such as empty files, are also spread.
    order = sorted(range(len(sizes)), key=lambda index: (-sizes[index], index))
    heap = [(0, 0, shard) for shard in range(min(shards, len(sizes)))]
    groups: list[list[int]] = [[] for _ in heap]
    for index in order:
        load, count, shard = heapq.heappop(heap)
        groups[shard].append(index)
        heapq.heappush(heap, (load + sizes[index], count + 1, shard))
    return sorted(sorted(group) for group in groups)
