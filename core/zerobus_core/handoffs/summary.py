"""Combines the receipts of a run that delivered several slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..receipt import AckLatency

if TYPE_CHECKING:
    from ..receipt import Receipt

__all__ = ["combined"]

_SUMS = (
    "rows_read", "rows_acked", "rows_skipped", "rows_dead_lettered", "rows_filtered", "rows_resent",
    "rows_redelivered", "bytes_sent", "batches", "reconnects", "duration_s",
)  # fmt: skip


def combined(receipts: Sequence[Receipt], notes: dict[str, Any]) -> Receipt:
    """Return one receipt for the slices of all ``receipts``.

    Counts and durations are added up; ``streams`` and each latency have the greatest value of any receipt. ``handoff``
    has the facts of the last slice, but ``from`` is the start of the first slice, and ``slices``, ``files`` and
    ``bytes`` cover all slices. ``notes`` are added to ``handoff``. If there is only one receipt, it is returned with
    ``notes`` added, and is otherwise unchanged.
    """
    first, last = receipts[0], receipts[-1]
    facts = {**(last.handoff or {}), **notes}
    if len(receipts) == 1:
        return replace(last, handoff=facts)
    facts["from"] = (first.handoff or {}).get("from")
    facts["slices"] = [(receipt.handoff or {}).get("slice") for receipt in receipts]
    for name in ("files", "bytes"):
        if name in facts:
            facts[name] = sum((receipt.handoff or {}).get(name, 0) for receipt in receipts)
    sums = {name: sum(getattr(receipt, name) for receipt in receipts) for name in _SUMS}
    duration = sums["duration_s"]
    return replace(
        last,
        **sums,
        streams=max(receipt.streams for receipt in receipts),
        stream_ids=tuple(dict.fromkeys(name for receipt in receipts for name in receipt.stream_ids)),
        ack_latency_s=AckLatency(
            p50=max(receipt.ack_latency_s.p50 for receipt in receipts),
            p95=max(receipt.ack_latency_s.p95 for receipt in receipts),
            max=max(receipt.ack_latency_s.max for receipt in receipts),
        ),
        rows_per_s=sums["rows_acked"] / duration if duration > 0 else 0.0,
        started_at=first.started_at,
        resumed_from=next((r.resumed_from for r in receipts if r.resumed_from), None),
        handoff=facts,
    )
