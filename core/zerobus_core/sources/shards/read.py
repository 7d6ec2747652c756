"""Reading one shard, if its source is still the one that was split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ..files.source import FileSource, source_of_found
from .files import file_shards
from .split import MARK, VERSION, given_files, shard_fingerprint

if TYPE_CHECKING:
    from ...options import IngestOptions

__all__ = ["is_shard", "shard_source"]

_FIELDS = {MARK, "source", "format", "index", "of", "files", "bytes", "fingerprint"}


def is_shard(value: object) -> bool:
    """Whether ``value`` is one of the dicts that ``split_source`` returns."""
    return isinstance(value, Mapping) and MARK in value


def shard_source(shard: Mapping[str, Any], options: IngestOptions) -> FileSource:
    """The source that reads ``shard``; raises ConfigurationError if the files are not those that were split."""
    plain = dict(shard)
    if plain[MARK] != VERSION or set(plain) != _FIELDS:
        raise ConfigurationError(
            f"the shard is of version {plain[MARK]!r} with the fields {sorted(plain)}, which this release does not "
            "read; split the source again"
        )
    found = given_files(plain)
    index, of = plain["index"], plain["of"]
    whole = found.fingerprint({})
    if whole is None or shard_fingerprint(whole, index, of) != plain["fingerprint"]:
        raise ConfigurationError(
            f"the files of {found.given} are not those that were split: one was added, removed or changed since then; "
            "split the source again, or use NewFiles for a folder that goes on receiving files"
        )
    source = source_of_found(replace(found, files=file_shards(found, of)[index][0]), options)
    source.fingerprint = f"{plain['fingerprint']}:{source.fingerprint}"
    return source
