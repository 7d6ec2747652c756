"""Reads one shard; refuses it if its files or its dataset have changed since the split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ..files.source import source_of_found
from ..sql.query import SqlQuery, SqlRangeSource
from .dataset import dataset_shard_source, is_dataset
from .files import file_shards
from .form import checked_shard, fingerprint_of, is_shard, start_delay
from .split import given_files, version_of

if TYPE_CHECKING:
    from ...options import IngestOptions
    from ..protocol.source import Source

__all__ = ["GivenShard", "read_shard", "shard_source"]

_READ_BY = {
    "dataset": "read_shard(dataset, shard)",
    "slice": "it to Handoff.deliver_shard(shard); in Airflow, give the operator shard, source and state_uri",
    "sql": "read_shard(SqlQuery(connect, query), shard); in Airflow, SqlToZerobusOperator(shard=…)",
}


@dataclass(frozen=True, slots=True)
class GivenShard:
    """A shard together with the source that was split."""

    source: Any
    shard: dict[str, Any]

    def open(self, options: IngestOptions) -> Source:
        """Return the source that reads the shard.

        Raises ConfigurationError if the files or the dataset have changed since the split.
        """
        if self.shard["kind"] == "sql":
            return SqlRangeSource(self.source, self.shard, options)
        if self.shard["kind"] == "dataset":
            return dataset_shard_source(self.source, self.shard, options)
        return _file_source(self.source, self.shard, options)


def read_shard(source: Any, shard: Mapping[str, Any]) -> GivenShard:
    """Combine ``shard`` with its ``source``. Pass the result as ``records`` to a function such as ``ingest``.

    ``source`` is what was passed to ``split_source``, or an equal object: a dataset of the same files, or a
    ``SqlQuery`` of the same text. The ``connect`` of a ``SqlQuery`` is called in the process that reads the shard.
    ``read_shard`` itself reads no data. Raises ConfigurationError if ``shard`` is not a shard of this kind of source,
    or if it is a shard of another query. A shard of other files or of another dataset is refused later, when the shard
    is read.
    """
    if not is_shard(shard):
        raise ConfigurationError(
            f"shard must be one of the dicts that split_source returns, not {type(shard).__name__}"
        )
    plain = checked_shard(shard)
    kind = "sql" if isinstance(source, SqlQuery) else "dataset" if is_dataset(source) else "files"
    if kind != plain["kind"]:
        raise ConfigurationError(
            f"the shard belongs to {_NAMES[plain['kind']]}, but source is {_NAMES[kind]}; pass the source that was "
            "split"
        )
    if isinstance(source, SqlQuery) and source.digest != plain["query"]:
        raise ConfigurationError("the query is not the one that was split: its text has changed; split it again")
    return GivenShard(source, plain)


_NAMES = {"sql": "a SqlQuery", "dataset": "a dataset", "files": "files", "slice": "the slice of a handoff"}


def shard_source(given: GivenShard | Mapping[str, Any], options: IngestOptions) -> Source:
    """Return the source that reads ``given``, which is a shard of files or a result of ``read_shard``."""
    if not isinstance(given, GivenShard):
        plain = checked_shard(given)
        if plain["kind"] != "files":
            raise ConfigurationError(
                f"records is a shard of {_NAMES[plain['kind']]}; the shard alone has no connection and no file system, "
                f"so pass {_READ_BY[plain['kind']]}"
            )
        if plain["source"] is None:
            raise ConfigurationError(
                "the shard does not contain the URI of its source, because the URI holds a secret or needs a "
                "connection; pass read_shard(source, shard); in Airflow, give the operator both source and shard"
            )
        given = GivenShard(plain["source"], plain)
    source = given.open(options)
    source.start_delay = start_delay(given.shard, options.streams)
    return source


def _file_source(source: Any, shard: dict[str, Any], options: IngestOptions) -> Source:
    found = given_files(source, shard)
    index, n = shard["index"], shard["n"]
    if fingerprint_of(index, n, version_of(found)) != shard["fingerprint"]:
        raise ConfigurationError(
            f"the files of {found.given} are not those that were split: one was added, removed or changed since then; "
            "split the source again, or use NewFiles for a folder that keeps receiving files"
        )
    read = source_of_found(replace(found, files=file_shards(found, n)[index][0]), options)
    read.fingerprint = f"{shard['fingerprint']}:{read.fingerprint}"
    return read
