"""Limits the rows in flight after the service has refused a batch without saying which one.

The search for the refused row sends rows in groups, and sends a group only once nothing of the previous one is in
flight. The first group is the batch that was most probably refused. The next groups have 1, 2, 4, … rows, but at least
one batch, so that a refusal within a group leaves about half of the suspects: finding a bad row anywhere costs
``O(log n)`` lost streams. Soon the groups are larger than the limit on bytes allows, and this window has no further
effect.
"""

from __future__ import annotations

__all__ = ["RefusalWindow"]


class RefusalWindow:
    """A limit on the rows in flight that applies from the first ``restart`` on. Only counts rows; sends nothing."""

    def __init__(self) -> None:
        self._is_bound = False
        self._left = 0
        self._groups = (0, 0)  # the numbers of rows in the next two groups

    def __repr__(self) -> str:
        return (
            f"<RefusalWindow {self._left} rows left of this group, then {self._groups}>" if self._is_bound else "<open>"
        )

    def restart(self, first_group: int = 1) -> None:
        """Record that a batch was refused.

        After this, ``take`` returns False while anything is in flight, and then allows a group of ``first_group`` rows.
        """
        self._is_bound = True
        self._left = 0
        self._groups = (first_group, 1)

    def on_lost(self) -> None:
        """Record that a stream died with batches in flight.

        These batches wait again, so the planned groups no longer match the rows that wait. If a search is under way, it
        starts over.
        """
        if self._is_bound:
            self.restart()

    def take(self, rows: int, *, is_settled: bool) -> bool:
        """Return whether a batch of ``rows`` rows can be sent now; if so, count its rows in the current group.

        ``is_settled`` says whether nothing is in flight.
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
