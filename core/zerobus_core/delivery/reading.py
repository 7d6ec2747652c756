"""Where a delivery begins to read: the user's code runs from here on, within the delivery's own time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..process.guard import SourceGuard
from ..sources import source_of

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..schema import TableSchema
    from ..sources import Source
    from .destination import Controls

__all__ = ["source_in_time"]


def source_in_time(records: Any, options: IngestOptions, schema: TableSchema, controls: Controls) -> Source:
    """The source that reads ``records``; the wait for the first row of an iterable is part of the delivery's time.

    Raises what ``source_of`` raises, and what a SourceGuard does.
    """
    with SourceGuard(controls.deadline(options), stop=controls.stop) as guard:
        return guard.call(lambda: source_of(records, options, schema))
