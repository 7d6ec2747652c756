"""Defines the fields and the fingerprint of a shard. A shard is a dict of JSON-compatible values."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, cast

from ...errors import ConfigurationError
from ..libraries.frame_kinds import is_instance

__all__ = [
    "MARK",
    "VERSION",
    "checked_shard",
    "fingerprint_of",
    "is_shard",
    "shard_facts",
    "shard_in",
    "split_id",
    "sql_fingerprint_of",
    "start_delay",
]

MARK = "zerobus_shard"
VERSION = 2
_COMMON = {MARK, "kind", "index", "of", "fingerprint"}
_FIELDS = {
    "files": _COMMON | {"split", "source", "format", "n", "files", "bytes"},
    "dataset": _COMMON | {"split", "n", "fragments", "bytes"},
    "slice": _COMMON | {"handoff", "slice", "again", "run", "size"},
    "sql": _COMMON | {"split", "query", "key", "after", "up_to", "is_null", "rows"},
}
_GIVEN = f"{__package__}.read"
_RANGE = ("after", "up_to", "is_null")
# The service warns of 100 opened streams per table and minute. Up to 50 streams are opened at once; more are opened at
# 80 per minute.
_OPENS_AT_ONCE = 50
_SECONDS_PER_OPEN = 0.75
_SHORT = 0.5


def is_shard(value: object) -> bool:
    """Return whether ``value`` is a shard: a dict that ``split_source`` returns, or a shard of a handoff's slice."""
    # The names of other mappings than dicts are listed: looking one up can call code of the user that raises an error.
    return isinstance(value, Mapping) and MARK in (value if isinstance(value, dict) else list(value))


def shard_in(records: Any) -> Mapping[str, Any] | None:
    """Return the shard if ``records`` is a shard or a result of ``read_shard``; None for other records."""
    if is_shard(records):
        return cast("Mapping[str, Any]", records)
    return cast("Mapping[str, Any]", records.shard) if is_instance(records, _GIVEN, "GivenShard") else None


def shard_facts(records: Any) -> dict[str, Any] | None:
    """Return what the receipt says about the shard in ``records``; None if ``records`` has no shard.

    These facts are the id of the split, the index of the shard, and the number of shards.
    """
    shard = shard_in(records)
    return None if shard is None else {name: shard[name] for name in ("split", "index", "of")}


def checked_shard(shard: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the shard as a plain dict.

    Raises ConfigurationError if this release cannot read the shard, or if the fingerprint of a SQL shard shows that
    the shard was changed after the split.
    """
    plain = dict(shard)
    if plain[MARK] != VERSION or set(plain) != _FIELDS.get(plain.get("kind", ""), set()):
        raise ConfigurationError(
            f"the shard has version {plain[MARK]!r} and the fields {sorted(plain)}, which this release cannot read; "
            "split the source again"
        )
    if plain["kind"] == "sql" and plain["fingerprint"] != sql_fingerprint_of(plain):
        raise ConfigurationError("the shard was changed since split_source returned it; split the source again")
    return plain


def fingerprint_of(index: int, of: int, *facts: Any) -> str:
    """Return the fingerprint of a shard, which contains a hash of all arguments.

    ``index`` is the index of the shard. ``of`` is the number of shards; for files and datasets, it is the number that
    was requested. ``facts`` are JSON-compatible values that identify the data of the shard or of the whole split.
    """
    digest = hashlib.sha256(json.dumps([*facts, index, of]).encode()).hexdigest()
    return f"shard:{index}/{of}:{digest[:32]}"


def split_id(*facts: Any) -> str:
    """Return the id of a split, a hash of ``facts``; all shards of the split have this id."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def sql_fingerprint_of(shard: Mapping[str, Any]) -> str:
    """Return the fingerprint of a SQL shard.

    It is a hash of the query, the key, the range of the key, the index of the shard, and the number of shards.
    """
    return fingerprint_of(shard["index"], shard["of"], *(shard[name] for name in ("query", "key", *_RANGE)))


def start_delay(
    shard: Mapping[str, Any], streams: int, draw: Callable[[float, float], float] = random.uniform
) -> float:
    """Return the seconds to wait before a shard is read, so that not all streams are opened at the same moment.

    The delay is random. If all shards together have up to 50 streams, it is at most 0.5 s. If they have more, it is at
    most the time that it takes to open all of them at a rate of 80 per minute. A single shard has no delay.
    """
    opens = int(shard["of"]) * streams
    if opens <= streams:
        return 0.0
    return draw(0.0, _SHORT if opens <= _OPENS_AT_ONCE else opens * _SECONDS_PER_OPEN)
