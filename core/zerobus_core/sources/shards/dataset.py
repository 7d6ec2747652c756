"""Splits a pyarrow Dataset into shards of fragments; cuts Parquet files that are large compared with a shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ...optional_imports import require_pyarrow
from .balance import balanced, cut, cut_above
from .form import MARK, VERSION, fingerprint_of, split_id

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ..protocol.source import Source

__all__ = ["dataset_shard_source", "is_dataset", "split_dataset"]


def is_dataset(value: Any) -> bool:
    """Return whether ``value`` is a pyarrow Dataset."""
    return hasattr(value, "get_fragments") and hasattr(value, "schema")


def split_dataset(dataset: Any, n: int) -> list[dict[str, Any]]:
    """See ``split_source``."""
    version = _version_of(dataset)
    groups = _groups(dataset, n)
    head = {MARK: VERSION, "kind": "dataset", "split": split_id(version, n), "n": n, "of": len(groups)}
    return [
        {
            **head,
            "fragments": len(group),
            "bytes": size,
            "index": index,
            "fingerprint": fingerprint_of(index, n, version),
        }
        for index, (group, size) in enumerate(groups)
    ]


def dataset_shard_source(dataset: Any, shard: Mapping[str, Any], options: IngestOptions) -> Source:
    """Return the source that reads ``shard`` of ``dataset``.

    Raises ConfigurationError if ``dataset`` is not the dataset that was split, or has changed since the split.
    """
    from ..arrow.arrow import DatasetSource

    index, n = shard["index"], shard["n"]
    if fingerprint_of(index, n, _version_of(dataset)) != shard["fingerprint"]:
        raise ConfigurationError(
            "the dataset is not the one that was split: one of its files was added, removed or changed since then, or "
            "its read options are different; split it again"
        )
    source = DatasetSource(dataset, options, fragments=_groups(dataset, n)[index][0])
    source.fingerprint = f"{shard['fingerprint']}:{source.fingerprint}"
    return source


def _version_of(dataset: Any) -> str:
    require_pyarrow("reading a dataset")
    from ..arrow.arrow import dataset_fingerprint, is_whole

    version = dataset_fingerprint(dataset, list(dataset.get_fragments())) if is_whole(dataset) else None
    if version is None:
        raise ConfigurationError(
            "only a dataset of whole files can be split, but this one is filtered or not in files, or its storage does "
            "not say when files change; split the directory of the files, or deliver the dataset as a whole"
        )
    return version


def _groups(dataset: Any, shards: int) -> list[tuple[list[Any], int]]:
    """Divide the fragments into at most ``shards`` groups of about equal size in bytes; return each with its size."""
    fragments = list(dataset.get_fragments())
    infos = dataset.filesystem.get_file_info([fragment.path for fragment in fragments])
    sizes = [int(info.size or 0) for info in infos]
    limit = cut_above(sum(sizes), shards)
    units = [unit for pair in zip(fragments, sizes, strict=True) for unit in _units(*pair, limit)]
    groups = balanced([size for _, size in units], shards)
    return [
        ([units[index][0] for index in group], sum(units[index][1] for index in group)) for group in groups if group
    ]


def _units(fragment: Any, size: int, limit: float) -> Iterator[tuple[Any, int]]:
    row_groups = fragment.row_groups if size > limit and hasattr(fragment, "row_groups") else []
    if len(row_groups) < 2:  # noqa: PLR2004 - nothing to cut between
        yield fragment, size
        return
    scale = size / max(1, sum(group.total_byte_size for group in row_groups))  # sizes before compression
    for first, stop, held in cut([group.total_byte_size * scale for group in row_groups], limit):
        yield fragment.subset(row_group_ids=[group.id for group in row_groups[first:stop]]), held
