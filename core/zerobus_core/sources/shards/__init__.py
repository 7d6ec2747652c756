"""Shards: parts of a source that workers deliver on their own, described by a few hundred bytes of JSON each."""

from .form import is_shard
from .read import GivenShard, read_shard, shard_source
from .split import split_source

__all__ = ["GivenShard", "is_shard", "read_shard", "shard_source", "split_source"]
