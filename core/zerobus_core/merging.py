"""Merges the receipts of a source's shards into one receipt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, cast

from .errors import ConfigurationError, ShardsMissingError
from .receipt import AckLatency, Receipt
from .wording import plural

__all__ = ["merge_receipts"]

_SUMS = (
    "rows_read", "rows_acked", "rows_skipped", "rows_dead_lettered", "rows_filtered", "rows_resent",
    "rows_redelivered", "bytes_sent", "batches", "streams", "reconnects",
)  # fmt: skip


def merge_receipts(receipts: Iterable[Receipt | Mapping[str, Any]]) -> Receipt:
    """Merge ``receipts`` into one receipt; each item is a Receipt or the result of ``Receipt.as_dict``.

    The numbers of rows, bytes, batches, streams and reconnects are added up, so the merged receipt accounts for the
    rows of all shards. ``duration_s`` is the time from the first start to the last end. In ``ack_latency_s``, ``p50``
    is the mean of the shards' medians, weighted by each shard's number of batches; ``p95`` and ``max`` are the highest
    values of any shard. ``shards`` is the number of deliveries, and ``slowest_shard_s`` is the duration of the slowest
    shard.

    Raises ConfigurationError if ``receipts`` is empty, is for several tables, contains two receipts for one shard, or
    contains an item that is not a complete receipt. Raises ShardsMissingError if shards of ``split_source`` have no
    receipt; the error lists these shards.
    """
    every = [_receipt(one) for one in receipts]
    if not every:
        raise ConfigurationError("receipts is empty: there is nothing to merge")
    tables = sorted({one.table for one in every})
    if len(tables) > 1:
        raise ConfigurationError(
            f"receipts are for several tables ({', '.join(tables)}); merge the receipts of one delivery"
        )
    _check_complete(every)
    sums: dict[str, Any] = {name: sum(getattr(one, name) for one in every) for name in _SUMS}
    started, finished = min(one.started_at for one in every), max(one.finished_at for one in every)
    duration = (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
    return Receipt(
        table=tables[0],
        **sums,
        stream_ids=tuple(name for one in every for name in one.stream_ids),
        ack_latency_s=_latency(every),
        duration_s=duration,
        rows_per_s=sums["rows_acked"] / duration if duration > 0 else 0.0,
        started_at=started,
        finished_at=finished,
        schema_fingerprint=_joined(one.schema_fingerprint for one in every),
        source_fingerprint=_fingerprint(every),
        resumed_from=min((one.resumed_from for one in every if one.resumed_from), default=None),
        started_over=_first(one.started_over for one in every),
        record_format=_joined(one.record_format for one in every),
        record_format_reason=_joined(one.record_format_reason for one in every),
        columns_dropped=tuple(dict.fromkeys(name for one in every for name in one.columns_dropped)),
        notes=tuple(dict.fromkeys(note for one in every for note in one.notes)),
        shards=sum(one.shards for one in every),
        slowest_shard_s=max(one.slowest_shard_s or one.duration_s for one in every),
    )


_FIELDS = {field.name for field in fields(Receipt)}


def _receipt(given: Any) -> Receipt:
    if isinstance(given, Receipt):
        return given
    if not isinstance(given, Mapping) or not {"table", "rows_read", "rows_acked"} <= set(given):
        raise ConfigurationError(f"receipts holds a {type(given).__name__}, not a receipt")
    plain = {name: value for name, value in given.items() if name in _FIELDS}  # a later release can have more
    plain["stream_ids"] = tuple(plain.get("stream_ids") or ())
    for name in ("notes", "columns_dropped"):
        plain[name] = tuple(plain.get(name) or ())
    latency = plain.get("ack_latency_s") or {}
    plain["ack_latency_s"] = latency if isinstance(latency, AckLatency) else AckLatency(**latency)
    try:
        return Receipt(**plain)
    except TypeError as error:
        raise ConfigurationError(f"receipts holds an incomplete receipt: {error}") from error


def _check_complete(every: list[Receipt]) -> None:
    """Raise an error if a shard has two receipts, or if some shards of a split have receipts and others have none.

    If a shard was read by the user's own code, its receipt does not say to which shard it belongs. Each receipt of this
    kind is treated as the receipt of one of the missing shards.
    """
    splits: dict[str, dict[int, Receipt]] = {}
    for one in every:
        if one.shard is None:
            continue
        index, of = one.shard["index"], one.shard["of"]
        delivered = splits.setdefault(one.shard["split"], {})
        if index in delivered:
            raise ConfigurationError(
                f"receipts hold shard {index} of {of} twice; its rows would count twice, so give one receipt per shard"
            )
        delivered[index] = one
    unnamed = sum(one.shard is None for one in every)
    for delivered in splits.values():
        of = cast("dict[str, Any]", next(iter(delivered.values())).shard)["of"]
        missing = sorted(set(range(of)) - set(delivered))
        unnamed -= len(missing)
        if unnamed < 0:
            durable = sum(one.rows_acked + one.rows_skipped for one in delivered.values())
            raise ShardsMissingError(
                f"{len(missing)} of {of} shards have no receipt: {', '.join(map(str, missing))}. {durable:,} "
                f"{plural(durable, 'row')} of the other shards {plural(durable, 'is', 'are')} durable; deliver the "
                "missing shards again, each from its own checkpoint, and then merge the receipts",
                table=every[0].table,
            )


def _latency(every: list[Receipt]) -> AckLatency:
    batches = sum(one.batches for one in every)
    if not batches:
        return AckLatency()
    return AckLatency(
        p50=sum(one.ack_latency_s.p50 * one.batches for one in every) / batches,
        p95=max(one.ack_latency_s.p95 for one in every),
        max=max(one.ack_latency_s.max for one in every),
    )


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))


def _first(reasons: Iterable[str | None]) -> str | None:
    return next((reason for reason in reasons if reason), None)


def _fingerprint(every: list[Receipt]) -> str | None:
    """Return a fingerprint for all shards together; None if a shard has no fingerprint."""
    parts = [one.source_fingerprint for one in every]
    if None in parts:
        return None
    return "merged:" + hashlib.sha256("\n".join(sorted(map(str, parts))).encode()).hexdigest()[:32]
