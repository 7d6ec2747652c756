"""Shards: parts of a source that workers deliver on their own, described by a few hundred bytes of JSON each."""

from .read import is_shard, shard_source
from .split import split_source

__all__ = ["is_shard", "shard_source", "split_source"]
