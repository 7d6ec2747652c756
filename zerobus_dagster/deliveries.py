"""Keeps track of the deliveries that one attempt of a step makes, through any resource or IO manager."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from zerobus_core import ConfigurationError

from .metadata import receipt_metadata, receipts_metadata

if TYPE_CHECKING:
    import dagster as dg
    from dagster import StepExecutionContext

    from zerobus_core import IngestOptions, Receipt

    from .metadata import Metadata

__all__ = ["Publish", "StepDeliveries", "deliveries_of"]

Publish: TypeAlias = "Callable[[str | None, Metadata], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    asset_key: dg.AssetKey | None
    partition: str | None
    receipt: Receipt


class StepDeliveries:
    """The names and the receipts of the deliveries that one attempt of a step makes. Thread-safe within the step."""

    def __init__(self) -> None:
        # Guards the fields below, and the order in which Dagster gets the metadata that is made from them.
        self._lock = threading.Lock()
        self._begun: Counter[tuple[dg.AssetKey | None, str, str]] = Counter()
        self._threads: dict[tuple[dg.AssetKey | None, str, str, str], int] = {}
        self._entries: list[_Entry] = []

    def next_name(self, asset_key: dg.AssetKey | None, table: str, options: IngestOptions) -> str:
        """Return the name of the delivery that is about to begin, such as "ingest 1" for the first one.

        The name is the user's ``delivery_name``, or "ingest" if it is not set, and a number. The number counts the
        deliveries to this asset and table that have the same ``delivery_name``. If each attempt of a step makes its
        deliveries in the same order, a delivery has the same name in every attempt.

        Raises ConfigurationError if several threads deliver to this asset and table with the same ``delivery_name`` and
        ``source_version``. The order of such deliveries is random, so two of them can swap their names in a retry. The
        retry would then skip rows of one source because rows of the other source are durable.
        """
        key = (asset_key, table, options.delivery_name or "ingest")
        with self._lock:
            if options.source_version is not None:
                thread = threading.get_ident()
                if self._threads.setdefault((*key, options.source_version), thread) != thread:
                    raise ConfigurationError(
                        f"several threads of this step deliver source_version {options.source_version!r} with the same "
                        "delivery_name, so a retry could not tell the deliveries apart: give each delivery its own "
                        "delivery_name",
                        table=table,
                    )
            self._begun[key] += 1
            return f"{key[-1]} {self._begun[key]}"

    def add(
        self, asset_key: dg.AssetKey | None, partition: str | None, receipt: Receipt, publish: Publish
    ) -> list[Receipt]:
        """Store the receipt of a delivery, and return all receipts of the asset and ``partition``, in order.

        ``partition`` is None if the delivery was for all partitions of the run together, or if the asset has no
        partitions. ``publish(partition, metadata)`` adds metadata to the materialization of a partition, or to all
        materializations of the asset if ``partition`` is None. A materialization then shows every delivery, not only
        the one whose result the step returns.
        """
        with self._lock:
            self._entries.append(_Entry(asset_key=asset_key, partition=partition, receipt=receipt))
            own = {entry.partition for entry in self._entries if entry.asset_key == asset_key and entry.partition}
            for each in own if partition is None else [partition]:
                publish(each, receipt_metadata(self._receipts(asset_key, each)))
            receipts = self._receipts(asset_key, partition)
            if partition is None:
                publish(None, receipts_metadata(receipts))
            return receipts

    def _receipts(self, asset_key: dg.AssetKey | None, partition: str | None) -> list[Receipt]:
        return [
            entry.receipt
            for entry in self._entries
            if entry.asset_key == asset_key and entry.partition in (None, partition)
        ]


# Dagster makes one StepExecutionContext for each attempt of a step, in the process that runs the attempt.
_by_step: WeakKeyDictionary[StepExecutionContext, StepDeliveries] = WeakKeyDictionary()
_by_step_lock = threading.Lock()


def deliveries_of(running: StepExecutionContext | None) -> StepDeliveries:
    """Return the StepDeliveries of the running attempt, or a new one if ``running`` is None (outside of a step)."""
    if running is None:
        return StepDeliveries()
    with _by_step_lock:
        return _by_step.setdefault(running, StepDeliveries())
