"""An asset check that reads the figures of the last delivery back from Dagster and says what is wrong with them."""

# Dagster reads the annotation of `context`, and takes no text for one: no `from __future__ import annotations` here.
from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from .metadata import NAMESPACE
from .step import AssetKeyLike

__all__ = ["build_zerobus_delivery_check"]

_FIGURES = ("rows_read", "rows_acked", "rows_skipped", "rows_dead_lettered", "rows_resent")
# Dagster's storages refuse to return more records at once.
_MOST_PARTITIONS = 1_000

Figures = Mapping[str, int]


def build_zerobus_delivery_check(
    asset: AssetKeyLike | dg.AssetsDefinition | dg.AssetSpec,
    *,
    min_rows: int | None = None,
    max_rows: int | None = None,
    max_dead_lettered: int = 0,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetChecksDefinition:
    """Build a check named ``zerobus_delivery`` of what the run delivered to ``asset``, else of its last delivery.

    It passes if every row that was read is accounted for, no more than ``max_dead_lettered`` rows went to the
    dead-letter file, and each delivery read from ``min_rows`` to ``max_rows`` rows.  It reports and gates nothing:
    a delivery that is not complete has failed its step before, and left no materialization to check.
    """
    bounds = _Bounds(min_rows=min_rows, max_rows=max_rows, max_dead_lettered=max_dead_lettered)
    key = asset.key if isinstance(asset, dg.AssetsDefinition | dg.AssetSpec) else dg.AssetKey.from_coercible(asset)

    @dg.asset_check(asset=key, name="zerobus_delivery", description="All rows of the last delivery are durable.")
    def zerobus_delivery(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        deliveries = _deliveries(context.instance, context.run.run_id, key)
        if not deliveries:
            return dg.AssetCheckResult(
                passed=False,
                severity=severity,
                description=f"{key.to_user_string()} has no delivery through Zerobus yet",
            )
        problems = [problem for figures in deliveries for problem in bounds.problems(figures)]
        totals = {f"{NAMESPACE}/{name}": sum(figures[name] for figures in deliveries) for name in _FIGURES}
        return dg.AssetCheckResult(
            passed=not problems,
            severity=severity,
            description="; ".join(problems) or "every row that was read is durable",
            metadata={**totals, f"{NAMESPACE}/deliveries": len(deliveries)},
        )

    return zerobus_delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    min_rows: int | None
    max_rows: int | None
    max_dead_lettered: int

    def problems(self, figures: Figures) -> list[str]:
        read, dead = figures["rows_read"], figures["rows_dead_lettered"]
        accounted = figures["rows_acked"] + figures["rows_skipped"] + dead
        found = []
        if accounted != read:
            found.append(f"{read} rows were read, and {accounted} are accounted for")
        if dead > self.max_dead_lettered:
            found.append(f"{dead} rows went to the dead-letter file (at most {self.max_dead_lettered} may)")
        if self.min_rows is not None and read < self.min_rows:
            found.append(f"{read} rows were read, fewer than {self.min_rows}")
        if self.max_rows is not None and read > self.max_rows:
            found.append(f"{read} rows were read, more than {self.max_rows}")
        return found


def _deliveries(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> list[Figures]:
    """The figures of each delivery of the run, or of the last one before it; none if there was none.

    In a run over a range of partitions, one delivery may stand in the materializations of all of them: it counts once.
    """
    records = instance.fetch_materializations(key, limit=_MOST_PARTITIONS).records
    latest = [record for record in records if record.run_id == run_id] or records[:1]
    by_receipt: dict[str, Figures] = {}
    for record in latest:
        metadata = record.asset_materialization.metadata if record.asset_materialization else {}
        receipt = metadata.get(f"{NAMESPACE}/receipt")
        if isinstance(receipt, dg.JsonMetadataValue) and isinstance(receipt.data, Mapping):
            by_receipt[str(receipt.data)] = {name: receipt.data[name] for name in _FIGURES}
    return list(by_receipt.values())
