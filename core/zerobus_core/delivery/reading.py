"""Begins to read a source within the delivery's timeout; reading can run the user's code, which can block."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ..errors import IngestInterruptedError, IngestTimeoutError
from ..process.guard import SourceGuard, in_time
from ..sources import source_of

if TYPE_CHECKING:
    from ..options import IngestOptions
    from ..ranges import RemovedRows
    from ..schema import TableSchema
    from ..sources import Source
    from .destination import Controls

__all__ = ["removed_in_time", "source_in_time"]


def source_in_time(records: Any, options: IngestOptions, schema: TableSchema, controls: Controls) -> Source:
    """Return the source that reads ``records``.

    The timeout includes the wait for the first row of an iterable. Raises the errors of ``source_of`` and SourceGuard.
    """
    with SourceGuard(controls.deadline(options), stop=controls.stop) as guard:
        return guard.call(lambda: source_of(records, options, schema))


def removed_in_time(
    source: Source, options: IngestOptions, controls: Controls
) -> Callable[[str, int], list[RemovedRows]]:
    """Return a function that calls ``source.removed_since`` and returns the removed rows as a list.

    The function raises IngestTimeoutError when the delivery's timeout is over, and IngestInterruptedError after a stop
    request.
    """
    deadline = controls.deadline(options)

    def removed_since(fingerprint: str, reached: int) -> list[RemovedRows]:
        removed: list[RemovedRows] = []
        coming = in_time(source.removed_since(fingerprint, reached), deadline, stop=controls.stop)
        with closing(coming):
            for one in coming:
                if controls.stop.is_set():
                    raise IngestInterruptedError("stopped on request while counting the rows of earlier attempts")
                if time.monotonic() > deadline:
                    raise IngestTimeoutError("timed out while counting the rows of earlier attempts")
                if one is not None:
                    removed.append(one)
        return removed

    return removed_since
