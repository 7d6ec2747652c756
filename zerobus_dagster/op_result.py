"""The result of a delivery in an op. An op has no materialization, so the result is a plain dict."""

from __future__ import annotations

from typing import Any

from .metadata import Metadata, receipts_in

__all__ = ["OpResult"]


class OpResult(dict[str, Any]):
    """The receipt of the op's last delivery, as a plain dict; ``metadata`` is what an asset would show."""

    def __init__(self, metadata: Metadata) -> None:
        receipts = receipts_in(metadata)
        super().__init__(receipts[-1] if receipts else {})
        self.metadata = metadata

    def __reduce__(self) -> tuple[type[OpResult], tuple[Metadata]]:
        return OpResult, (self.metadata,)
