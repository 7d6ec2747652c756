"""Splitting a source into shards."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ...storage.uris import shown_uri
from ..files.finding.found import find_files, holds_no_files, looks_like_path
from .files import file_shards

if TYPE_CHECKING:
    from ..files.finding.found import FoundFiles

__all__ = ["MARK", "VERSION", "given_files", "shard_fingerprint", "split_source"]

MARK = "zerobus_shard"
VERSION = 1
_MOST_SHARDS = 10_000
# Characters of the paths that a shard repeats; more belong into a directory or a glob.
_LONGEST_SOURCE = 2_000


def split_source(source: Any, n: int, *, format: str | None = None) -> list[dict[str, Any]]:
    """Split ``source`` into at most ``n`` shards of about equal bytes, in a fixed order.

    ``source`` is a path or URI of files, a directory, a glob, or a list of them; ``format`` is as for files without a
    telling extension.  Each shard is a dict of JSON types of a few hundred bytes, which ``ingest`` and everything that
    takes ``records`` takes as a source.  Shards are disjoint and complete: together they have every row once.

    Files are units of work; Parquet files that are large for a shard are cut between row groups.  There are fewer than
    ``n`` shards if there are fewer units, and none if a directory or glob holds no files.  A shard is refused when it
    is read if any file of the source was added, removed or changed since the split; for a folder that receives files
    all the time, use ``NewFiles``.  Blocks while it lists the files and reads the footers of large ones.  Raises
    ConfigurationError.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_SHARDS:
        raise ConfigurationError(f"n must be a whole number of shards from 1 to {_MOST_SHARDS:,}, not {n!r}")
    paths = _paths(source)
    if len(paths) == 1 and _is_empty(paths[0]):
        return []
    found = find_files(paths, format=format)
    whole = _version_of(found)
    groups = file_shards(found, n)
    return [
        {
            MARK: VERSION,
            "source": paths[0] if len(paths) == 1 else paths,
            "format": format,
            "index": index,
            "of": n,
            "files": len({file.path for file in group}),
            "bytes": size,
            "fingerprint": shard_fingerprint(whole, index, n),
        }
        for index, (group, size) in enumerate(groups)
    ]


def given_files(shard: dict[str, Any]) -> FoundFiles:
    """The files that the source of ``shard`` has now."""
    source = shard["source"]
    return find_files(source if isinstance(source, str) else list(source), format=shard["format"])


def shard_fingerprint(whole: str, index: int, of: int) -> str:
    """Identifies one shard of a source whose files have the fingerprint ``whole``."""
    digest = hashlib.sha256(json.dumps([whole, index, of]).encode()).hexdigest()
    return f"shard:{index}/{of}:{digest[:32]}"


def _version_of(found: FoundFiles) -> str:
    whole = found.fingerprint({})
    if whole is None:
        raise ConfigurationError(
            f"the storage of {found.given} says nothing of versions, so a shard could not notice that a file changed; "
            "deliver the source as a whole"
        )
    return whole


def _is_empty(path: str) -> bool:
    return any(sign in path for sign in "*?[") and holds_no_files(path)


def _paths(source: Any) -> list[str]:
    given = list(source) if isinstance(source, Sequence) and not isinstance(source, str | bytes) else [source]
    paths: list[str] = []
    for one in given:
        path = os.fspath(one) if isinstance(one, os.PathLike) else one
        if not isinstance(path, str) or not looks_like_path(path):
            raise ConfigurationError(
                f"source must be a path or URI of files, a directory, a glob, or a list of them, not "
                f"{type(one).__name__} {shown_uri(str(one))[:80]!r}"
            )
        paths.append(path)
    if sum(map(len, paths)) > _LONGEST_SOURCE:
        raise ConfigurationError(
            f"source names {len(paths):,} paths, which every shard would repeat; give their directory or a glob"
        )
    return paths
