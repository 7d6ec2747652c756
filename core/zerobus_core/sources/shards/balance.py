"""Assigns units of work to shards; the result is the same in every process. No I/O.

The units are assigned from the largest to the smallest, each to the shard that has the least work so far ("longest
processing time first"). The largest shard is then at most 4/3 as large as it would be in the best assignment (Graham
1969).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

__all__ = ["balanced", "cut", "cut_above"]

# A unit that is larger than this share of a shard is cut into pieces of about half this share. Such pieces are small
# enough to balance the shards, and large enough that few files are opened more than once.
_CUT_ABOVE = 0.25


def balanced(sizes: Sequence[int], shards: int) -> list[list[int]]:
    """Divide the indexes of ``sizes`` into at most ``shards`` groups that have about the same sum of sizes.

    Returns the groups, ordered by their first index. The indexes in a group are in order. No group is empty.
    """
    # The heap also counts units, so that many units of size 0, such as empty files, are spread over the shards.
    order = sorted(range(len(sizes)), key=lambda index: (-sizes[index], index))
    heap = [(0, 0, shard) for shard in range(min(shards, len(sizes)))]
    groups: list[list[int]] = [[] for _ in heap]
    for index in order:
        load, count, shard = heapq.heappop(heap)
        groups[shard].append(index)
        heapq.heappush(heap, (load + sizes[index], count + 1, shard))
    return sorted(sorted(group) for group in groups)


def cut_above(total: float, shards: int) -> float:
    """Return the size above which a unit is cut; ``total`` is the sum of the sizes of all units."""
    return total / shards * _CUT_ABOVE


def cut(sizes: Sequence[float], limit: float) -> Iterator[tuple[int, int, int]]:
    """Cut a sequence of units into runs; a run ends as soon as its size is at least half of ``limit``.

    ``sizes`` are the sizes of the units. The last run can be smaller. For each run, yields the index of its first unit,
    the index after its last unit, and the size of the run.
    """
    first = 0
    held = 0.0
    for stop, size in enumerate(sizes, 1):
        held += size
        if held >= limit / 2:
            yield first, stop, int(held)
            first, held = stop, 0.0
    if first < len(sizes):
        yield first, len(sizes), int(held)
