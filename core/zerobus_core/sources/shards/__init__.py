"""Shards: parts of a source that different workers deliver, each described by a few hundred bytes of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy_names import lazy_names

if TYPE_CHECKING:
    from .form import is_shard, shard_in
    from .read import GivenShard, read_shard, shard_source
    from .split import split_source

__all__ = ["GivenShard", "is_shard", "read_shard", "shard_in", "shard_source", "split_source"]

__getattr__ = lazy_names(
    __name__,
    {
        "GivenShard": "read",
        "is_shard": "form",
        "read_shard": "read",
        "shard_in": "form",
        "shard_source": "read",
        "split_source": "split",
    },
)
