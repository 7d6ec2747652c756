"""Splits a source into shards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ...errors import ConfigurationError
from ...storage.filesystem import UriWithFilesystem
from ...storage.uris import secrets_in, shown_uri
from ..files.finding.found import find_files, holds_no_files, looks_like_path
from ..sql.query import SqlQuery
from .dataset import is_dataset, split_dataset
from .files import file_shards
from .form import MARK, VERSION, fingerprint_of, split_id
from .sql import split_query

if TYPE_CHECKING:
    from ..files.finding.found import FoundFiles

__all__ = ["given_files", "split_source", "version_of"]

_MOST_SHARDS = 10_000
# The most characters of paths that a shard stores; for more paths, the user must name a directory or a glob.
_LONGEST_SOURCE = 2_000


def split_source(
    source: Any,
    n: int,
    *,
    by: str | None = None,
    ranges: Literal["quantiles", "even"] = "quantiles",
    format: str | None = None,
) -> list[dict[str, Any]]:
    """Split ``source`` into at most ``n`` shards, in a fixed order; a query can have one more shard, see below.

    Each shard is a dict of JSON-compatible values that usually takes a few hundred bytes, and has a fingerprint of its
    own. The shards have about the same size, as far as the source can be divided. Every row is in exactly one shard.
    Blocks. Raises ConfigurationError if ``source`` cannot be split.

    * Files: a path or URI of files, a directory, a glob, or a list of them. Pass ``format`` if the extensions of the
      files do not show their format. Files are not cut, except for Parquet files that are large compared with a shard:
      these are cut between row groups. Pass each shard to ``ingest``. If a URI contains a secret, such as a password or
      a signature, the shards do not contain the URI: pass ``read_shard(source, shard)`` instead.
    * A pyarrow Dataset of files, which is split in the same way. Pass ``read_shard(dataset, shard)`` to ``ingest``.
    * A ``SqlQuery``; ``by`` is the name of its key column. Each shard has the rows in a range of the key; the first
      range has no lower end, and the last has no upper end. One more shard has the rows whose key is NULL, if there are
      any. With ``ranges="quantiles"``, the ranges have about equally many rows, and the database sorts all keys. With
      ``"even"``, the range between the smallest and the greatest key is divided evenly, without a sort, so the numbers
      of rows can differ; the keys must be numbers, dates or timestamps. A row's key must not change before all shards
      are read. Pass ``read_shard(query, shard)`` to ``ingest``.

    Returns fewer than ``n`` shards if there are not enough files, row groups or keys for ``n``. Returns an empty list
    if a list, a glob or a dataset has no files, or a query has no rows. If any file of the source was added, removed or
    changed since the split, reading a shard raises ConfigurationError; for a folder that keeps receiving files,
    use ``NewFiles``. A database cannot show that rows have changed. If a row is inserted after the split, it is
    delivered only if there is a shard for its key and that shard is read after the insertion.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_SHARDS:
        raise ConfigurationError(f"n must be a whole number of shards from 1 to {_MOST_SHARDS:,}, not {n!r}")
    if isinstance(source, SqlQuery):
        return split_query(source, n, by=by, ranges=ranges)
    if by is not None or ranges != "quantiles":
        raise ConfigurationError("by and ranges apply only to a SqlQuery, whose shards are ranges of a key")
    return split_dataset(source, n) if is_dataset(source) else _split_files(source, n, format)


def _split_files(source: Any, n: int, format: str | None) -> list[dict[str, Any]]:
    paths = _paths(source)
    if not paths or (len(paths) == 1 and _is_empty(paths[0])):
        return []
    found = find_files(paths, format=format)
    whole = version_of(found)
    groups = file_shards(found, n)
    head = {
        MARK: VERSION,
        "kind": "files",
        "split": split_id(whole, n),
        "source": _storable(paths),
        "format": format,
        "n": n,
        "of": len(groups),
    }
    return [
        {
            **head,
            "files": len({file.path for file in group}),
            "bytes": size,
            "index": index,
            "fingerprint": fingerprint_of(index, n, whole),
        }
        for index, (group, size) in enumerate(groups)
    ]


def _storable(paths: list[str]) -> str | list[str] | None:
    """Return the paths in the form that a shard stores: a single string, or a list of strings if there are several.

    Returns None if a path contains a secret or has its own file system object.
    """
    if any(isinstance(path, UriWithFilesystem) or secrets_in(path) for path in paths):
        return None
    return paths[0] if len(paths) == 1 else paths


def given_files(source: Any, shard: dict[str, Any]) -> FoundFiles:
    """Return the files that ``source`` has now; the format of the files is taken from ``shard``."""
    return find_files(_paths(source), format=shard["format"])


def version_of(found: FoundFiles) -> str:
    """Return one hash of the versions of all files; raise ConfigurationError if their storage reports no versions."""
    whole = found.fingerprint({})
    if whole is None:
        raise ConfigurationError(
            f"the storage of {found.given} does not report versions, so a change of a file between the split and the "
            "delivery of a shard would go unnoticed; deliver the source as a whole"
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
                "source must be a path or URI of files, a directory, a glob, a list of them, a pyarrow Dataset or a "
                f"SqlQuery, not "
                f"{type(one).__name__} {shown_uri(str(one))[:80]!r}"
            )
        paths.append(path)
    if sum(map(len, paths)) > _LONGEST_SOURCE:
        raise ConfigurationError(
            f"source contains {len(paths):,} paths, which every shard would repeat; give their directory or a glob"
        )
    return paths
