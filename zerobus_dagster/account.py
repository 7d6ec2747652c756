"""What one try of a step has delivered so far, whichever resources and IO managers did it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

from .metadata import receipt_metadata, receipts_metadata

if TYPE_CHECKING:
    import dagster as dg
    from dagster import StepExecutionContext

    from zerobus_core import Receipt

    from .metadata import Metadata

__all__ = ["Publish", "StepAccount", "account_of"]

Publish: TypeAlias = "Callable[[str | None, Metadata], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    asset_key: dg.AssetKey | None
    partition: str | None
    receipt: Receipt


class StepAccount:
    """Names the deliveries of one try of a step, and keeps their receipts.  All threads of the step may use it."""

    def __init__(self) -> None:
        # Guards the fields below, and the order in which Dagster gets the metadata that is made of them.
        self._lock = threading.Lock()
        self._begun: Counter[tuple[dg.AssetKey | None, str]] = Counter()
        self._entries: list[_Entry] = []

    def next_name(self, asset_key: dg.AssetKey | None, table: str) -> str:
        """A step that delivers twice to a table does so in the same order in each try: the count tells which it is."""
        with self._lock:
            self._begun[asset_key, table] += 1
            return f"ingest {self._begun[asset_key, table]}"

    def add(
        self, asset_key: dg.AssetKey | None, partition: str | None, receipt: Receipt, publish: Publish
    ) -> list[Receipt]:
        """Keep the receipt of a delivery, and return all those of the asset and ``partition``, in order.

        ``partition`` is None for a delivery that is of all of the run's partitions together.  ``publish`` adds metadata
        to the materialization of a partition, or of all of them, so that it tells of every delivery, and not only of
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


# Dagster makes one such context for each try of a step, in whichever process that runs.
_accounts: WeakKeyDictionary[StepExecutionContext, StepAccount] = WeakKeyDictionary()
_accounts_lock = threading.Lock()


def account_of(running: StepExecutionContext | None) -> StepAccount:
    """The account of the try that is running; a new one where a function was called directly."""
    if running is None:
        return StepAccount()
    with _accounts_lock:
        return _accounts.setdefault(running, StepAccount())
