"""Limits the rows in flight together after the service refused a batch without saying which.

The search sends groups of rows, and each group only when all of the one before is acknowledged. The first group holds
the prime suspect. The next groups have 1, 2, 4, … rows, and at least a batch, so that a refusal within a group leaves
about half of the suspects: finding a bad row anywhere costs ``O(log n)`` lost streams. The groups soon exceed the limit
on bytes, and then this window no longer has an effect.
"""

from __future__ import annotations

__all__ = ["RefusalWindow"]


class RefusalWindow:
    """The limit on rows in flight; there is none until the first ``restart``. Pure bookkeeping."""

    def __init__(self) -> None:
        self._is_bound = False
        self._left = 0
        self._groups = (0, 0)  # rows of the next two

    def __repr__(self) -> str:
        return (
            f"<RefusalWindow {self._left} rows left of this group, then {self._groups}>" if self._is_bound else "<open>"
        )

    def restart(self, first_group: int = 1) -> None:
        """Note that a batch was refused.

        Nothing is sent until all in flight is settled, and then a group of ``first_group`` rows.
        """
        self._is_bound = True
        self._left = 0
        self._groups = (first_group, 1)

    def on_lost(self) -> None:
        """Note that a stream was lost with batches in flight, so that the waiting rows are no longer a chosen group."""
        if self._is_bound:
            self.restart()

    def take(self, rows: int, *, is_settled: bool) -> bool:
        """Return whether a batch of ``rows`` may be sent now, and count it if so.

        ``is_settled`` says that nothing is in flight.
        """
        if not self._is_bound:
            return True
        if self._left <= 0:
            if not is_settled:
                return False
            self._left, following = self._groups
            self._groups = (following, 2 * following)
        self._left -= rows
        return True
