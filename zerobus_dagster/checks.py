"""An asset check that reads the figures of the last deliveries from Dagster and reports what is wrong with them."""

# Dagster needs the annotation of `context` as a type, not as text: no `from __future__ import annotations` here.
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import dagster as dg

from zerobus_core import Counts
from zerobus_core.hosting import plural

from .metadata import NAMESPACE, receipts_in
from .row_count import RowCount
from .step import AssetKeyLike

__all__ = ["build_zerobus_delivery_check"]

_FIGURES = tuple(field.name for field in fields(Counts))
# Dagster's storages refuse to return more records at once.
_PAGE = 1_000
# The most problems that a description lists; people do not read more.
_MOST_PROBLEMS = 20

Receipts = Sequence[Mapping[str, Any]]
_DESCRIPTION = "All rows that the last deliveries read are accounted for, and their number is within the bounds."


def build_zerobus_delivery_check(  # noqa: PLR0913 - the bounds of a check, by name
    asset: AssetKeyLike | dg.AssetsDefinition | dg.AssetSpec,
    *,
    name: str = "zerobus_delivery",
    description: str | None = None,
    blocking: bool = False,
    min_rows: int | None = None,
    max_rows: int | None = None,
    max_dead_lettered: int = 0,
    row_count: RowCount | None = None,
    is_only_writer: bool = False,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetChecksDefinition:
    """Build a check of the deliveries to ``asset``.

    The check reads what the deliveries of its own run reported. If that run delivered nothing to the asset, the
    check reads what the last run with a delivery reported. The check fails if there is no delivery yet.

    The check passes if every row that was read is accounted for, if at most ``max_dead_lettered`` rows went to the
    dead-letter file, and if at least ``min_rows`` and at most ``max_rows`` rows were read. The bounds apply to each
    partition separately, or to the asset as a whole if it has no partitions. If one delivery was for several partitions
    together, the bounds apply to the figures of this delivery. If a step delivered several times, the figures of its
    deliveries are added up.

    ``row_count`` (see ``delta_row_count`` and ``warehouse_row_count``) returns the number of rows in the table. With
    ``row_count``, the check also fails if the table has fewer rows than were delivered. Set ``is_only_writer`` if only
    this delivery fills the table: the table must then have no further rows, except for up to ``rows_resent``
    duplicates.

    An asset can have several checks, each with its own ``name``. With ``blocking``, downstream assets are not
    materialized in the same run if the check fails with severity ERROR. An incomplete delivery needs no check: its step
    fails, and there is no materialization.

    Raises ValueError if ``min_rows`` is more than ``max_rows``.
    """
    bounds = _Bounds(min_rows=min_rows, max_rows=max_rows, max_dead_lettered=max_dead_lettered)
    key = asset.key if isinstance(asset, dg.AssetsDefinition | dg.AssetSpec) else dg.AssetKey.from_coercible(asset)

    @dg.asset_check(asset=key, name=name, description=description or _DESCRIPTION, blocking=blocking)
    def zerobus_delivery(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        by_partition = receipts_to_check(context.instance, context.run.run_id, key)
        if not by_partition:
            return dg.AssetCheckResult(
                passed=False,
                severity=severity,
                description=f"{key.to_user_string()} has no delivery through Zerobus yet",
            )
        # In a run over a range of partitions, one delivery can be in the materializations of all of them.
        sharing = Counter(str(receipts) for receipts in by_partition.values())
        problems = dict.fromkeys(
            f"{_whose(partition, sharing[str(receipts)])}{problem}"
            for partition, receipts in by_partition.items()
            for problem in bounds.problems(_figures(receipts))
        )
        deliveries = list({str(one): one for receipts in by_partition.values() for one in receipts}.values())
        totals = _figures(deliveries)
        counted = {} if row_count is None else {"rows_in_table": row_count()}
        found = [*problems, *(_count_problem(rows, totals, is_only_writer) for rows in counted.values())]
        problem = _listed([one for one in found if one])
        return dg.AssetCheckResult(
            passed=not problem,
            severity=severity,
            description=problem or _praise(totals),
            metadata={
                **{f"{NAMESPACE}/{figure}": rows for figure, rows in {**totals, **counted}.items()},
                f"{NAMESPACE}/deliveries": len(deliveries),
            },
        )

    return zerobus_delivery


def _count_problem(rows: int, figures: Mapping[str, int], is_only_writer: bool) -> str:
    delivered = figures["rows_acked"] + figures["rows_skipped"]
    most = delivered + figures["rows_resent"]
    if rows < delivered:
        return f"the table holds {rows} {plural(rows, 'row')}, fewer than the {delivered} that are durable"
    if is_only_writer and rows > most:
        return f"the table holds {rows} rows, more than the {most} that were delivered, possible duplicates included"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    min_rows: int | None
    max_rows: int | None
    max_dead_lettered: int

    def __post_init__(self) -> None:
        if self.min_rows is not None and self.max_rows is not None and self.min_rows > self.max_rows:
            raise ValueError(f"min_rows {self.min_rows} is more than max_rows {self.max_rows}: no delivery would pass")

    def problems(self, figures: Mapping[str, int]) -> list[str]:
        read, dead = figures["rows_read"], figures["rows_dead_lettered"]
        accounted = figures["rows_acked"] + figures["rows_skipped"] + dead + figures["rows_filtered"]
        found = []
        if accounted != read:
            found.append(
                f"{_rows(read, 'was read', 'were read')}, but {accounted} {plural(accounted, 'is', 'are')} "
                "accounted for"
            )
        if dead > self.max_dead_lettered:
            found.append(
                f"{_rows(dead, 'went')} to the dead-letter file (max_dead_lettered is {self.max_dead_lettered})"
            )
        if self.min_rows is not None and read < self.min_rows:
            found.append(f"{_rows(read, 'was read', 'were read')}, fewer than {self.min_rows}")
        if self.max_rows is not None and read > self.max_rows:
            found.append(f"{_rows(read, 'was read', 'were read')}, more than {self.max_rows}")
        return found


def _rows(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {plural(number, 'row')} {plural(number, one, many or one)}"


def _whose(partition: str | None, sharing: int) -> str:
    if partition is None:
        return ""
    return f"partition {partition}: " if sharing == 1 else f"{sharing} partitions together: "


def _listed(problems: Sequence[str]) -> str:
    more = len(problems) - _MOST_PROBLEMS
    return "; ".join([*problems[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])])


def _praise(figures: Mapping[str, int]) -> str:
    dead = figures["rows_dead_lettered"]
    return "every row that was read is durable" + (f", except {dead} in the dead-letter file" if dead else "")


def _figures(receipts: Receipts) -> dict[str, int]:
    # Receipts of earlier releases have no rows_filtered.
    return {name: sum(receipt.get(name, 0) for receipt in receipts) for name in _FIGURES}


def receipts_to_check(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> dict[str | None, Receipts]:
    """Return a dict from each partition to the receipts of one run's deliveries to the asset ``key``.

    If the run ``run_id`` delivered to the asset, the receipts are those of this run. Otherwise, they are those of the
    last run that delivered to the asset. For an asset without partitions, the dict's only key is None.

    Materializations without a receipt are ignored: for example, a person reported them by hand. If a run has several
    materializations of one partition, the newest is used: it comes from the last attempt, and its receipts also cover
    the rows of earlier attempts.
    """
    if own := _receipts_of_run(instance, run_id, key):
        return own
    last = _last_run_that_delivered(instance, key)
    return {} if last is None else _receipts_of_run(instance, last, key)


def _receipts_of_run(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> dict[str | None, Receipts]:
    latest: dict[str | None, Receipts] = {}
    for entry in reversed(instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)):
        event = entry.asset_materialization
        if event is not None and event.asset_key == key and (receipts := receipts_in(event.metadata)):
            latest.setdefault(event.partition, receipts)
    return latest


def _last_run_that_delivered(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    cursor, has_more = None, True
    while has_more:
        page = instance.fetch_materializations(key, limit=_PAGE, cursor=cursor)
        for record in page.records:
            event = record.asset_materialization
            if event is not None and receipts_in(event.metadata):
                return record.run_id
        cursor, has_more = page.cursor, page.has_more
    return None
