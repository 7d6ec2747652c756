"""The result of a delivery in an op: a dict, because an op has no materialization."""

from __future__ import annotations

from typing import Any

from .metadata import Metadata, receipts_in

__all__ = ["OpResult"]


class OpResult(dict[str, Any]):
    """The receipt of the op's last delivery, as a dict.

    The attribute ``metadata`` holds the metadata that the materialization of an asset would show.
    """

    def __init__(self, metadata: Metadata) -> None:
        receipts = receipts_in(metadata)
        super().__init__(receipts[-1] if receipts else {})
        self.metadata = metadata

    def __reduce__(self) -> tuple[type[OpResult], tuple[Metadata]]:
        return OpResult, (self.metadata,)
